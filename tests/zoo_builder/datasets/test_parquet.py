"""Parquet folders: round trips, broken files, and real ones."""

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image

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
    with pytest.raises(
        InputError, match=r"expected 2 shards of train, this one among them, numbered 0 to 1; found 1: train-00000"
    ):
        load("anything", tmp_path)


def renamed(root, *names):
    for old, new in names:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("train-00000-of-00001-0f3a.parquet", "test-00000-of-00001-9b1c.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/test/0000.parquet"),
        ("data/plain_text/train.parquet", "data/plain_text/test.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("Train.PARQUET", "TEST.parquet"),
        ("train.parquet", "validation-00000-of-00001.parquet"),
        ("train-00001-of-00001.parquet", "valid.parquet"),
    ],
)
def test_layouts_of_hugging_face(tmp_path, train, test, samples):
    samples.write_folder(tmp_path)
    plain = load("anything", tmp_path)
    renamed(tmp_path, ("train.parquet", "new"), ("test.parquet", "old"), ("new", train), ("old", test))
    made = load("anything", tmp_path)
    assert made.fingerprint == plain.fingerprint
    assert ["no test split" in remark for remark in made.remarks] == ([True] if "valid" in test else [])


def test_parquet_files_that_are_not_read_are_named(tmp_path, samples):
    samples.write_folder(tmp_path)
    for name in ("validation.parquet", "train-00000-of-00001.parquet"):
        (tmp_path / name).touch()
    [remark] = load("anything", tmp_path).remarks
    assert remark == (f"left out: other Parquet files of {tmp_path} (train-00000-of-00001.parquet, validation.parquet)")


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00003.parquet", "train-00001-of-00003.parquet"),
        ("train-00000-of-00002.parquet", "train-00002-of-00002.parquet"),
        ("train-00000-of-00002.parquet", "train-00001-of-00003.parquet"),
        ("train-00000-of-00001-aa.parquet", "train-00000-of-00001-bb.parquet"),
        ("train-00002-of-00002.parquet",),
    ],
)
def test_shards_that_are_not_one_whole_set_are_refused(tmp_path, names, samples):
    samples.write_folder(tmp_path)
    for name in names:
        (tmp_path / name).write_bytes((tmp_path / "train.parquet").read_bytes())
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(InputError, match=rf"expected . shards of train.*found {len(names)}: {', '.join(names)}"):
        load("anything", tmp_path)


def test_several_data_sets_in_a_folder_are_named(tmp_path, samples):
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
        samples.write_folder(tmp_path / name)
    with pytest.raises(InputError, match=r"holds several data sets \(large, small\): pass the folder of one as"):
        load("anything", tmp_path)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("kind", ["struct with bytes", "struct", "string"])
def test_images_beside_the_table_are_read(tmp_path, relative, kind, samples):
    samples.write_folder(tmp_path)
    plain = load("anything", tmp_path)
    for split, images, labels in (
        ("train", samples.train, samples.train_labels),
        ("test", samples.test, samples.test_labels),
    ):
        rows = []
        for row, image in enumerate(images):
            path = tmp_path / f"{split}_{row}.png"
            path.write_bytes(samples.encoded(image))
            place = path.name if relative else str(path)
            extra = {"bytes": None} if kind == "struct with bytes" else {}
            rows.append(place if kind == "string" else {**extra, "path": place})
        pq.write_table(pa.table({"image": rows, "label": labels}), tmp_path / f"{split}.parquet")
    assert load("anything", tmp_path).fingerprint == plain.fingerprint
    path.unlink()
    with pytest.raises(InputError, match=r"test.parquet, row 2: no image bytes.*test_2.png is not a file.*embed_table"):
        load("anything", tmp_path)


def test_columns_of_other_names_are_found_by_their_type(tmp_path, samples):
    samples.write_folder(tmp_path, label="labels")
    plain = load("anything", tmp_path)
    samples.write_folder(tmp_path, column="picture", label="species")
    made = load("anything", tmp_path)
    assert (made.fingerprint, made.classes) == (plain.fingerprint, samples.digits)


