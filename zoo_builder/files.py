"""Atomic writes and checksums."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

_TEMPORARY = ".tmp"


def cache_folder(name: str) -> Path:
    """The folder for cached files of one kind: $XDG_CACHE_HOME/gengap/``name``, or ~/.cache/gengap/``name``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gengap" / name


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` on a temporary file beside ``path``, syncs that file to disk, and renames it to ``path``.

    On any error ``path`` is unchanged and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_temporaries(folder: Path) -> None:
    """Removes temporary files that killed writers left under ``folder``. No writer may be active there."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


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
