"""Image folders: ROOT/train/<class>/*.png and ROOT/test/<class>/*.png (or any other format PIL decodes here)."""

import os
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from zoo_builder.datasets.dataset import LabeledImages, Splits
from zoo_builder.datasets.images import FORMATS, decode, is_image
from zoo_builder.datasets.layout import TEST, TRAIN, few, hidden, replaced_test, split_folder, subfolders
from zoo_builder.errors import InputError, nearest

# Files with these suffixes must be images; any other file may be one.
SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".webp", ".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm",
    ".pnm", ".tif", ".tiff",
)  # fmt: skip


class _Files(NamedTuple):
    images: list[Path]
    labels: list[int]
    nested: list[Path]  # the images that lie deeper than ROOT/<split>/<class>
    left_out: list[Path]


def read(root: Path) -> Splits:
    """Class names, train and test split; classes and images in the order of their names.

    The classes are the folders in ROOT/train; ROOT/test may lack some of them. Images in folders within a class folder
    are images of that class. Without ROOT/test, ROOT/validation (or val, ...) is the test split. Class names are
    compared in Unicode's normal form NFC, because some systems rewrite names to NFD. Remarks count what is left out.

    Raises:
        InputError: a folder is missing, has no images or is not a class of train, or an image is broken; named.
    """
    train = split_folder(root, TRAIN) or root / TRAIN
    test, name = next(
        ((found, name) for name in TEST if (found := split_folder(root, name))), (root / TEST[0], TEST[0])
    )
    classes = _classes(train)
    labels = {key: label for label, key in enumerate(classes)}
    files = [_files(train, labels, train), _files(test, labels, train)]
    splits = [
        LabeledImages(
            decode(len(split.images), ((str(path), partial(Path, path)) for path in split.images)),
            torch.tensor(split.labels),
        )
        for split in files
    ]
    return Splits(
        tuple(folder.name for folder in classes.values()),
        *splits,
        remarks=(*replaced_test(root, name), *_remarks(root, files), *_other_splits(root, (train, test))),
    )


def _classes(folder: Path) -> dict[str, Path]:
    """The folder of each class in the order of their names, {name in NFC: folder}."""
    if not folder.is_dir():
        others = f" (or {', '.join(TEST[1:])} in place of test)" if folder.name == TEST[0] else ""
        raise InputError(f"{folder} is missing: expected a folder that holds one folder of images per class{others}")
    classes: dict[str, Path] = {}
    for path in subfolders(folder):
        name = unicodedata.normalize("NFC", path.name)
        if name in classes:
            raise InputError(
                f"{folder} holds two folders whose names look alike, {classes[name].name!a} and "
                f"{path.name!a} (two Unicode forms of one name): rename one, or move its images to the other"
            )
        classes[name] = path
    if not classes:
        raise InputError(_without_classes(folder))
    return classes


def _without_classes(folder: Path) -> str:
    found = sorted(folder.iterdir())
    message = f"{folder} holds no folders: expected one folder of images per class"
    if any(path.suffix == ".arrow" for path in found):
        return (
            f"{message}; it holds {few(found, folder)}, which Hugging Face's save_to_disk writes: write Parquet files "
            "with to_parquet or push_to_hub instead"
        )
    return f"{message}; it holds {few(found, folder)}" if found else message


def _files(split: Path, labels: dict[str, int], train: Path) -> _Files:
    classes = _classes(split)
    files = _Files([], [], [], [path for path in sorted(split.iterdir()) if not path.is_dir()])
    for name, folder in classes.items():
        if name not in labels:
            raise InputError(
                f"{folder}: there is no such class in {train}{nearest(name, labels)}; expected the same class names"
            )
        found = {path: _counts(path, folder) for path in sorted(_walk(folder))}
        images = [path for path, image in found.items() if image]
        nested = [path for path in images if path.parent != folder]
        if not images:
            raise InputError(f"{folder} holds no images: expected files in one of the formats {', '.join(FORMATS)}")
        if len(labels) == 1 and len(nested) == len(images) and len({path.parent for path in nested}) > 1:
            raise InputError(
                f"{split} holds one folder, {folder.name}, with folders of images in it "
                f"({few(subfolders(folder), folder)}): if these are the classes, move them to {split}"
            )
        files.images.extend(images)
        files.labels.extend([labels[name]] * len(images))
        files.nested.extend(nested)
        files.left_out.extend(path for path, image in found.items() if not image)
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """All files under ``folder``, also those in linked folders.

    Raises:
        InputError: a link leads to a folder that is read already.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen = set()
    for parent, _, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            raise InputError(f"{parent} links to a folder that is read already: remove the link")
        seen.add((status.st_dev, status.st_ino))
        yield from (Path(parent, name) for name in names)


def _counts(path: Path, folder: Path) -> bool:
    """Whether a file in a class's ``folder`` is one of its images."""
    if any(hidden(name) for name in path.relative_to(folder).parts[:-1]):
        return False
    return (path.suffix.lower() in SUFFIXES and not hidden(path.name)) or is_image(path)


def _remarks(root: Path, files: list[_Files]) -> Iterator[str]:
    nested, left_out = ([path for split in files for path in getattr(split, name)] for name in ("nested", "left_out"))
    if nested:
        yield (
            f"read as images of the class folder that their folder is in: {len(nested)} of {root} ({few(nested, root)})"
        )
    if left_out:
        total = len(left_out) + sum(len(split.images) for split in files)
        yield (
            f"left out: {len(left_out)} of {total} files of {root}, not images in a class folder in one of the formats "
            f"{', '.join(FORMATS)} ({few(left_out, root)})"
        )


def _other_splits(root: Path, read: tuple[Path, Path]) -> Iterator[str]:
    others = [path for path in subfolders(root) if path.name.lower() in (TRAIN, *TEST) and path not in read]
    if others:
        yield f"left out: other splits of {root} ({few(others, root)})"
