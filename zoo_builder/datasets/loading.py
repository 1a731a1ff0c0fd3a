"""From the name of a data set, and perhaps a folder, to the data set in memory."""

from collections.abc import Callable
from pathlib import Path

from zoo_builder.datasets import digits, folder, known, parquet, torchvision_sets
from zoo_builder.datasets.dataset import Dataset, Splits, in_colour, shrunk
from zoo_builder.datasets.layout import TRAIN, few, split_folder, subfolders
from zoo_builder.errors import InputError, nearest, one_of
from zoo_builder.recipes.hyperparameters import COLOURS

# Data sets that need no folder.
NAMES = ("digits", *torchvision_sets.SETS)


def load(name: str, root: str | Path | None = None, colour: str = "grey", size: int | None = None) -> Dataset:
    """Loads a data set into memory.

    Args:
        name: one of ``NAMES``; with a Parquet or image folder as ``root``, any name.
        root: its folder, with train.parquet and test.parquet (see ``parquet``), or train/ and test/ with a folder of
            images per class (see ``folder``), or torchvision's own layout; tried in this order, and then in the folders
            in it and one level deeper, such as data/. With None, torchvision's sets are downloaded into
            $XDG_CACHE_HOME/gengap/data (~/.cache/gengap/data). Digits needs none.
        colour: "grey" (the mean of red, green and blue) or "rgb".
        size: the height and width to shrink the images to, see ``dataset.shrunk``; None leaves them as they are.

    >>> len(load("digits").train_labels)
    1437

    Raises:
        InputError: an unknown name or colour, a missing or broken file (named, with the row), other images than those
            of a well-known name, or images smaller than ``size``.
    """
    one_of("colour", colour, COLOURS)
    classes, train, test, remarks = _read(name, None if root is None else Path(root))
    images = [in_colour(split.images, colour) for split in (train, test)]
    if size is not None:
        images = [shrunk(each, size) for each in images]
    return Dataset(name, colour, classes, images[0], train.labels, images[1], test.labels, remarks, size)


def _read(name: str, root: Path | None) -> Splits:
    if name == "digits":
        if root is not None:
            raise InputError(
                "digits comes with scikit-learn: omit `data_root`, or choose another name for your own data set"
            )
        return digits.read()
    if root is None:
        one_of("data set", name, NAMES, otherwise=", or pass its folder as `data_root`")
        return torchvision_sets.read(name, torchvision_sets.download(name))
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: pass the folder of {name}")
    places = [root]
    if not _reader(root) and not (name in NAMES and torchvision_sets.present(name, root)):
        places = _within(root) or places
    if len(places) > 1:
        raise InputError(f"{root} holds several data sets ({few(places, root)}): pass the folder of one as `data_root`")
    if read := _reader(places[0]):
        splits = read(places[0])
        known.refuse_other(name, places[0], splits.classes, splits.train)
        return splits
    if name in NAMES:  # the layout shows which set it is
        return torchvision_sets.read(name, root)
    raise InputError(
        f"{root} holds no data set: looked for train.parquet (with test.parquet) and for train/<class>/ with images "
        f"(and test/<class>/), also in the folders in it; found {few(sorted(root.iterdir()), root) or 'nothing'}; "
        f"torchvision's own layout is read for {', '.join(torchvision_sets.SETS)} only, not for {name!r}"
        f"{nearest(name, torchvision_sets.SETS)}"
    )


def _reader(root: Path) -> Callable[[Path], Splits] | None:
    """What reads the data set in ``root``, None if there is none."""
    return parquet.read if parquet.files(root, TRAIN) else folder.read if split_folder(root, TRAIN) else None


def _within(root: Path) -> list[Path]:
    """The folders with a data set in ``root``, or else in the folders in it."""
    inner = subfolders(root)
    return list(filter(_reader, inner)) or [path for folder in inner for path in subfolders(folder) if _reader(path)]
