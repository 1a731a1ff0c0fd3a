"""Parquet folders as written by Hugging Face datasets: encoded images beside integer labels."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from zoo_builder.datasets.dataset import LabeledImages
from zoo_builder.datasets.images import decode
from zoo_builder.errors import InputError

# Names of image and label columns, in the order in which they are tried.
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label")


class _File(NamedTuple):
    path: Path
    images: pa.ChunkedArray  # bytes
    labels: pa.ChunkedArray  # integers
    classes: tuple[str, ...]  # () if the file does not name them


def files(root: Path, split: str) -> list[Path]:
    """ROOT/<split>.parquet, or its shards ROOT/<split>-00000-of-00003.parquet, ... in order; [] if there are none."""
    whole = root / f"{split}.parquet"
    number = "[0-9]" * 5
    return [whole] if whole.exists() else sorted(root.glob(f"{split}-{number}-of-{number}.parquet"))


def read(root: Path) -> tuple[tuple[str, ...], LabeledImages, LabeledImages]:
    """Class names, train and test split, in the order of the rows.

    Images are a column of bytes or of structs with ``bytes``, labels a column of integers. The metadata that Hugging
    Face datasets writes into the schema has the class names; without it the classes are "0", "1", ..., one for each
    distinct training label.

    Raises:
        InputError: a file is missing or broken; the message names it, and the row (counted from 0).
    """
    train, test = ([_open(path) for path in _complete(root, split)] for split in ("train", "test"))
    for file in (*train, *test):
        if file.classes != train[0].classes:
            raise InputError(
                f"{file.path}: its metadata names the classes {list(file.classes)}, that of {train[0].path} names "
                f"{list(train[0].classes)}: expected files of one data set"
            )
    distinct = {label for file in train for label in file.labels.unique().to_pylist()}
    classes = train[0].classes or tuple(map(str, range(len(distinct))))
    return classes, _split(train, len(classes)), _split(test, len(classes))


def _complete(root: Path, split: str) -> list[Path]:
    paths = files(root, split)
    if not paths:
        raise InputError(f"{root / split}.parquet is missing: expected train.parquet and test.parquet in {root}")
    announced = paths[0].stem.rpartition("-of-")[2]
    if announced.isdigit() and int(announced) != len(paths):
        raise InputError(f"{paths[0]}: expected {int(announced)} shards beside it, found {len(paths)}")
    return paths


def _open(path: Path) -> _File:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            image, label = (_column(path, schema, names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))
            table = file.read(columns=[image, label])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({error}); is it complete?") from error
    images, labels = table[image], table[label]
    if pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = pc.struct_field(images, "bytes")
    if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
        raise InputError(f"{path}: column {image!r} is {images.type}, expected bytes or a struct with bytes")
    if not pa.types.is_integer(labels.type):
        raise InputError(f"{path}: column {label!r} is {labels.type}, expected integers 0, 1, ...")
    if not len(table):
        raise InputError(f"{path} holds no rows: expected at least one image")
    return _File(path, images, labels, _class_names(path, schema, label))


def _column(path: Path, schema: pa.Schema, names: tuple[str, ...]) -> str:
    for name in names:
        if name in schema.names:
            return name
    raise InputError(f"{path} has no column {' or '.join(map(repr, names))}; it has {', '.join(schema.names)}")


def _class_names(path: Path, schema: pa.Schema, label: str) -> tuple[str, ...]:
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(written).get("info", {}).get("features", {})
        return tuple(map(str, features.get(label, {}).get("names", ())))
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: the schema's 'huggingface' metadata is not what Hugging Face datasets writes ({error})"
        ) from error


def _split(parts: list[_File], classes: int) -> LabeledImages:
    labels = np.concatenate([_labels(file, classes) for file in parts])
    sources = [(f"{file.path}, row {row}", encoded.as_py) for file in parts for row, encoded in enumerate(file.images)]
    return LabeledImages(decode(sources), torch.from_numpy(labels))


def _labels(file: _File, classes: int) -> np.ndarray:
    """int64 [N]. Unsigned labels that are too large become negative and are refused."""
    labels = file.labels.cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        given = file.labels[int(outside[0])].as_py()
        raise InputError(f"{file.path}, row {outside[0]}: the label is {given}, expected 0 to {classes - 1}")
    return labels
