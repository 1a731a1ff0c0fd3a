"""Image folders."""

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
        (emptied("train/dog"), r"train/dog holds no images: expected files that end in \.png"),
        (lambda root, s: (root / "test").rename(root / "other"), r"/test is missing: expected a folder"),
        (lambda root, s: (root / "test/eel").rename(root / "test/eeel"), r"test/eeel: there is no.*did you mean 'eel'"),
        (truncated("train/dog/2.png", 70), r"train/dog/2.png: not a readable image"),
        (lambda root, s: (root / "train/dog/9.png").mkdir(), r"train/dog/9.png: not a readable image"),
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
    with pytest.raises(InputError, match=r"train holds no folders: expected one folder of images per class"):
        load("pets", tmp_path)
