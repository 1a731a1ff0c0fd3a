"""Parquet folders as written by Hugging Face datasets: encoded images beside integer labels."""

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from zoo_builder import tables
from zoo_builder.datasets.dataset import LabeledImages, Splits
from zoo_builder.datasets.images import Source, decode
from zoo_builder.datasets.layout import TEST, TRAIN, few, replaced_test, split_folder, subfolders
from zoo_builder.errors import InputError

# Names of image and label columns, in the order in which they are tried.
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels")
_BYTES = (pa.binary(), pa.large_binary())
_TEXT = (pa.string(), pa.large_string())
# train.parquet, train-00000-of-00003.parquet, train-00000-of-00003-0123456789abcdef.parquet
_NAME = re.compile(r"([a-z]+)(?:-(\d+)-of-(\d+)(-[0-9a-z]+)?)?\.parquet", re.IGNORECASE)


class _File(NamedTuple):
    path: Path
    images: pa.ChunkedArray  # bytes; null where an image is not embedded
    places: pa.ChunkedArray  # the paths of the images' own files, or null
    labels: pa.ChunkedArray  # integers
    classes: tuple[str, ...]  # () if the file does not name them


def files(root: Path, split: str) -> list[Path]:
    """The files of a split in order; [] if there are none.

    They are ROOT/<split>.parquet, or its shards ROOT/<split>-00000-of-00003.parquet, ... whose names may end in a hash,
    or all Parquet files of the folder ROOT/<split>, if it holds no folders.
    """
    named = {path: match for path in _parquet(root) if (match := _NAME.fullmatch(path.name))}
    own = {path: match for path, match in named.items() if match[1].lower() == split}
    whole = [path for path, match in own.items() if match[2] is None]
    folder = split_folder(root, split)
    if whole:
        return [root / f"{split}.parquet"] if root / f"{split}.parquet" in whole else whole[:1]
    if own:
        plain = [path for path, match in own.items() if match[4] is None]
        return sorted(plain or own, key=lambda path: (int(own[path][2]), path))
    return _parquet(folder) if folder and not subfolders(folder) else []


def read(root: Path) -> Splits:
    """Class names, train and test split, in the order of the rows.

    Images are a column of bytes, of structs with ``bytes`` or, for images that are not embedded, ``path``, or of paths.
    A relative path starts from the folder of the Parquet file. Labels are a column of integers. Columns of other names
    than ``IMAGE_COLUMNS`` and ``LABEL_COLUMNS`` are found by their type in the metadata that Hugging Face datasets
    writes into the schema. The metadata also has the class names; without it the classes are "0", "1", ..., one for
    each distinct training label. Without a test split, the validation split takes its place.

    Raises:
        InputError: a file is missing or broken; the message names it, and the row (counted from 0).
    """
    test_split = next((name for name in TEST if files(root, name)), TEST[0])
    paths = [_complete(root, split) for split in (TRAIN, test_split)]
    train, test = ([_open(path) for path in split] for split in paths)
    for file in (*train, *test):
        if _normal(file.classes) != _normal(train[0].classes):
            raise InputError(
                f"{file.path}: its metadata names the classes {list(file.classes)}, that of {train[0].path} names "
                f"{list(train[0].classes)}: expected files of one data set"
            )
    distinct = {label for file in train for label in file.labels.unique().to_pylist()}
    classes = train[0].classes or tuple(map(str, range(len(distinct))))
    remarks = (*replaced_test(root, test_split), *_left_out(root, [*paths[0], *paths[1]]))
    return Splits(classes, _split(train, len(classes)), _split(test, len(classes)), remarks)


def _parquet(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".parquet" and path.name[0] != ".")


def _normal(names: tuple[str, ...]) -> list[str]:
    """Names in NFC: some systems rewrite names to NFD, which looks the same."""
    return [unicodedata.normalize("NFC", name) for name in names]


def _left_out(root: Path, paths: list[Path]) -> tuple[str, ...]:
    """A remark on Parquet files beside those that are read."""
    folders = [root, *(folder for split in (TRAIN, *TEST) if (folder := split_folder(root, split)))]
    others = [path for folder in folders for path in _parquet(folder) if path not in paths]
    return (f"left out: other Parquet files of {root} ({few(others, root)})",) if others else ()


def _complete(root: Path, split: str) -> list[Path]:
    """The files of a split, all shards of it."""
    paths = files(root, split)
    if not paths:
        expected = "" if split == TRAIN else f" (or {', '.join(TEST[1:])} in place of test)"
        raise InputError(
            f"{root / split}.parquet is missing: expected train.parquet and test.parquet in {root}{expected}, or their "
            f"shards; it holds {few(_parquet(root), root) or 'no Parquet files'}"
        )
    matches = [match for path in paths if (match := re.search(r"(\d+)-of-(\d+)", path.stem, re.IGNORECASE))]
    if not matches:
        return paths
    numbers, total = [int(match[1]) for match in matches], int(matches[0][2])
    one_set = len(matches) == len(paths) and {int(match[2]) for match in matches} == {total}
    if not one_set or numbers not in (list(range(total)), list(range(1, total + 1))):
        raise InputError(
            f"{paths[0]}: expected {total} shards of {split}, this one among them, numbered 0 to {total - 1}; found "
            f"{len(paths)}: {few(paths, paths[0].parent)}"
        )
    return paths


