"""Files that are there whole or not at all, and their checksums."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

_TEMPORARY = ".tmp"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a temporary neighbour of ``path``, makes it durable, and renames it to ``path``.

    Where anything goes wrong, ``path`` is as it was and the temporary file is gone.
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
    """Removes what writers that were killed have left under ``folder``. No one may be writing there."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Raises ValueError, which names the file, where ``value`` is none of JSON's, as NaN and infinity are not."""
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: {error}; write null, or leave it out") from error
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def size_text(count: int) -> str:
    """A number of bytes in words: 12.3 MiB."""
    power = min(int(log(max(count, 1024), 1024)), 4)
    return f"{count / 1024**power:,.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
