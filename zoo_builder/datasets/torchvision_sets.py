"""Data sets that torchvision downloads and reads."""

import tempfile
from http.client import HTTPException
from math import prod
from pathlib import Path
from typing import Any

import torch

from zoo_builder import files
from zoo_builder.datasets.dataset import LabeledImages, Splits
from zoo_builder.errors import InputError

# Our name -> torchvision's class.
SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN"}


def read(name: str, root: Path) -> Splits:
    """Class names, train and test split of files in torchvision's layout under ``root``.

    Raises:
        InputError: a file is missing or damaged; named. Damage is found by torchvision's checksums, or, for the
            extracted files of the MNIST family, which have none, by comparing header and size.
    """
    from torchvision.datasets.utils import check_integrity

    for path, md5 in _files(name, root).items():
        if not path.is_file():
            raise InputError(
                f"{path} is missing: expected {name} under {root} in torchvision's layout, or train.parquet and "
                f"test.parquet, or image folders train/<class>/ and test/<class>/"
            )
        if not (check_integrity(path, md5) if md5 else _is_idx(path)):
            raise InputError(f"{path} is damaged (truncated or altered): delete it and download {name} again")
    train, test = (_class(name)(root, **split) for split in _split_arguments(name))
    classes = tuple("0123456789") if name in ("mnist", "svhn") else tuple(train.classes)
    return Splits(classes, _split(train), _split(test))


def present(name: str, root: Path) -> bool:
    """Whether any file of a data set lies under ``root`` where torchvision puts it."""
    return any(path.exists() for path in _files(name, root))


def download(name: str) -> Path:
    """Downloads a data set into the cache on first use; returns its folder, a root for ``read``.

    Raises:
        InputError: the download failed.
    """
    cache = files.cache_folder("data")
    root = cache / name
    if all(path.is_file() for path in _files(name, root)):
        return root
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Whole files are moved, so an interrupted or concurrent download leaves no partial file.
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            for split in _split_arguments(name):
                _class(name)(temporary, **split, download=True)
            for source, target in zip(_files(name, Path(temporary)), _files(name, root), strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        raise InputError(
            f"{name} could not be downloaded to {root} ({error}); without a network, copy it from elsewhere and "
            f"pass its folder as `data_root`"
        ) from error
    return root


def _class(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, SETS[name])


def _split_arguments(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return ({"split": "train"}, {"split": "test"}) if name == "svhn" else ({"train": True}, {"train": False})


def _files(name: str, root: Path) -> dict[Path, str | None]:
    """{file: md5}; None for the MNIST family, whose checksums are those of the archives."""
    source = _class(name)
    if name == "svhn":
        return {root / file: md5 for _, file, md5 in (source.split_list["train"], source.split_list["test"])}
    if name.startswith("cifar"):
        listed = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        return {root / source.base_folder / file: md5 for file, md5 in listed}
    return {root / source.__name__ / "raw" / Path(archive).stem: None for archive, _ in source.resources}


def _is_idx(path: Path) -> bool:
    """Whether a file is one whole idx array of bytes: 0, 0, 8, its dimensions, each size (big-endian uint32), data."""
    dimensions = 3 if "images" in path.name else 1
    with path.open("rb") as file:
        header = file.read(4 + 4 * dimensions)
    count = prod(int.from_bytes(header[start : start + 4], "big") for start in range(4, len(header), 4))
    whole = path.stat().st_size == len(header) + count
    return header[:4] == bytes((0, 0, 8, dimensions)) and count > 0 and whole


def _split(source: Any) -> LabeledImages:
    images = torch.as_tensor(source.data)
    if images.ndim == 3:  # the MNIST family: [N, H, W]
        images = images[:, None]
    elif images.shape[-1] == 3:  # CIFAR: [N, H, W, 3]
        images = images.permute(0, 3, 1, 2)
    labels = source.targets if hasattr(source, "targets") else source.labels
    return LabeledImages(images, torch.as_tensor(labels))
