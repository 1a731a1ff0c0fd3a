"""Descriptions of well-known data sets, so that other images are not accepted under their names.

Not checksums: a subset, another order or another encoding of the same images is accepted.
"""

import re
from pathlib import Path
from typing import NamedTuple

from zoo_builder.datasets.dataset import LabeledImages
from zoo_builder.errors import InputError


class Known(NamedTuple):
    """A description of a data set, or of a subset.

    Attributes:
        height, width: of its images.
        names: of its classes; () if published copies disagree on them.
        classes: their number.
        smallest, largest: number of training images of the rarest and of the most frequent class.
    """

    height: int
    width: int
    names: tuple[str, ...]
    classes: int
    smallest: int
    largest: int


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
KNOWN = {
    "mnist": Known(28, 28, _DIGITS, 10, 5421, 6742),
    "fashion-mnist": Known(28, 28, _CLOTHES, 10, 6000, 6000),
    "cifar10": Known(32, 32, _THINGS, 10, 5000, 5000),
    "cifar100": Known(32, 32, (), 100, 500, 500),
    "svhn": Known(32, 32, _DIGITS, 10, 4659, 13861),
    "usps": Known(16, 16, _DIGITS, 10, 542, 1194),
}


def refuse_other(name: str, root: Path, classes: tuple[str, ...], train: LabeledImages) -> None:
    """Refuses images that are not those of a well-known ``name``; other names may hold any images.

    Class names that are numbers are ignored: they replace names that a copy has lost.

    Raises:
        InputError: images of another size, too many classes, no class of that name, or too many images of a class.
    """
    if name not in KNOWN:
        return
    known, counts = KNOWN[name], train.labels.bincount(minlength=len(classes))
    height, width = train.images.shape[2:]
    found = Known(height, width, classes, len(classes), int(counts.min()), int(counts.max()))
    names = _letters(classes)
    if (
        (height, width) != (known.height, known.width)
        or found.classes > known.classes
        or (names and known.names and names.isdisjoint(_letters(known.names)))
        or found.largest > known.largest
        or (found.classes == known.classes and found.smallest > known.smallest)
    ):
        raise InputError(
            f"{root} does not hold {name}: found {_described(found)}; expected {_described(known)}, or a subset. "
            f"Pass the folder of {name} as `data_root`, or choose another name for these images in the recipe's [data]"
        )


def _letters(names: tuple[str, ...]) -> set[str]:
    """The names without capitals, blanks and punctuation, in which copies differ."""
    return {word for word in (re.sub(r"[^a-z]", "", name.lower()) for name in names) if word}


def _described(row: Known) -> str:
    several = "" if row.smallest == row.largest else f"{row.smallest:,} to "
    names = f" ({', '.join((*row.names[:3], '...'))})" if row.names else ""
    return (
        f"{row.height}x{row.width} images of {row.classes} classes{names} with {several}{row.largest:,} training "
        "images each"
    )
