"""Parquet folders: round trips, broken files, and real ones."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from zoo_builder.datasets.dataset import in_colour
from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError


@pytest.mark.parametrize(
    "options",
    [{}, {"names": None}, {"column": "img"}, {"struct": False}, {"label": "fine_label", "names": ("a", "b", "c")}],
    ids=str,
)
def test_parquet_round_trip(tmp_path, options, samples):
    samples.write_folder(tmp_path, **options)
    made = load("anything", tmp_path, "rgb")
    assert samples.same(made.train_images, samples.train)
    assert samples.same(made.test_images, samples.test)
    assert made.train_labels.tolist() == samples.train_labels
    assert made.test_labels.tolist() == samples.test_labels
    assert made.train_labels.dtype == torch.int64
    names = options.get("names", samples.digits)
    assert made.classes == (("0", "1", "2") if names is None else names)
    grey = load("anything", str(tmp_path), "grey")
    assert samples.same(grey.test_images, in_colour(made.test_images, "grey").numpy())


def test_parquet_shards_are_read_in_order(tmp_path, samples):
    samples.write_folder(tmp_path)
    (tmp_path / "train.parquet").unlink()
    for shard, part in enumerate((slice(0, 3), slice(3, 5))):
        path = tmp_path / f"train-{shard:05}-of-00002.parquet"
        samples.write_parquet(path, samples.files[part], samples.train_labels[part])
    made = load("anything", tmp_path, "rgb")
    assert samples.same(made.train_images, samples.train)
    assert made.train_labels.tolist() == samples.train_labels
    path.unlink()
    with pytest.raises(InputError, match=r"train-00000-of-00002.parquet: expected 2 shards beside it, found 1"):
        load("anything", tmp_path)


def image_replaced(image, **options):
    """Row 3 of train.parquet holds the bytes ``image(samples)`` instead."""

    def replace(root, samples):
        images = [*samples.files[:3], image(samples), samples.files[4]]
        samples.write_parquet(root / "train.parquet", images, samples.train_labels, **options)

    return replace


def label_replaced(label):
    """Row 3 of train.parquet holds ``label`` instead."""
    return lambda root, s: s.write_parquet(root / "train.parquet", s.files, [2, 0, 1, label, 0])


def other_test(images, labels, **options):
    """test.parquet holds ``images(samples)`` instead."""
    return lambda root, s: s.write_parquet(root / "test.parquet", images(s), labels, **options)


def table_written(**columns):
    return lambda root, s: pq.write_table(pa.table(columns), root / "train.parquet")


def metadata_replaced(root, samples):
    path = root / "train.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": "[]"}), path)


def truncated(name, size):
    return lambda root, s: (root / name).write_bytes((root / name).read_bytes()[:size])


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (truncated("train.parquet", 900), r"train.parquet is not a readable Parquet file"),
        (truncated("test.parquet", 0), r"test.parquet is not a readable Parquet file"),
        (lambda root, s: (root / "test.parquet").unlink(), r"test.parquet is missing"),
        (lambda root, s: (root / "train.parquet").unlink(), r"holds no data set: looked for train.parquet"),
        (image_replaced(lambda s: s.files[3][:60]), r"train.parquet, row 3: not a readable image"),
        (image_replaced(lambda s: b"hello"), r"train.parquet, row 3: not a readable image"),
        (image_replaced(lambda s: b""), r"train.parquet, row 3: not a readable image"),
        (image_replaced(lambda s: None), r"train.parquet, row 3: no image bytes"),
        (image_replaced(lambda s: None, struct=False), r"train.parquet, row 3: no image bytes"),
        (
            image_replaced(lambda s: s.encoded(s.pixels(1, 7, 5)[0])),
            r"train.parquet, row 3: the image is 7x5.*row 0 is 6x5",
        ),
        (
            image_replaced(lambda s: s.encoded(np.full((1, 6, 5), 999, np.uint16))),
            r"train.parquet, row 3: pixels of mode 'I;16'",
        ),
        (label_replaced(10), r"train.parquet, row 3: the label is 10, expected 0 to 9"),
        (label_replaced(-1), r"train.parquet, row 3: the label is -1, expected 0 to 9"),
        (label_replaced(None), r"train.parquet, row 3: the label is None, expected 0 to 9"),
        (label_replaced(2**40), r"train.parquet, row 3: the label is 1099511627776, expected 0 to 9"),
        (lambda root, s: s.write_folder(root, [2, 0, 1, 7, 0], names=None), r"row 3: the label is 7, expected 0 to 3"),
        (
            lambda root, s: s.write_folder(root, pa.array([2**64 - 1] * 5, pa.uint64())),
            r"label is 18446744073709551615",
        ),
        (lambda root, s: s.write_folder(root, list("abcde")), r"column 'label' is string, expected integers"),
        (table_written(picture=[b""], label=[0]), r"no column 'image' or 'img'; it has picture, label"),
        (table_written(image=[b""], target=[0]), r"no column 'label' or 'fine_label'; it has image, target"),
        (table_written(image=["a"], label=[0]), r"column 'image' is string, expected bytes"),
        (table_written(image=[{"path": "a"}], label=[0]), r"column 'image' is struct.*expected bytes"),
        (other_test(lambda s: [], pa.array([], pa.int64())), r"test.parquet holds no rows"),
        (other_test(lambda s: s.files, [2, 0, 1, 1, 0], names="abc"), r"test.parquet: its metadata names the classes"),
        (other_test(lambda s: [s.encoded(s.pixels(1, 5, 6)[0])], [0]), r"train and test images are 1x6x5 and 1x5x6"),
        (metadata_replaced, r"train.parquet: the schema's 'huggingface' metadata"),
    ],
)
def test_broken_parquet_is_named(tmp_path, samples, breakage, words):
    samples.write_folder(tmp_path)
    breakage(tmp_path, samples)
    with pytest.raises(InputError, match=words):
        load("anything", tmp_path)


def test_real_usps(gengap_data, samples):
    usps = load("usps", f"{gengap_data}/parquet/usps")
    assert usps.train_images.shape == (7291, 1, 16, 16)
    assert usps.test_images.shape == (2007, 1, 16, 16)
    assert usps.train_labels.bincount().tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert usps.test_labels.bincount().tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert usps.classes == samples.digits
    with pytest.raises(
        InputError, match=r"found 16x16 images of 10 classes \(0, 1, 2, ...\) with 542 to 1,194 training"
    ):
        load("mnist", f"{gengap_data}/parquet/usps")


def test_real_cifar10_test_split(gengap_data, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").symlink_to(f"{gengap_data}/parquet/cifar10/test.parquet")
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


@pytest.mark.slow
def test_real_cifar10(gengap_data):
    cifar = load("cifar10", f"{gengap_data}/parquet/cifar10", "rgb")
    assert cifar.train_images.shape == (50000, 3, 32, 32)
    assert cifar.train_labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert cifar.train_labels.bincount().tolist() == [5000] * 10
    # The usual channel means; the image bytes are lossless.
    means = cifar.train_images.sum((0, 2, 3)) / (255 * 50000 * 32 * 32)
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert cifar.duplicates == 0
