"""Other images are not accepted under a well-known name."""

import re
from contextlib import nullcontext

import pytest
import torch

from zoo_builder.datasets.dataset import LabeledImages
from zoo_builder.datasets.known import refuse_other
from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError

CLOTHES = ("T - shirt / top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_few(samples, root, size, names):
    """A Parquet folder of six images of three classes, as a subset of a data set is."""
    for split in ("train", "test"):
        images = [samples.encoded(image) for image in samples.pixels(6, size, size)]
        samples.write_parquet(root / f"{split}.parquet", images, [0, 1, 2, 2, 1, 0], names=names)


@pytest.mark.parametrize(
    ("name", "size", "names", "words"),
    [
        ("fashion-mnist", 32, THINGS, "found 32x32 images of 10 classes (airplane, automobile, bird, ...) with 0 to"),
        ("fashion-mnist", 32, CLOTHES, "expected 28x28 images of 10 classes (T-shirt/top, Trouser, Pullover, ...) "),
        ("fashion-mnist", 28, ("zero", "one", "two"), "of 3 classes (zero, one, two, ...)"),
        ("cifar10", 32, tuple(map(str, range(100))), "found 32x32 images of 100 classes"),
        ("cifar10", 32, CLOTHES, "does not hold cifar10: found"),
        ("svhn", 32, THINGS, "Pass the folder of svhn as `data_root`, or choose another name for these images in"),
        ("mnist", 16, tuple("0123456789"), "found 16x16 images of 10 classes"),
    ],
)  # fmt: skip
def test_other_images_do_not_pass_under_a_known_name(tmp_path, name, size, names, words, samples):
    write_few(samples, tmp_path, size, names)
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
        ("cifar10", 32, tuple("0123456789")),
        ("cifar100", 32, ("apple", "aquarium_fish", "baby")),
    ],
)
def test_a_subset_of_a_known_set_is_read(tmp_path, name, size, names, samples):
    write_few(samples, tmp_path, size, names)
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
def test_numbers_of_images_distinguish_sets_that_lost_their_class_names(tmp_path, name, counts, refused, samples):
    train = LabeledImages(
        torch.zeros(1, 1, 28, 28).expand(sum(counts), -1, -1, -1),
        torch.arange(10)[: len(counts)].repeat_interleave(torch.tensor(counts)),
    )
    with pytest.raises(InputError, match="training images each; expected") if refused else nullcontext():
        refuse_other(name, tmp_path, samples.digits[: len(counts)], train)
