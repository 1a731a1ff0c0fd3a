"""Image folders."""

import unicodedata

import pytest

from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError


def truncated(name, size):
    return lambda root, s: (root / name).write_bytes((root / name).read_bytes()[:size])


def test_image_folder_round_trip(tmp_path, samples):
    samples.write_image_folder(tmp_path)
    made = load("pets", tmp_path, "rgb")
    assert made.classes == ("cat", "dog", "eel")
    assert samples.same(made.train_images, samples.train[[1, 4, 2, 3, 0]])
    assert made.train_labels.tolist() == [0, 0, 1, 1, 2]
    assert samples.same(made.test_images, samples.test)  # no cats
    assert made.test_labels.tolist() == [1, 1, 2]


def emptied(folder):
    return lambda root, s: [path.unlink() for path in (root / folder).glob("*.png")]


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (emptied("train/dog"), r"train/dog holds no images: expected files in one of the formats PNG"),
        (
            lambda root, s: (root / "test").rename(root / "other"),
            r"/test is missing: expected a folder.*or validation,",
        ),
        (lambda root, s: (root / "test/eel").rename(root / "test/eeel"), r"test/eeel: there is no.*did you mean 'eel'"),
        (truncated("train/dog/2.png", 70), r"train/dog/2.png: not a readable image"),
        (lambda root, s: (root / "train/dog/9.JPG").symlink_to("absent"), r"train/dog/9.JPG: not a readable image"),
        (
            lambda root, s: (root / "train/dog/here").symlink_to(root / "train"),
            r"links to a folder that is read already",
        ),
        (
            lambda root, s: (root / "test/dog/0.png").write_bytes(s.encoded(s.pixels(1, 9, 9)[0])),
            r"test/dog/1.png: the image is 6x5",
        ),
    ],
)
def test_broken_image_folder_is_named(tmp_path, breakage, words, samples):
    samples.write_image_folder(tmp_path)
    breakage(tmp_path, samples)
    with pytest.raises(InputError, match=words):
        load("pets", tmp_path)


def test_an_image_folder_without_classes(tmp_path, samples):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "0.png").write_bytes(samples.files[0])
    with pytest.raises(
        InputError, match=r"train holds no folders: expected one folder of images per class; it holds 0.png"
    ):
        load("pets", tmp_path)


def test_what_save_to_disk_writes_is_named(tmp_path):
    for name in ("train/data-00000-of-00001.arrow", "train/state.json", "test/data-00000-of-00001.arrow"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"data-00000-of-00001.arrow, state.json, which .*save_to_disk.*to_parquet"):
        load("pets", tmp_path)


def moved(root, old, new):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)


def test_every_image_of_a_class_is_read(tmp_path, samples):
    """In any depth, of any suffix, in capitals, without a suffix, and through links to folders."""
    samples.write_image_folder(tmp_path)
    for old, new in (("cat/1.png", "cat/1.jfif"), ("cat/4.png", "cat/4"), ("dog/2.png", "dog/a/b/2.PNG")):
        moved(tmp_path / "train", old, new)
    moved(tmp_path, "train/dog/3.png", "elsewhere/3.new")
    (tmp_path / "train/dog/link").symlink_to(tmp_path / "elsewhere")
    made = load("pets", tmp_path, "rgb")
    assert samples.same(made.train_images, samples.train[[1, 4, 2, 3, 0]])
    assert made.train_labels.tolist() == [0, 0, 1, 1, 2]
    [nested, _] = made.remarks
    assert nested == (
        "read as images of the class folder that their folder is in: 2 of "
        f"{tmp_path} (train/dog/a/b/2.PNG, train/dog/link/3.new)"
    )


@pytest.mark.parametrize(
    "name", ["dog/Thumbs.db", "dog/notes.txt", "dog/._2.png", "dog/LICENSE", "dog/.trash/2.png", "dog/x.heic", "a.csv"]
)
def test_what_is_left_out_is_counted(tmp_path, name, samples):
    samples.write_image_folder(tmp_path)
    for stray in tmp_path.rglob(".DS_Store"):
        stray.unlink()
    clean = load("pets", tmp_path)
    assert clean.remarks == ()
    (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "train" / name).write_bytes(samples.files[0] if "trash" in name else b"no image")
    made = load("pets", tmp_path)
    assert made.fingerprint == clean.fingerprint
    [remark] = made.remarks
    assert remark.startswith(f"left out: 1 of 9 files of {tmp_path}, not images in a class folder")
    assert remark.endswith(f" (train/{name})")


def test_a_hidden_image_is_read(tmp_path, samples):
    samples.write_image_folder(tmp_path)
    moved(tmp_path, "train/cat/1.png", "train/cat/.1.png")
    assert len(load("pets", tmp_path).train_images) == 5


@pytest.mark.parametrize("name", ["validation", "val", "Test"])
def test_the_validation_split_takes_the_place_of_a_missing_test_split(tmp_path, name, samples):
    samples.write_image_folder(tmp_path)
    moved(tmp_path, "test", name)
    made = load("pets", tmp_path, "rgb")
    assert samples.same(made.test_images, samples.test)
    assert [f"its {name} split is read in place of it" in remark for remark in made.remarks[:-1]] == (
        [] if name == "Test" else [True]
    )


def test_a_third_split_is_left_out_aloud(tmp_path, samples):
    samples.write_image_folder(tmp_path)
    (tmp_path / "val").mkdir()
    assert load("pets", tmp_path).remarks[-1] == f"left out: other splits of {tmp_path} (val)"


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_class_names_are_compared_in_one_unicode_form(tmp_path, forms, samples):
    samples.write_image_folder(tmp_path)
    train, test = (unicodedata.normalize(form, "Schäferhund") for form in forms)
    moved(tmp_path, "train/dog", f"train/{train}")
    moved(tmp_path, "test/dog", f"test/{test}")
    made = load("pets", tmp_path)
    assert made.classes == tuple(sorted(("cat", train, "eel")))
    assert made.test_labels.unique().tolist() == sorted(made.classes.index(name) for name in (train, "eel"))
    moved(tmp_path, "train/cat", f"train/{test}")
    with pytest.raises(InputError, match=r"train holds two folders whose names look alike, .*\\xe4.*rename one"):
        load("pets", tmp_path)


def test_a_folder_between_the_split_and_its_classes(tmp_path, samples):
    samples.write_image_folder(tmp_path)
    moved(tmp_path, "train", "other/images")
    moved(tmp_path, "other", "train")
    with pytest.raises(
        InputError, match=r"train holds one folder, images, with folders of images in it \(cat, dog, eel"
    ):
        load("pets", tmp_path)
