"""Made images, and the files of every kind of source that hold them."""

import gzip
import hashlib
import io
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

DIGITS = tuple("0123456789")


def pixels(count, height=6, width=5, channels=3, seed=0):
    """uint8 [count, channels, height, width] noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def encoded(image, format="PNG", **options):
    """A [channels, H, W] image as bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, format, **options)
    return buffer.getvalue()


def same(tensor, array):
    return tensor.dtype == torch.uint8 and np.array_equal(tensor.numpy(), array)


TRAIN, TEST = pixels(5), pixels(3, seed=1)
TRAIN_LABELS, TEST_LABELS = [2, 0, 1, 1, 0], [1, 1, 2]


def write_parquet(path, images, labels, names=DIGITS, column="image", struct=True, label="label"):
    """A Hugging Face style file. ``images`` are bytes (or None)."""
    column_type = pa.struct({"bytes": pa.binary(), "path": pa.string()}) if struct else pa.binary()
    values = [{"bytes": image, "path": None} for image in images] if struct else images
    table = pa.table({column: pa.array(values, column_type), label: pa.array(labels)})
    if names is not None:
        features = {column: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def write_folder(root, train_labels=TRAIN_LABELS, **options):
    write_parquet(root / "train.parquet", [encoded(image) for image in TRAIN], train_labels, **options)
    write_parquet(root / "test.parquet", [encoded(image) for image in TEST], TEST_LABELS, **options)


def write_image_folder(root):
    for split, images, labels in (("train", TRAIN, TRAIN_LABELS), ("test", TEST, TEST_LABELS)):
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / split / ("cat", "dog", "eel")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}.png").write_bytes(encoded(image))
            (folder / ".DS_Store").write_bytes(b"no image")


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(root, suffix=""):
    """Made files in torchvision's layout, or the archives on its mirrors (suffix ".gz"); returns {file name: md5}."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digests = {}
    for split, images, labels in (("train", TRAIN, TRAIN_LABELS), ("t10k", TEST, TEST_LABELS)):
        for name, array in (("images-idx3", images[:, 0]), ("labels-idx1", np.array(labels))):
            file = raw / f"{split}-{name}-ubyte{suffix}"
            file.write_bytes(gzip.compress(idx(array)) if suffix else idx(array))
            digests[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    return digests


@pytest.fixture(scope="session")
def samples():
    """The helpers above, as one fixture."""
    return SimpleNamespace(
        digits=DIGITS,
        train=TRAIN,
        test=TEST,
        train_labels=TRAIN_LABELS,
        test_labels=TEST_LABELS,
        files=[encoded(image) for image in TRAIN],
        pixels=pixels,
        encoded=encoded,
        same=same,
        write_parquet=write_parquet,
        write_folder=write_folder,
        write_image_folder=write_image_folder,
        idx=idx,
        write_mnist=write_mnist,
    )
