"""Small stacks and views of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import ACCESS, View
from baselines.fields import SourceData, TargetData, TrainData
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import small_cnn
from zoo_builder.networks.stack import Stack
from zoo_builder.training.settings import STATISTICS


@pytest.fixture(scope="session")
def relu_network() -> Architecture:
    """Two padded convolutions, pooling, linear: 1 x 6 x 6 -> 5 x 3 x 3 -> 5 x 2 x 2 -> 5 -> 3."""
    return small_cnn((1, 6, 6), 3, width=5, depth=2, padding=1)


@pytest.fixture(scope="session")
def tanh_network() -> Architecture:
    return small_cnn((1, 6, 6), 3, width=5, depth=2, padding=1, activation="tanh")


@pytest.fixture(scope="session")
def draw_stack():
    """draw_stack(architecture, models, seed): float32 weights and biases from a normal distribution."""

    def draw(architecture: Architecture, models: int, seed: int = 0, first_row: int = 0) -> Stack:
        stream = torch.Generator().manual_seed(seed)
        shapes = architecture.parameters.items()
        parameters = {name: torch.randn(models, *shape, generator=stream) for name, shape in shapes}
        return Stack(architecture, parameters, np.arange(first_row, first_row + models))

    return draw


@pytest.fixture(scope="session")
def make_view():
    """make_view(stacks, access, labels, ...): 40 random images; each model has its own 7, 20 or all of them."""

    def make(stacks: list[Stack], access: str = "trajectory", labels: torch.Tensor | None = None, **content) -> View:
        size, architecture = sum(map(len, stacks)), stacks[0].architecture
        random = np.random.default_rng(1)
        images = torch.from_numpy(random.integers(0, 256, (40, *architecture.input_shape), dtype=np.uint8))
        train = TrainData(
            images=images,
            labels=torch.from_numpy(random.integers(0, architecture.classes, 40)) if labels is None else labels,
            subset_size=random.choice([7, 20, 40], size),
            subset_seed=random.integers(0, 2**62, size),
            loss=random.random(size),
            accuracy=random.random(size),
        )
        statistics = pd.DataFrame(random.uniform(1, 100, (size, len(STATISTICS))), columns=list(STATISTICS))
        content = {"stacks": stacks, "train": train, "statistics": statistics, **content}
        return View(access=access, size=size, **{k: v for k, v in content.items() if k in ACCESS[access]})

    return make


@pytest.fixture(scope="session")
def full_view(relu_network, tanh_network, draw_stack, make_view):
    """full_view(access): 7 models of two architectures, interleaved; every value tells which model it is of."""
    stacks = [draw_stack(relu_network, 4), draw_stack(tanh_network, 3)]
    for stack, rows in zip(stacks, ([0, 2, 4, 6], [1, 3, 5]), strict=True):
        stack.rows[:] = rows
        for value in stack.parameters.values():
            value[:] = value.new_tensor(rows).view(-1, *[1] * (value.dim() - 1))
    images, logits = torch.zeros(1, 1, 6, 6, dtype=torch.uint8), np.arange(7, dtype=np.float16)[:, None, None]
    content = {
        "initial": stacks,
        "hyperparameters": pd.DataFrame({"number": range(7)}),
        "configurations": np.arange(7),
        "targets": {"digits": TargetData(images=images, logits=logits)},
        "source": SourceData(images=images, labels=torch.tensor([2]), logits=logits),
    }
    return lambda access: make_view(stacks, access, **content)
