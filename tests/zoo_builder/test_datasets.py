"""Data sets: what each source reads, colours and scaling against float64, broken input, and the real ones."""

import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from zoo_builder.datasets.dataset import Dataset, Split, in_colour, scaled
from zoo_builder.datasets.images import FORMATS, decode
from zoo_builder.datasets.known import refuse_other
from zoo_builder.datasets.loading import NAMES, load
from zoo_builder.errors import InputError

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


# ------------------------------------------------------------------------------------------------- Dataset and colours


def dataset(train, train_labels, test, test_labels, classes=DIGITS, name="made"):
    images = [torch.as_tensor(np.asarray(values, np.uint8)) for values in (train, test)]
    labels = [torch.as_tensor(np.asarray(values, np.int64)) for values in (train_labels, test_labels)]
    return Dataset(name, "grey", classes, images[0], labels[0], images[1], labels[1])


images_of_few_values = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 8), st.just(1), st.just(1), st.just(2)), elements=st.integers(0, 2)
)


@given(images_of_few_values, images_of_few_values)
def test_duplicates_are_the_test_images_that_equal_a_training_image(train, test):
    made = dataset(train, np.zeros(len(train)), test, np.zeros(len(test)))
    assert made.duplicates == sum(any(np.array_equal(image, other) for other in train) for image in test)


def test_fingerprint_depends_on_each_pixel_label_and_shape():
    train, test = pixels(4, channels=1), pixels(2, channels=1, seed=1)
    original = dataset(train, [0, 1, 2, 3], test, [0, 1])
    assert original.fingerprint == dataset(train, [0, 1, 2, 3], test, [0, 1]).fingerprint
    assert len(original.fingerprint) == 64
    altered = test.copy()
    altered[-1, 0, -1, -1] ^= 1
    others = [
        dataset(train, [0, 1, 2, 4], test, [0, 1]),
        dataset(train, [0, 1, 2, 3], altered, [0, 1]),
        dataset(train[::-1].copy(), [0, 1, 2, 3], test, [0, 1]),
        dataset(train.reshape(4, 1, 5, 6), [0, 1, 2, 3], test.reshape(2, 1, 5, 6), [0, 1]),
    ]
    assert len({original.fingerprint, *(other.fingerprint for other in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": [0]}, "2 train images with 1 labels"),
        ({"test": np.empty((0, 1, 6, 5)), "test_labels": []}, "0 test images"),
        ({"test_labels": [3, 10]}, "test image 1 has label 10, expected 0 to 9"),
        ({"train_labels": [-1, 0]}, "train image 0 has label -1"),
        ({"test": pixels(2, 5, 6, 1)}, "1x6x5 and 1x5x6"),
    ],
)
def test_a_dataset_refuses_what_does_not_fit_together(changes, words):
    parts = {
        "train": pixels(2, channels=1),
        "train_labels": [0, 1],
        "test": pixels(2, channels=1),
        "test_labels": [0, 1],
    }
    with pytest.raises(InputError, match=f"'made'.*{words}"):
        dataset(**{**parts, **changes})


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 4), st.integers(1, 4))))
def test_grey_is_the_rounded_mean(images):
    grey = in_colour(torch.from_numpy(images), "grey")
    assert same(grey, np.rint(images.mean(1, keepdims=True, dtype=np.float64)).astype(np.uint8))
    assert same(in_colour(grey, "rgb"), np.repeat(grey.numpy(), 3, axis=1))
    assert same(in_colour(in_colour(grey, "rgb"), "grey"), grey.numpy())
    assert same(in_colour(torch.from_numpy(images), "rgb"), images)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-7), (torch.float64, 0)])
def test_scaled(dtype, tolerance):
    levels = torch.arange(256, dtype=torch.uint8)
    values = scaled(levels, dtype)
    assert values.dtype == dtype
    assert values[[0, -1]].tolist() == [-1, 1]
    np.testing.assert_allclose(values.numpy(), np.arange(256) / 127.5 - 1, rtol=0, atol=tolerance)
    assert torch.equal(levels, torch.arange(256, dtype=torch.uint8))


