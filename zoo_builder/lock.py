"""A lock that gives a folder to one process at a time."""

import errno
import fcntl
import os
import platform
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from zoo_builder import files
from zoo_builder.errors import InputError

LOCK = ".lock"
_LONGEST = 1000
_OURS = re.compile(r"(\w+, pid \d+ on [^\n]* since [^\n]* UTC\n)?")


@contextmanager
def only_process(folder: Path, doing: str, otherwise: str) -> Iterator[None]:
    """Locks ``folder`` for this process, and creates it if need be. The lock of a killed process is released.

    Temporary files of killed writers are removed, and so is a new folder in which nothing was written. A folder of
    others may hold links, or a file of theirs in place of the lock: it is refused, and nothing is changed.

    Args:
        doing: for the message: the purpose of the lock, such as "building".
        otherwise: for the message: what to do if the folder is not available, such as "choose another `out`".

    Raises:
        InputError: another process holds the lock, or the folder cannot be written or locked, or holds links.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _opened(folder / LOCK)
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}): {otherwise}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process holds {folder} ({lock.read(_LONGEST).strip()}): wait for it, or {otherwise}"
            ) from None
        except OSError as error:
            if new:
                _remove(folder)
            raise InputError(
                f"{folder} cannot be locked ({error.strerror}), and two processes that write it at once would harm it: "
                f"{otherwise}, on a file system with locks, such as a local disk"
            ) from error
        if not _OURS.fullmatch(lock.read(_LONGEST)):
            raise InputError(f"{folder / LOCK} is not a lock of gengap: move it away, or {otherwise}")
        files.refuse_links(folder)
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        lock.seek(0)
        lock.truncate()
        lock.write(f"{doing}, pid {os.getpid()} on {platform.node()} since {since}\n")
        lock.flush()
        files.remove_temporaries(folder)
        try:
            yield
        finally:  # a worker that was killed while writing left one
            files.remove_temporaries(folder)
            if new and list(folder.glob("*")) == [folder / LOCK]:
                _remove(folder)


def _remove(folder: Path) -> None:
    """Removes a folder that holds a lock alone."""
    (folder / LOCK).unlink()
    folder.rmdir()


def _opened(path: Path) -> TextIO:
    """Opens or creates the file of a lock, and changes nothing.

    Raises:
        InputError: it is a link, or has another name elsewhere, so that writing it would change a file elsewhere.
        OSError: it cannot be opened.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path} is a link, which gengap does not write through: remove it") from error
    status = os.fstat(lock)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(lock)
        raise InputError(f"{path} is not a plain file of its own, which gengap would write: remove it")
    return open(lock, "r+", encoding="utf-8", errors="replace")
