"""The source of a data set, chosen by its name and folder."""

import subprocess
import sys

import pytest

from zoo_builder.datasets.loading import NAMES, load
from zoo_builder.errors import InputError


def test_known_names():
    assert NAMES == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cifar-10",), r"unknown data set 'cifar-10' \(did you mean 'cifar10'\?\): use one of digits, .*`data_root`"),
        (("digits", None, "gray"), r"unknown colour 'gray' \(did you mean 'grey'\?\): use one of grey, rgb"),
        (("mnist", "{root}/absent"), r"absent is not a folder"),
        (("usps", "{root}"), r"holds no data set: looked for train.parquet .* and for train/<class>/"),
        (("mnist", "{root}"), r"MNIST/raw/train-images-idx3-ubyte is missing.*train.parquet.*train/<class>/"),
        (("usps", "{root}"), r"holds no data set: .* found nothing"),
        (("svhn", "{root}"), r"train_32x32.mat is missing: expected svhn under"),
    ],
)
def test_missing_data_is_explained(tmp_path, arguments, words):
    name, *rest = arguments
    with pytest.raises(InputError, match=words):
        load(name, *(value and value.format(root=tmp_path) for value in rest))


def test_parquet_goes_before_image_folder_before_torchvision(tmp_path, samples):
    samples.write_mnist(tmp_path)
    assert load("mnist", tmp_path).classes == samples.digits
    samples.write_image_folder(tmp_path)
    with pytest.raises(InputError, match=r"does not hold mnist: found 6x5 images of 3 classes \(cat, dog, eel, "):
        load("mnist", tmp_path)
    samples.write_folder(tmp_path, names=("a", "b", "c"))
    with pytest.raises(InputError, match=r"does not hold mnist: found 6x5 images of 3 classes \(a, b, c, "):
        load("mnist", tmp_path)


def test_the_folders_of_a_root_are_searched_last(tmp_path, samples):
    (tmp_path / "data").mkdir()
    samples.write_image_folder(tmp_path / "data")
    assert load("pets", tmp_path).classes == ("cat", "dog", "eel")
    with pytest.raises(InputError, match=r"data does not hold mnist: found"):
        load("mnist", tmp_path)
    samples.write_mnist(tmp_path)
    assert load("mnist", tmp_path).classes == samples.digits


def test_import_loads_neither_torchvision_nor_scikit_learn():
    code = "import sys, zoo_builder.datasets.loading; print({'torchvision', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_real_folder_without_a_training_split(gengap_data):
    with pytest.raises(InputError, match=r"cifar10_shift_tinyimagenet holds no data set: looked for train.parquet"):
        load("shift", f"{gengap_data}/parquet/cifar10_shift_tinyimagenet")