# -------------------------------------------------------------------------------------------------------------- digits


def test_digits_are_scikit_learns_in_a_fixed_stratified_split(tmp_path):
    from sklearn.datasets import load_digits

    digits = load("digits")
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.classes == DIGITS
    assert digits.test_labels.bincount().tolist() == [36] * 10
    assert digits.duplicates == 0

    def rows(images, labels):
        return sorted((int(label), *map(int, image.ravel())) for image, label in zip(images, labels, strict=True))

    source = load_digits()
    both = (
        np.concatenate([digits.train_images, digits.test_images]),
        np.concatenate([digits.train_labels, digits.test_labels]),
    )
    # Python's integers: 15.9375 x, half up (8, the only tie, becomes 128).
    expected = [[(int(value) * 255 + 8) // 16 for value in image.ravel()] for image in source.images]
    assert rows(*both) == rows(np.array(expected), source.target)

    # A zoo is tied to this split: it must never change.
    assert digits.fingerprint == "39b12e212954a7ccc9f2cec1148d51c098f48dc588978b2f6b3ff7d3efdbc802"
    with pytest.raises(InputError, match="digits comes with scikit-learn: leave --data out"):
        load("digits", tmp_path)


# ------------------------------------------------------------------------------------------------------------- Parquet


def write_parquet(path, images, labels, names=DIGITS, column="image", struct=True, label="label"):
    """A Hugging Face style file. ``images`` are bytes (or None)."""
    column_type = pa.struct({"bytes": pa.binary(), "path": pa.string()}) if struct else pa.binary()
    values = [{"bytes": image, "path": None} for image in images] if struct else images
    table = pa.table({column: pa.array(values, column_type), label: pa.array(labels)})
    if names is not None:
        features = {column: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


TRAIN, TEST = pixels(5), pixels(3, seed=1)
TRAIN_LABELS, TEST_LABELS = [2, 0, 1, 1, 0], [1, 1, 2]


def write_folder(root, train_labels=TRAIN_LABELS, **options):
    write_parquet(root / "train.parquet", [encoded(image) for image in TRAIN], train_labels, **options)
    write_parquet(root / "test.parquet", [encoded(image) for image in TEST], TEST_LABELS, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"names": None}, {"column": "img"}, {"struct": False}, {"label": "fine_label", "names": ("a", "b", "c")}],
    ids=str,
)
def test_parquet_round_trip(tmp_path, options):
    write_folder(tmp_path, **options)
    made = load("anything", tmp_path, "rgb")
    assert same(made.train_images, TRAIN)
    assert same(made.test_images, TEST)
    assert made.train_labels.tolist() == TRAIN_LABELS
    assert made.test_labels.tolist() == TEST_LABELS
    assert made.train_labels.dtype == torch.int64
    names = options.get("names", DIGITS)
    assert made.classes == (("0", "1", "2") if names is None else names)
    assert same(load("anything", str(tmp_path), "grey").test_images, in_colour(made.test_images, "grey").numpy())


def test_parquet_shards_are_read_in_order(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train.parquet").unlink()
    for shard, part in enumerate((slice(0, 3), slice(3, 5))):
        path = tmp_path / f"train-{shard:05}-of-00002.parquet"
        write_parquet(path, [encoded(image) for image in TRAIN[part]], TRAIN_LABELS[part])
    made = load("anything", tmp_path, "rgb")
    assert same(made.train_images, TRAIN)
    assert made.train_labels.tolist() == TRAIN_LABELS
    path.unlink()
    with pytest.raises(InputError, match=r"train-00000-of-00002.parquet: expected 2 shards beside it, found 1"):
        load("anything", tmp_path)


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel(format, channels):
    images = pixels(4, channels=channels)
    options = {"lossless": True} if format == "WEBP" else {}
    files = [encoded(image, format, **options) for image in images]
    decoded = decode([(str(row), functools.partial(bytes, file)) for row, file in enumerate(files)])
    assert same(decoded, np.broadcast_to(images, (4, 3, 6, 5)))


GOOD = [encoded(image) for image in TRAIN]


def image_replaced(image, **options):
    """Row 3 of train.parquet holds ``image`` instead."""
    return lambda root: write_parquet(root / "train.parquet", [*GOOD[:3], image, GOOD[4]], TRAIN_LABELS, **options)


def label_replaced(label):
    """Row 3 of train.parquet holds ``label`` instead."""
    return lambda root: write_parquet(root / "train.parquet", GOOD, [2, 0, 1, label, 0])


def replaced_test(*arguments, **options):
    return lambda root: write_parquet(root / "test.parquet", *arguments, **options)


def table_written(**columns):
    return lambda root: pq.write_table(pa.table(columns), root / "train.parquet")


def metadata_replaced(root):
    path = root / "train.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": "[]"}), path)


