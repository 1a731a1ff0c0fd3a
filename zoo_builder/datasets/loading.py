"""From the name of a data set, and perhaps a folder, to the data set in memory."""

from pathlib import Path

from zoo_builder.datasets import digits, folder, known, parquet, torchvision_sets
from zoo_builder.datasets.dataset import Dataset, LabeledImages, in_colour
from zoo_builder.errors import InputError, nearest, one_of
from zoo_builder.recipes.hyperparameters import COLOURS

# Data sets that need no folder.
NAMES = ("digits", *torchvision_sets.SETS)


def load(name: str, root: str | Path | None = None, colour: str = "grey") -> Dataset:
    """Loads a data set into memory.

    Args:
        name: one of ``NAMES``; with a Parquet or image folder as ``root``, any name.
        root: its folder, with train.parquet and test.parquet (see ``parquet``), or train/ and test/ with a folder of
            images per class (see ``folder``), or torchvision's own layout; tried in this order. With None,
            torchvision's sets are downloaded into $XDG_CACHE_HOME/gengap/data (~/.cache/gengap/data). Digits needs
            none.
        colour: "grey" (the mean of red, green and blue) or "rgb".

    >>> len(load("digits").train_labels)
    1437

    Raises:
        InputError: an unknown name or colour, a missing or broken file (named, with the row), or other images than
            those of a well-known name.
    """
    one_of("colour", colour, COLOURS)
    classes, train, test = _read(name, None if root is None else Path(root))
    images = [in_colour(split.images, colour) for split in (train, test)]
    return Dataset(name, colour, classes, images[0], train.labels, images[1], test.labels)


def _read(name: str, root: Path | None) -> tuple[tuple[str, ...], LabeledImages, LabeledImages]:
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
    source = parquet if parquet.files(root, "train") else folder if (root / "train").is_dir() else None
    if source:
        classes, train, test = source.read(root)
        known.refuse_other(name, root, classes, train)
        return classes, train, test
    if name in NAMES:  # the layout shows which set it is
        return torchvision_sets.read(name, root)
    raise InputError(
        f"{root} holds no data set: looked for train.parquet (with test.parquet) and for train/<class>/ with images "
        f"(and test/<class>/); torchvision's own layout is read for {', '.join(torchvision_sets.SETS)} only, not for "
        f"{name!r}{nearest(name, torchvision_sets.SETS)}"
    )