def _open(path: Path) -> _File:
    try:
        schema = tables.schema_of(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    features = _features(path, schema)
    image = _column(path, schema, IMAGE_COLUMNS, features, "Image")
    label = _column(path, schema, LABEL_COLUMNS, features, "ClassLabel")
    try:
        # Images that differ take a byte each, and more.
        table = tables.read(path, [image, label], most_rows=path.stat().st_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    labels = table[label]
    if not pa.types.is_integer(labels.type):
        raise InputError(
            f"{path}: column {label!r} is {schema.field(label).type}, expected integers 0, 1, ... (Hugging Face's "
            f"class_encode_column({label!r}) makes them of names)"
        )
    if not len(table):
        raise InputError(f"{path} holds no rows: expected at least one image")
    images, places = _images(path, schema.field(image), table[image])
    return _File(path, images, places, labels, _class_names(path, features, label))


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a readable Parquet file ({error}); is it complete?")


def _images(path: Path, field: pa.Field, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The bytes and the paths of a column of images, with nulls for what it does not have; both are dictionaries."""
    fields = [field.name for field in column.type] if pa.types.is_struct(column.type) else []
    nothing = pa.chunked_array([pa.nulls(len(column))])
    images, places = (pc.struct_field(column, field) if field in fields else nothing for field in ("bytes", "path"))
    if _plain(column) in _TEXT:
        places = column
    elif not fields:
        images = column
    empty = images.type == places.type == pa.null()
    if empty or _plain(images) not in (*_BYTES, pa.null()) or _plain(places) not in (*_TEXT, pa.null()):
        kind = str(field.type)[:200]
        raise InputError(f"{path}: column {field.name!r} is {kind}, expected bytes or a struct with bytes")
    return images, places


def _plain(column: pa.ChunkedArray) -> pa.DataType:
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _column(path: Path, schema: pa.Schema, names: tuple[str, ...], features: dict[str, Any], kind: str) -> str:
    """The first of the ``names``, or else the only column that the metadata describes as of this kind."""
    described = [name for name in schema.names if features.get(name, {}).get("_type") == kind]
    for name in (*names, *described[: len(described) == 1]):
        if name in schema.names:
            return name
    raise InputError(f"{path} has no column {' or '.join(map(repr, names))}; it has {', '.join(schema.names)}")


def _features(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """Hugging Face's description of the columns, {} if the file has none."""
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(written).get("info", {}).get("features", {})
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError, RecursionError) as error:
        raise _foreign_metadata(path, error) from error


def _class_names(path: Path, features: dict[str, Any], label: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, features.get(label, {}).get("names", ())))
    except TypeError as error:
        raise _foreign_metadata(path, error) from error


def _foreign_metadata(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: the schema's 'huggingface' metadata is not what Hugging Face datasets writes ({error})")


def _split(parts: list[_File], classes: int) -> LabeledImages:
    labels = np.concatenate([_labels(file, classes) for file in parts])
    sources = (source for file in parts for source in _sources(file))
    return LabeledImages(decode(len(labels), sources), torch.from_numpy(labels))


def _sources(file: _File) -> Iterator[Source]:
    for row, cell in enumerate(zip(file.images, file.places, strict=True)):
        where = f"{file.path}, row {row}"
        yield where, partial(_content, where, file.path.parent, *cell)


def _content(where: str, folder: Path, image: pa.Scalar, place: pa.Scalar) -> bytes | Path | None:
    """An encoded image, or its own file if it is not in the table."""
    content, name = image.as_py(), place.as_py()
    if content is not None or not name:
        return content
    if len(name) > 4096 or not (folder / name).is_file():
        raise InputError(
            f"{where}: no image bytes, and the image's path {name[:200]} is not a file of this machine: embed the"
            " images before to_parquet, by `dataset.with_format('arrow').map(datasets.table.embed_table_storage, "
            "batched=True)`, or use push_to_hub, which embeds them"
        )
    return folder / name


def _labels(file: _File, classes: int) -> np.ndarray:
    """int64 [N]. Unsigned labels that are too large become negative and are refused."""
    labels = file.labels.cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        given = file.labels[int(outside[0])].as_py()
        unlabeled = " (-1 marks an image without a label: use labeled images)" if given == -1 else ""
        raise InputError(f"{file.path}, row {outside[0]}: the label is {given}, expected 0 to {classes - 1}{unlabeled}")
    return labels