def truncated(name, size):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (truncated("train.parquet", 900), r"train.parquet is not a readable Parquet file"),
        (truncated("test.parquet", 0), r"test.parquet is not a readable Parquet file"),
        (lambda root: (root / "test.parquet").unlink(), r"test.parquet is missing"),
        (lambda root: (root / "train.parquet").unlink(), r"holds no data set: looked for train.parquet"),
        (image_replaced(GOOD[3][:60]), r"train.parquet, row 3: not a readable image"),
        (image_replaced(b"hello"), r"train.parquet, row 3: not a readable image"),
        (image_replaced(b""), r"train.parquet, row 3: not a readable image"),
        (image_replaced(None), r"train.parquet, row 3: no image bytes"),
        (image_replaced(None, struct=False), r"train.parquet, row 3: no image bytes"),
        (image_replaced(encoded(pixels(1, 7, 5)[0])), r"train.parquet, row 3: the image is 7x5.*row 0 is 6x5"),
        (image_replaced(encoded(np.full((1, 6, 5), 999, np.uint16))), r"train.parquet, row 3: pixels of mode 'I;16'"),
        (label_replaced(10), r"train.parquet, row 3: the label is 10, expected 0 to 9"),
        (label_replaced(-1), r"train.parquet, row 3: the label is -1, expected 0 to 9"),
        (label_replaced(None), r"train.parquet, row 3: the label is None, expected 0 to 9"),
        (label_replaced(2**40), r"train.parquet, row 3: the label is 1099511627776, expected 0 to 9"),
        (lambda root: write_folder(root, [2, 0, 1, 7, 0], names=None), r"row 3: the label is 7, expected 0 to 3"),
        (lambda root: write_folder(root, pa.array([2**64 - 1] * 5, pa.uint64())), r"label is 18446744073709551615"),
        (lambda root: write_folder(root, list("abcde")), r"column 'label' is string, expected integers"),
        (table_written(picture=[b""], label=[0]), r"no column 'image' or 'img'; it has picture, label"),
        (table_written(image=[b""], target=[0]), r"no column 'label' or 'fine_label'; it has image, target"),
        (table_written(image=["a"], label=[0]), r"column 'image' is string, expected bytes"),
        (table_written(image=[{"path": "a"}], label=[0]), r"column 'image' is struct.*expected bytes"),
        (replaced_test([], pa.array([], pa.int64())), r"test.parquet holds no rows"),
        (replaced_test(GOOD, TRAIN_LABELS, names="abc"), r"test.parquet: its metadata names the classes"),
        (replaced_test([encoded(pixels(1, 5, 6)[0])], [0]), r"train and test images are 1x6x5 and 1x5x6"),
        (metadata_replaced, r"train.parquet: the schema's 'huggingface' metadata"),
    ],
)  # fmt: skip
def test_broken_parquet_is_named(tmp_path, breakage, words):
    write_folder(tmp_path)
    breakage(tmp_path)
    with pytest.raises(InputError, match=words):
        load("anything", tmp_path)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_images_raise_nothing_but_input_errors(format, data):
    file = bytearray(encoded(pixels(1, 12, 12)[0], format))
    for position in data.draw(st.lists(st.integers(0, len(file) - 1), max_size=4)):
        file[position] ^= data.draw(st.integers(0, 255))
    damaged = bytes(file[: data.draw(st.integers(0, len(file)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL also warns of some damage
        try:
            decode([("here", lambda: damaged)])
        except InputError as error:
            message = str(error)
        else:
            message = "here: it can be read all the same"
    assert message.startswith("here: ")


# -------------------------------------------------------------------------------------------------------- image folder


def write_image_folder(root):
    for split, images, labels in (("train", TRAIN, TRAIN_LABELS), ("test", TEST, TEST_LABELS)):
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / split / ("cat", "dog", "eel")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}.png").write_bytes(encoded(image))
            (folder / ".DS_Store").write_bytes(b"no image")


def test_image_folder_round_trip(tmp_path):
    write_image_folder(tmp_path)
    made = load("pets", tmp_path, "rgb")
    assert made.classes == ("cat", "dog", "eel")
    assert same(made.train_images, TRAIN[[1, 4, 2, 3, 0]])
    assert made.train_labels.tolist() == [0, 0, 1, 1, 2]
    assert same(made.test_images, TEST)  # no cats
    assert made.test_labels.tolist() == [1, 1, 2]


OTHER_SIZE = encoded(pixels(1, 9, 9)[0])


def emptied(folder):
    return lambda root: [path.unlink() for path in (root / folder).glob("*.png")]


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (emptied("train/dog"), r"train/dog holds no images: expected files that end in \.png"),
        (lambda root: (root / "test").rename(root / "other"), r"/test is missing: expected a folder"),
        (lambda root: (root / "test/eel").rename(root / "test/eeel"), r"test/eeel: there is no.*did you mean 'eel'"),
        (truncated("train/dog/2.png", 70), r"train/dog/2.png: not a readable image"),
        (lambda root: (root / "train/dog/9.png").mkdir(), r"train/dog/9.png: not a readable image"),
        (lambda root: (root / "test/dog/0.png").write_bytes(OTHER_SIZE), r"test/dog/1.png: the image is 6x5"),
    ],
)  # fmt: skip
def test_broken_image_folder_is_named(tmp_path, breakage, words):
    write_image_folder(tmp_path)
    breakage(tmp_path)
    with pytest.raises(InputError, match=words):
        load("pets", tmp_path)


def test_an_image_folder_without_classes(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "0.png").write_bytes(GOOD[0])
    with pytest.raises(InputError, match=r"train holds no folders: expected one folder of images per class"):
        load("pets", tmp_path)


# --------------------------------------------------------------------------------------------------------- torchvision


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


def test_mnist_in_torchvisions_layout(tmp_path):
    write_mnist(tmp_path)
    made = load("mnist", tmp_path)
    assert same(made.train_images, TRAIN[:, :1])
    assert same(made.test_images, TEST[:, :1])
    assert made.test_labels.tolist() == TEST_LABELS
    assert made.classes == DIGITS


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (lambda raw: raw[:-1], "is damaged"),
        (lambda raw: raw + b"\0", "is damaged"),
        (lambda raw: raw[:6], "is damaged"),
        (lambda raw: b"", "is damaged"),
        (lambda raw: b"\x1f" + raw[1:], "is damaged"),
        (lambda raw: raw[:4] + bytes(4) + raw[8:], "is damaged"),
        (None, "is missing: expected mnist under"),
    ],
)
def test_a_damaged_mnist_file_is_named(tmp_path, name, breakage, words):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / name
    raw = path.read_bytes()
    path.unlink()
    if breakage:
        path.write_bytes(breakage(raw))
    with pytest.raises(InputError, match=rf"{name} {words}"):
        load("mnist", tmp_path)


