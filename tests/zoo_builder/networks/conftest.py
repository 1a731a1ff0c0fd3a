"""Networks of every layer, in every position that a layer may have."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoo_builder.networks.architecture import (
    ACTIVATIONS,
    Activation,
    Architecture,
    Conv,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Norm,
    Residual,
)

RELU = Activation("relu")
# conv1 7x5 -> shortcut from the image (fewer channels, no stride) -> shortcut that subsamples 7x5 to 4x3.
RESIDUAL = Architecture(
    (2, 7, 5),
    (
        *(Conv(3, padding=1), Norm(), Residual(2), RELU),
        *(Conv(3, padding=1), Norm(), RELU, Conv(3, padding=1), Norm(), Residual(5), RELU),
        *(Conv(5, stride=2, padding=1), Norm(), RELU, Conv(5, padding=1), Norm(), Residual(5), RELU),
        *(GlobalAveragePool(), Linear(6), Norm(), Activation("tanh"), Residual(3), Linear(8), Residual(1), Linear(4)),
    ),
)
SHAPES = {
    "small cnn": Architecture(
        (1, 32, 32), (Conv(16, stride=2), RELU, Dropout()) * 3 + (GlobalAveragePool(), Linear(10))
    ),
    "image into linear": Architecture((2, 6, 5), (Conv(3, kernel=2, padding=1), RELU, Linear(4))),
    "dense": Architecture((1, 4, 4), (Linear(6), Activation("tanh"), Dropout(), Linear(3))),
    "pooled input": Architecture((3, 5, 5), (GlobalAveragePool(), Linear(4), RELU, Linear(2))),
    "norm": Architecture((2, 8, 7), (Conv(5, padding=1), Norm(), RELU, GlobalAveragePool(), Linear(3))),
    "norm of the input": Architecture((2, 8, 7), (Norm(), Conv(3), GlobalAveragePool())),
    "norm of vectors": Architecture((1, 4, 4), (Linear(6), Norm(), RELU, Linear(5), Norm())),
    "norm of a pooled input": Architecture((3, 4, 4), (GlobalAveragePool(), Norm(), Linear(2))),
    "max pooling": Architecture((2, 9, 7), (MaxPool(), Conv(4, padding=1), RELU, MaxPool(3), Linear(3))),
    "residual": RESIDUAL,
    "residual around the input": Architecture((2, 6, 6), (MaxPool(), Residual(1), Conv(3), Linear(2))),
    **{kind: Architecture((1, 5, 5), (Conv(4), Activation(kind), Linear(3))) for kind in ACTIVATIONS},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return request.param


@pytest.fixture(params=[name for name, one in SHAPES.items() if one.buffers])
def normed(request: pytest.FixtureRequest) -> Architecture:
    return SHAPES[request.param]


@pytest.fixture
def shapes() -> dict[str, Architecture]:
    """All these architectures by name."""
    return SHAPES


@pytest.fixture
def residual() -> Architecture:
    return RESIDUAL


@pytest.fixture
def random_tensors() -> Callable[..., dict[str, Tensor]]:
    """Parameters and running statistics in float64."""

    def draw(architecture: Architecture, models: int, seed: int = 1) -> dict[str, Tensor]:
        stream = torch.Generator().manual_seed(seed)
        draws = {
            name: 0.5 * torch.randn(models, *shape, dtype=torch.float64, generator=stream)
            for name, shape in architecture.tensors.items()
        }
        return {name: value.exp() if name.endswith("running_var") else value for name, value in draws.items()}

    return draw


@pytest.fixture
def random_images() -> Callable[..., Tensor]:
    """Scaled images [*sizes, C, H, W] in float64."""

    def draw(architecture: Architecture, *sizes: int, seed: int = 2) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        return torch.randn(*sizes, *architecture.input_shape, dtype=torch.float64, generator=stream)

    return draw
