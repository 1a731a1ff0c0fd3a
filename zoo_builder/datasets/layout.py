"""The names of the splits of a data set in a folder, and the entries of a folder."""

from collections.abc import Iterable
from pathlib import Path

TRAIN = "train"
# In the order in which they are tried: many data sets have a labeled validation split and no test split.
TEST = ("test", "validation", "valid", "val", "dev", "eval")
# Folders that systems leave beside images.
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_SHOWN = 3


def hidden(name: str) -> bool:
    """Whether an entry of this name was made by a system or a tool, not by a user."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def subfolders(folder: Path) -> list[Path]:
    """The folders in ``folder`` in the order of their names, without those of systems and tools."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not hidden(path.name))


def split_folder(root: Path, split: str) -> Path | None:
    """ROOT/<split>, in capitals or not; None if there is none."""
    exact = root / split
    others = (path for path in subfolders(root) if path.name.lower() == split)
    return exact if exact.is_dir() else next(others, None)


def replaced_test(root: Path, split: str) -> tuple[str, ...]:
    """A remark, if the test split is another one than test."""
    return () if split == TEST[0] else (f"{root} has no test split: its {split} split is read in place of it",)


def few(paths: Iterable[Path], root: Path) -> str:
    """The first of some paths, relative to ``root``.

    >>> few([Path("data/a"), Path("data/b"), Path("data/c"), Path("data/d")], Path("data"))
    'a, b, c, ...'
    """
    names = [str(path.relative_to(root)) for path in paths]
    return ", ".join([*names[:_SHOWN], *["..."] * (len(names) > _SHOWN)])
