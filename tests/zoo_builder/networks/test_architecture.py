"""Architectures survive JSON, and impossible ones are refused."""

import pytest

from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import (
    Activation,
    Architecture,
    Conv,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Residual,
)

BAD = {
    "kernel": ((1, 4, 4), (Conv(2), Conv(2)), r"layer conv2 .* reads a 2x2 image with a kernel of 3: use fewer layers"),
    "padded kernel": ((1, 4, 4), (Conv(2, kernel=7, padding=1),), "reads a 4x4 image with a kernel of 7"),
    "pool": ((1, 5, 1), (MaxPool(),), "layer pool1 of the architecture reads a 5x1 image with squares of 2"),
    "convolution of a vector": ((1, 4, 4), (Linear(9), Conv(2)), "layer conv1 of the architecture reads an image, but"),
    "two poolings": ((1, 4, 4), (GlobalAveragePool(), MaxPool()), "layer pool2 of the architecture reads an image"),
    "span": ((1, 4, 4), (Conv(2), Residual(2)), "layer residual1 of the architecture spans 2 rows, there are 1"),
    "no span": ((1, 4, 4), (Conv(2), Residual(0)), "spans 0 rows"),
    "fewer channels": ((3, 4, 4), (Conv(2, padding=1), Residual(1)), "cannot add 3x4x4 to 2x4x4: a shortcut only"),
    "larger image": ((1, 4, 4), (Conv(2, padding=2), Residual(1)), "cannot add 1x4x4 to 2x6x6"),
    "other grid": ((1, 9, 9), (Conv(2), Residual(1)), "cannot add 1x9x9 to 2x7x7"),
    "image to vector": ((1, 4, 4), (Linear(20), Residual(1)), "cannot add 1x4x4 to 20"),
}


@pytest.mark.parametrize(("shape", "rows", "message"), BAD.values(), ids=BAD)
def test_an_architecture_that_cannot_be_is_refused_when_it_is_written(shape, rows, message) -> None:
    with pytest.raises(InputError, match=message):
        Architecture(shape, rows)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown activation 'rely' \(did you mean 'relu'\?\): use one of relu, tanh"):
        Activation("rely")


def test_architectures_survive_json(architecture: Architecture) -> None:
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert again.key == architecture.key