def test_mnist_with_too_few_or_wrong_labels(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.array(TRAIN_LABELS[:4])))
    with pytest.raises(InputError, match="'mnist': 5 train images with 4 labels"):
        load("mnist", tmp_path)
    path.write_bytes(idx(np.array([0, 0, 77, 0, 0])))
    with pytest.raises(InputError, match="'mnist': train image 2 has label 77, expected 0 to 9"):
        load("mnist", tmp_path)


def test_cifar_in_torchvisions_layout(tmp_path, monkeypatch):
    from torchvision import datasets

    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()
    train, test = pixels(4, 32, 32), pixels(2, 32, 32, seed=1)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    batches = [{"data": train[part].reshape(2, -1), "labels": [0, 9]} for part in (slice(0, 2), slice(2, 4))]
    listed = [write(f"data_batch_{row}", batch) for row, batch in enumerate(batches)]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listed)
    last = write("test_batch", {"data": test.reshape(2, -1), "labels": [3, 8]})
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [last])
    name, md5 = write("batches.meta", {"label_names": list(DIGITS)})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})

    made = load("cifar10", tmp_path, "rgb")
    assert same(made.train_images, train)
    assert made.train_labels.tolist() == [0, 9, 0, 9]
    assert same(made.test_images, test)
    assert made.classes == DIGITS
    write("test_batch", {})
    with pytest.raises(InputError, match=r"cifar-10-batches-py/test_batch is damaged"):
        load("cifar10", tmp_path)


