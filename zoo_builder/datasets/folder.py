"""Image folders: ROOT/train/<class>/*.png and ROOT/test/<class>/*.png (or any other format PIL decodes here)."""

from pathlib import Path

import torch

from zoo_builder.datasets.dataset import LabeledImages
from zoo_builder.datasets.images import decode
from zoo_builder.errors import InputError, nearest

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")


def read(root: Path) -> tuple[tuple[str, ...], LabeledImages, LabeledImages]:
    """Class names, train and test split; classes and images in the order of their names.

    The classes are the folders in ROOT/train; ROOT/test may lack some of them.

    Raises:
        InputError: a folder is missing, has no images or is not a class of train, or an image is broken; named.
    """
    classes = _classes(root / "train")
    return tuple(classes), _split(root / "train", classes), _split(root / "test", classes)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: expected a folder that holds one folder of images per class")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise InputError(f"{folder} holds no folders: expected one folder of images per class")
    return names


def _split(folder: Path, classes: list[str]) -> LabeledImages:
    paths, labels = [], []
    for name in _classes(folder):
        if name not in classes:
            raise InputError(
                f"{folder / name}: there is no such class in {folder.parent / 'train'}{nearest(name, classes)}; "
                f"expected the same class names"
            )
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(f"{folder / name} holds no images: expected files that end in {', '.join(SUFFIXES)}")
        paths += found
        labels += [classes.index(name)] * len(found)
    return LabeledImages(decode([(str(path), path.read_bytes) for path in paths]), torch.tensor(labels))