def test_class_names_are_compared_in_one_unicode_form(tmp_path, samples):
    names = [unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD")]
    for split, name in zip(("train", "test"), names, strict=True):
        samples.write_parquet(tmp_path / f"{split}.parquet", samples.files, [0] * 5, names=(name,))
    assert load("anything", tmp_path).classes == (names[0],)


def test_parquet_images_are_turned_upright(tmp_path, samples):
    samples.write_folder(tmp_path)
    plain = load("anything", tmp_path, "rgb")
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 4  # upside down
    turned = [samples.encoded(np.ascontiguousarray(image[:, ::-1]), exif=tags) for image in samples.train]
    samples.write_parquet(tmp_path / "train.parquet", turned, samples.train_labels)
    assert load("anything", tmp_path, "rgb").fingerprint == plain.fingerprint


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
        (label_replaced(-1), r"train.parquet, row 3: the label is -1, expected 0 to 9 \(-1 marks an image without"),
        (label_replaced(None), r"train.parquet, row 3: the label is None, expected 0 to 9"),
        (label_replaced(2**40), r"train.parquet, row 3: the label is 1099511627776, expected 0 to 9"),
        (lambda root, s: s.write_folder(root, [2, 0, 1, 7, 0], names=None), r"row 3: the label is 7, expected 0 to 3"),
        (
            lambda root, s: s.write_folder(root, pa.array([2**64 - 1] * 5, pa.uint64())),
            r"label is 18446744073709551615",
        ),
        (lambda root, s: s.write_folder(root, list("abcde")), r"column 'label' is string, expected integers"),
        (table_written(picture=[b""], label=[0]), r"no column 'image' or 'img'; it has picture, label"),
        (
            table_written(image=[b""], target=[0]),
            r"no column 'label' or 'fine_label' or 'labels'; it has image, target",
        ),
        (table_written(image=[1.5], label=[0]), r"column 'image' is double, expected bytes"),
        (table_written(image=[{"place": "a"}], label=[0]), r"column 'image' is struct.*expected bytes"),
        (table_written(image=[{"path": 3}], label=[0]), r"column 'image' is struct.*expected bytes"),
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


def test_a_dictionary_that_stands_for_any_number_of_rows_is_refused(tmp_path, samples):
    """20 million rows in some 300 kB."""
    samples.write_folder(tmp_path)
    zeros = pa.array(np.zeros(20_000_000, np.int8))
    columns = {"image": pa.array(samples.files[:1]), "label": pa.array([0])}
    table = pa.table({name: pa.DictionaryArray.from_arrays(zeros, values) for name, values in columns.items()})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(
        InputError, match=r"train.parquet: it has 20,000,000 rows, expected at most \d\d\d,\d\d\d$"
    ) as error:
        load("anything", tmp_path)
    assert len(str(error.value).splitlines()) == 1


def test_rows_that_share_a_large_value_take_its_memory_once(tmp_path, samples):
    """An image of a megabyte in 5,000 rows of a megabyte."""
    samples.write_folder(tmp_path, names=None)
    junk = np.random.default_rng(0).bytes(1_000_000)
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5_000, np.int32)), pa.array([samples.files[0] + junk]))
    pq.write_table(pa.table({"image": values, "label": [0, 1, 2, 3, 4] * 1000}), tmp_path / "train.parquet")
    assert load("anything", tmp_path).train_images.shape == (5_000, 1, 6, 5)


def test_deep_metadata_is_named(tmp_path, samples):
    samples.write_folder(tmp_path)
    path = tmp_path / "train.parquet"
    deep = '{"info": ' * 100_000
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": deep, "pandas": deep}), path)
    with pytest.raises(InputError, match=r"train.parquet: the schema's 'huggingface' metadata is not what"):
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