def test_svhn_in_torchvisions_layout(tmp_path, monkeypatch):
    from torchvision import datasets

    images = pixels(3, 32, 32)
    listed = {}
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        # SVHN writes the digit 0 as 10.
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": np.array([[10], [1], [9]], np.uint8)})
        listed[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    made = load("svhn", tmp_path, "rgb")
    assert same(made.train_images, images)
    assert made.test_labels.tolist() == [0, 1, 9]
    assert made.classes == DIGITS


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """MNIST as torchvision downloads it, from a server on this machine; yields the server's folder."""
    from torchvision import datasets

    folder = tmp_path / "mirror"
    digests = write_mnist(folder, ".gz")
    handler = functools.partial(QuietHandler, directory=folder / "MNIST" / "raw")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(datasets.MNIST, "resources", list(digests.items()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder / "MNIST" / "raw"
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_download_is_kept_and_mended(tmp_path, mirror):
    made = load("mnist")
    assert same(made.train_images, TRAIN[:, :1])
    cache = tmp_path / "cache" / "gengap" / "data"
    assert [path.name for path in cache.iterdir()] == ["mnist"]
    labels = cache / "mnist" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.unlink()
    assert load("mnist").fingerprint == made.fingerprint
    for path in mirror.iterdir():
        path.unlink()
    assert load("mnist").fingerprint == made.fingerprint  # from the cache


def test_a_failed_download_leaves_nothing(tmp_path, mirror, monkeypatch):
    from torchvision import datasets

    def check():
        with pytest.raises(InputError, match=r"mnist could not be downloaded to .*/gengap/data/mnist(.|\n)*--data"):
            load("mnist")
        assert not list((tmp_path / "cache" / "gengap" / "data").iterdir())

    archive = mirror / "t10k-labels-idx1-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-9])
    check()
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    check()


# ---------------------------------------------------------------------------------------------- which source is it?


def test_known_names():
    assert NAMES == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cifar-10",), r"unknown data set 'cifar-10' \(did you mean 'cifar10'\?\): use one of digits, .*--data"),
        (("digits", None, "gray"), r"unknown colour 'gray' \(did you mean 'grey'\?\): use one of grey, rgb"),
        (("mnist", "{root}/absent"), r"absent is not a folder"),
        (("usps", "{root}"), r"holds no data set: looked for train.parquet .* and for train/<class>/"),
        (("mnist", "{root}"), r"MNIST/raw/train-images-idx3-ubyte is missing.*train.parquet.*train/<class>/"),
        (("svhn", "{root}"), r"train_32x32.mat is missing: expected svhn under"),
    ],
)
def test_what_cannot_be_found_is_explained(tmp_path, arguments, words):
    name, *rest = arguments
    with pytest.raises(InputError, match=words):
        load(name, *(value and value.format(root=tmp_path) for value in rest))


def test_parquet_goes_before_image_folder_before_torchvision(tmp_path):
    write_mnist(tmp_path)
    assert load("mnist", tmp_path).classes == DIGITS
    write_image_folder(tmp_path)
    with pytest.raises(InputError, match=r"does not hold mnist: found 6x5 images of 3 classes \(cat, dog, eel, "):
        load("mnist", tmp_path)
    write_folder(tmp_path, names=("a", "b", "c"))
    with pytest.raises(InputError, match=r"does not hold mnist: found 6x5 images of 3 classes \(a, b, c, "):
        load("mnist", tmp_path)


# ------------------------------------------------------------------------------------ other images under a known name

CLOTHES = ("T - shirt / top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_few(root, size, names):
    """A Parquet folder of six images of three classes, as a subset of a data set is."""
    for split in ("train", "test"):
        images = [encoded(image) for image in pixels(6, size, size)]
        write_parquet(root / f"{split}.parquet", images, [0, 1, 2, 2, 1, 0], names=names)


@pytest.mark.parametrize(
    ("name", "size", "names", "words"),
    [
        ("fashion-mnist", 32, THINGS, "found 32x32 images of 10 classes (airplane, automobile, bird, ...) with 0 to"),
        ("fashion-mnist", 32, CLOTHES, "expected 28x28 images of 10 classes (T-shirt/top, Trouser, Pullover, ...) "),
        ("fashion-mnist", 28, ("zero", "one", "two"), "of 3 classes (zero, one, two, ...)"),
        ("cifar10", 32, tuple(map(str, range(100))), "found 32x32 images of 100 classes"),
        ("cifar10", 32, CLOTHES, "does not hold cifar10: found"),
        ("svhn", 32, THINGS, "Pass the folder of svhn with --data, or give these images a name of their own in"),
        ("mnist", 16, DIGITS, "found 16x16 images of 10 classes"),
    ],
)  # fmt: skip
def test_other_images_do_not_pass_under_a_known_name(tmp_path, name, size, names, words):
    write_few(tmp_path, size, names)
    with pytest.raises(InputError, match=re.escape(words)):
        load(name, tmp_path)
    assert load("mine", tmp_path).classes == names


@pytest.mark.parametrize(
    ("name", "size", "names"),
    [
        ("fashion-mnist", 28, CLOTHES),
        ("fashion-mnist", 28, None),
        ("fashion-mnist", 28, ("Dress", "Coat", "Ankle_Boot")),
        ("mnist", 28, ("0 - zero", "1 - one", "2 - two")),
        ("cifar10", 32, THINGS),
        ("cifar10", 32, DIGITS),
        ("cifar100", 32, ("apple", "aquarium_fish", "baby")),
    ],
)
def test_a_subset_of_a_known_set_is_read(tmp_path, name, size, names):
    write_few(tmp_path, size, names)
    assert len(load(name, tmp_path).train_images) == 6


MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize(
    ("name", "counts", "refused"),
    [
        ("mnist", MNIST_COUNTS, False),
        ("mnist", [6000] * 10, True),
        ("fashion-mnist", [6000] * 10, False),
        ("fashion-mnist", MNIST_COUNTS, True),
        ("fashion-mnist", [6000] * 9, False),
    ],
)
def test_numbers_of_images_tell_sets_apart_whose_class_names_are_lost(tmp_path, name, counts, refused):
    train = Split(
        torch.zeros(1, 1, 28, 28).expand(sum(counts), -1, -1, -1),
        torch.arange(10)[: len(counts)].repeat_interleave(torch.tensor(counts)),
    )
    with pytest.raises(InputError, match="training images each; expected") if refused else nullcontext():
        refuse_other(name, tmp_path, DIGITS[: len(counts)], train)


def test_import_leaves_torchvision_and_scikit_learn_alone():
    code = "import sys, zoo_builder.datasets.loading; print({'torchvision', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# ----------------------------------------------------------------------------------------------------------- real data

DATA = os.environ.get("GENGAP_DATA")
real = pytest.mark.skipif(DATA is None, reason="GENGAP_DATA is not set: it names the folder of real images")


@real
@pytest.mark.parametrize(
    ("name", "first", "mean", "train_counts"),
    [
        ("mnist", [5, 0, 4, 1, 9], 0.1307, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("fashion-mnist", [9, 0, 0, 3, 0], 0.2860, [6000] * 10),
    ],
)
def test_real_mnist_family(name, first, mean, train_counts):
    loaded = load(name, f"{DATA}/torchvision")
    assert loaded.train_images.shape == (60000, 1, 28, 28)
    assert loaded.test_images.shape == (10000, 1, 28, 28)
    assert loaded.train_labels[:5].tolist() == first
    assert loaded.train_labels.bincount().tolist() == train_counts
    assert loaded.train_images.sum().item() / (255 * 60000 * 28 * 28) == pytest.approx(mean, abs=5e-5)
    assert loaded.duplicates == 0
    assert loaded.classes[1] == {"mnist": "1", "fashion-mnist": "Trouser"}[name]


@real
def test_real_usps():
    usps = load("usps", f"{DATA}/parquet/usps")
    assert usps.train_images.shape == (7291, 1, 16, 16)
    assert usps.test_images.shape == (2007, 1, 16, 16)
    assert usps.train_labels.bincount().tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert usps.test_labels.bincount().tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert usps.classes == DIGITS
    with pytest.raises(
        InputError, match=r"found 16x16 images of 10 classes \(0, 1, 2, ...\) with 542 to 1,194 training"
    ):
        load("mnist", f"{DATA}/parquet/usps")


@real
def test_real_cifar10_test_split(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").symlink_to(f"{DATA}/parquet/cifar10/test.parquet")
    cifar = load("cifar10", tmp_path, "rgb")
    assert cifar.test_images.shape == (10000, 3, 32, 32)
    assert cifar.test_images[0, :, 0, 0].tolist() == [158, 112, 49]
    assert cifar.test_labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert cifar.test_labels.bincount().tolist() == [1000] * 10
    assert cifar.classes[3:7] == ("cat", "deer", "dog", "frog")
    assert cifar.duplicates == 10000
    with pytest.raises(
        InputError, match=r"fashion-mnist: found 32x32 images of 10 classes \(airplane, .* 1,000 training"
    ):
        load("fashion-mnist", tmp_path)


@real
@pytest.mark.slow
def test_real_cifar10():
    cifar = load("cifar10", f"{DATA}/parquet/cifar10", "rgb")
    assert cifar.train_images.shape == (50000, 3, 32, 32)
    assert cifar.train_labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert cifar.train_labels.bincount().tolist() == [5000] * 10
    # The channel means that everyone normalizes with; the image bytes are lossless.
    means = cifar.train_images.sum((0, 2, 3)) / (255 * 50000 * 32 * 32)
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert cifar.duplicates == 0


@real
def test_a_real_folder_without_a_training_split():
    with pytest.raises(InputError, match=r"cifar10_shift_tinyimagenet holds no data set: looked for train.parquet"):
        load("shift", f"{DATA}/parquet/cifar10_shift_tinyimagenet")
