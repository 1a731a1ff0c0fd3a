"""Errors of the machine, such as a full disk or a limit on memory, in one line that says what to do."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from zoo_builder import files

# What the C++ of torch, and the loader of shared libraries, say of the same errors that Python has exceptions for.
_MEMORY_WORDS = ("Cannot allocate memory", "can't allocate memory", "failed to map segment", "std::bad_alloc")
_FILES_WORDS = ("Too many open files",)
_PROCESS_WORDS = ("can't start new thread", "Resource temporarily unavailable")
_SHOWN = 200  # characters


def machine_fault(error: BaseException) -> str | None:
    """The line about an error of the machine, or one that such an error has caused; None for any other error."""
    return next(filter(None, map(_line, _causes(error))), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was raised from."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _line(error: BaseException) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    said = str(error) if isinstance(error, OSError | RuntimeError | ImportError) else ""
    if number in (errno.EMFILE, errno.ENFILE) or any(words in said for words in _FILES_WORDS):
        return f"too many open files: {_raise_limit('n', resource.RLIMIT_NOFILE)}, or use fewer --workers"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in said for words in _MEMORY_WORDS):
        detail = " ".join(str(error).split())[:_SHOWN]
        limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
        limit = f", or {_raise_limit('v', resource.RLIMIT_AS, 1024)}" if limited else ""
        return f"out of memory{f' ({detail})' if detail else ''}: use fewer --workers{limit}; what is finished is kept"
    if number == errno.EAGAIN or any(words in said for words in _PROCESS_WORDS):
        return f"no more processes can be started: {_raise_limit('u', resource.RLIMIT_NPROC)}, or use fewer --workers"
    if not isinstance(error, OSError) or error.filename is None:
        return None
    if number in files.NO_ROOM:
        folder = _existing(Path(os.fsdecode(error.filename)))
        return f"{error.filename} cannot be written: {files.no_room(error, folder)}; what is finished is kept"
    # A folder without permission, or a file in place of a folder, in any command.
    return f"{error.filename} cannot be used: {error.strerror}"


def _raise_limit(letter: str, limit: int, unit: int = 1) -> str:
    soft = resource.getrlimit(limit)[0]
    now = "" if soft == resource.RLIM_INFINITY else f", which is {soft // unit:,}"
    return f"raise the limit (`ulimit -{letter}`{now})"


def _existing(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.is_dir())
