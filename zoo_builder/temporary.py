"""Temporary folders that go even if their process is killed: the next process of the same user removes them.

A living folder holds a file that its process keeps locked. One whose file nobody locks was left behind.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from zoo_builder import files
from zoo_builder.errors import InputError

PREFIX = "gengap-"
# A name of its own, so that no folder of a user that begins with "gengap-" is taken for a temporary one.
MARK = ".gengap-temporary"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that only this user may enter; it is removed at the end. First, folders left behind are removed.

    Raises:
        InputError: no folder can be made there, or what is written to it finds no room.
    """
    try:
        place = Path(tempfile.gettempdir())
        remove_left_behind(place)
        folder, lock = _locked_folder(place)
    except OSError as error:
        raise InputError(f"no temporary folder can be made ({error}): set TMPDIR to a folder with room") from error
    with lock:
        try:
            yield folder
        except OSError as error:
            inside = error.filename is None or folder in Path(os.fsdecode(error.filename)).parents
            if not inside or error.errno not in files.NO_ROOM:
                raise
            problem = f"temporary files do not fit into {place} ({files.no_room(error, place)})"
            raise InputError(f"{problem}, or set TMPDIR to another folder") from error
        finally:
            _remove(folder)


def remove_left_behind(place: Path) -> None:
    """Removes the temporary folders in ``place`` that killed processes of this user left.

    Those of living processes and of other users stay, and so do all where the file system has no locks.
    """
    for folder in place.glob(f"{PREFIX}*"):
        # Another process may remove it at the same time.
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            # Opened for writing, which locks on NFS need.
            with open(os.open(folder / MARK, os.O_RDWR | os.O_NOFOLLOW), "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


def _locked_folder(place: Path) -> tuple[Path, IO]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            lock = open(folder / MARK, "x")  # noqa: SIM115 - closed by the caller
        except OSError:
            folder.rmdir()
            raise
        # Without locks in this file system, no process can tell that the folder is left behind, and none removes it.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        lock.close()  # another process took it for one left behind, just before it was locked


def _remove(folder: Path) -> None:
    """Removes ``folder``, whatever a method left in it: folders that it closed, or deeper than a path may be long."""
    number = 0
    # Folders of folders move up, so that each is reached by a short path.
    while left := [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]:
        for path in left:
            os.chmod(path, 0o700)
            for entry in os.scandir(path):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, 0o700)
                    os.rename(entry.path, folder / f".{number}")
                    number += 1
                else:
                    os.unlink(entry.path)
            os.rmdir(path)
    shutil.rmtree(folder)
