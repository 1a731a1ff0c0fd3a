"""Folding keeps the function, or is refused."""

import numpy as np
import pytest
import torch

from zoo_builder.networks.architecture import (
    Activation,
    Architecture,
    Conv,
    GlobalAveragePool,
    Norm,
    Residual,
)
from zoo_builder.networks.folding import folded
from zoo_builder.networks.stack import Stack, forward

RELU = Activation("relu")


@pytest.mark.parametrize("name", ["norm", "norm of vectors", "residual", "small cnn"])
def test_folding_norms_keeps_the_function(name: str, random_images, random_tensors, relative, shapes) -> None:
    architecture = shapes[name]
    stack = Stack(architecture, random_tensors(architecture, 4), np.arange(4))
    images = random_images(architecture, 6)
    before = {key: value.clone() for key, value in stack.parameters.items()}
    plain = folded(stack)
    assert not plain.architecture.buffers
    assert not any(isinstance(layer, Norm) for layer in plain.architecture.layers)
    assert list(plain.parameters) == list(plain.architecture.parameters)
    truth = forward(architecture, stack.parameters, images)
    assert relative(forward(plain.architecture, plain.parameters, images), truth) < 1e-12
    assert all(torch.equal(before[key], value) for key, value in stack.parameters.items())


def test_a_norm_that_follows_no_weights_cannot_be_folded(random_tensors) -> None:
    for rows in [(Norm(), Conv(3)), (Conv(3), RELU, Norm())]:
        architecture = Architecture((2, 5, 5), (*rows, GlobalAveragePool()))
        with pytest.raises(ValueError, match="norm1 does not follow a convolution or linear layer"):
            folded(Stack(architecture, random_tensors(architecture, 1), np.arange(1)))


def test_a_shortcut_from_within_a_convolution_and_its_norm_cannot_be_folded(random_tensors) -> None:
    """It reads the convolution's output before the norm, which folding changes."""
    architecture = Architecture((2, 5, 5), (Conv(3), Norm(), RELU, Residual(2), GlobalAveragePool()))
    with pytest.raises(ValueError, match="residual1 reads the input of norm1"):
        folded(Stack(architecture, random_tensors(architecture, 1), np.arange(1)))
