"""Atomic writes, checksums, files that others may have made, and what to do where there is no room."""

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any, NoReturn

from zoo_builder.errors import InputError

# As ``write_atomically`` names them: nobody else's temporary files are removed.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
# Errors of a write for which there is no room: on the disk, in the user's quota, or in the limit on the size of files.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Errors of fsync on file systems, such as some network ones, that cannot sync on demand.
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def cache_folder(name: str) -> Path:
    """The folder for cached files of one kind: $XDG_CACHE_HOME/gengap/``name``, or ~/.cache/gengap/``name``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gengap" / name


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` on a temporary file beside ``path``, syncs that file to disk, and renames it to ``path``.

    On any error ``path`` is unchanged and the temporary file is removed.

    Raises:
        OSError: it names ``path``, not the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Writes a file or a folder through to the disk, where its file system can."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(opened)


def no_room(error: OSError, folder: Path) -> str:
    """The cause of an error of ``NO_ROOM`` that a write in ``folder`` met, and what to do."""
    cause = os.strerror(error.errno or 0)
    if error.errno == errno.EFBIG:
        return f"{cause}: raise the limit on the size of files (`ulimit -f`)"
    if error.errno == errno.EDQUOT:
        return f"{cause}: free some space"
    return f"{cause}, {free_text(folder)}: free some"


def free_text(folder: Path) -> str:
    """What the file system of ``folder`` has left: so much space, or no inodes, without which space is no use."""
    disk = os.statvfs(folder)
    # Some file systems have no fixed number of inodes, and count 0.
    if disk.f_files and not disk.f_favail:
        return "no inodes (places for files) are free"
    return f"{size_text(disk.f_bavail * disk.f_frsize)} are free"


def remove_temporaries(folder: Path) -> None:
    """Removes temporary files that killed writers left under ``folder``. No writer may be active there."""
    for path in folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)


def refuse_links(folder: Path) -> None:
    """Raises InputError if anything in ``folder`` is a link, through which a writer would change files elsewhere."""
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *names)):
            if path.is_symlink():
                raise InputError(
                    f"{path} is a link, and nothing is written to a folder with links, which may lead elsewhere: put "
                    "what it leads to in its place, or copy the folder (`cp -rL` follows links)"
                )


def inside(root: Path, name: str) -> Path:
    """The path of the file ``name`` below ``root``.

    Raises:
        InputError: it leads out of ``root``, by its name or by a link.
    """
    path = root / name
    try:
        if path.resolve().is_relative_to(root.resolve()):
            return path
    except (OSError, RuntimeError):  # links in a circle
        pass
    raise InputError(
        f"{path} leads out of the folder {root}: put the file itself in its place (`cp -rL` follows links)"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` atomically as JSON.

    Raises:
        ValueError: JSON cannot hold ``value`` (NaN and infinity, for example); the message names the file.
    """
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: {error}; write null, or omit it") from error
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path, largest: int) -> Any:
    """The JSON in a file that anybody may have written.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
        ValueError: it has more than ``largest`` bytes, or is not JSON, which has neither NaN nor infinity.
    """

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"it holds {word}, which is not JSON")

    try:
        return json.loads(read_bytes(path, largest).decode(), parse_constant=refuse)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def read_bytes(path: Path, largest: int) -> bytes:
    """The content of a file that anybody may have made.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
        ValueError: it has more than ``largest`` bytes.
    """
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # of a folder, the system's error says more
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    if status.st_size > largest:
        raise ValueError(f"it has {status.st_size:,} bytes, expected at most {largest:,}")
    return path.read_bytes()


def size_text(count: int) -> str:
    """A number of bytes for people to read.

    >>> size_text(12_900_000)
    '12.3 MiB'
    """
    power = min(int(log(max(count, 1024), 1024)), 4)
    return f"{count / 1024**power:,.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
