"""A lock that gives a folder to one process at a time."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from zoo_builder import files
from zoo_builder.errors import InputError

LOCK = ".lock"


@contextmanager
def only_process(folder: Path, doing: str, otherwise: str) -> Iterator[None]:
    """Locks ``folder`` for this process, and creates it if need be. The lock of a killed process is released.

    Temporary files of killed writers are removed, and so is a new folder in which nothing was written.

    Args:
        doing: for the message: the purpose of the lock, such as "building".
        otherwise: for the message: what to do if the folder is not available, such as "choose another `out`".

    Raises:
        InputError: another process holds the lock, or the folder cannot be written.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}): {otherwise}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InputError(
                f"another process holds {folder} ({lock.read().strip()}): wait for it, or {otherwise}"
            ) from None
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        lock.truncate(0)
        lock.write(f"{doing}, pid {os.getpid()} on {platform.node()} since {since}\n")
        lock.flush()
        files.remove_temporaries(folder)
        try:
            yield
        finally:  # a worker that was killed while writing left one
            files.remove_temporaries(folder)
            if new and list(folder.glob("*")) == [folder / LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()
