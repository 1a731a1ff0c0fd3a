"""Small stacks and views of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import View
from baselines.fields import Missing, SourceData, TargetData, TrainData
from baselines.levels import ACCESS
from zoo_builder import files
from zoo_builder.building.build import build
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import small_cnn
from zoo_builder.networks.stack import Stack
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.format import write_manifest
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.results import STATISTICS


@pytest.fixture(scope="session")
def relu_network() -> Architecture:
    """Two padded convolutions, pooling, linear: 1 x 6 x 6 -> 5 x 3 x 3 -> 5 x 2 x 2 -> 5 -> 3."""
    return small_cnn((1, 6, 6), 3, width=5, depth=2, padding=1)


@pytest.fixture(scope="session")
def tanh_network() -> Architecture:
    return small_cnn((1, 6, 6), 3, width=5, depth=2, padding=1, activation="tanh")


@pytest.fixture(scope="session")
def draw_stack():
    """draw_stack(architecture, models, seed, first_row): normal weights and biases, uniform running statistics."""

    def draw(architecture: Architecture, models: int, seed: int = 0, first_row: int = 0) -> Stack:
        stream = torch.Generator().manual_seed(seed)
        shapes = architecture.parameters.items()
        parameters = {name: torch.randn(models, *shape, generator=stream) for name, shape in shapes}
        stream = torch.Generator().manual_seed(seed + 100)
        shapes = architecture.buffers.items()
        statistics = {name: torch.rand(models, *shape, generator=stream) + 0.5 for name, shape in shapes}
        return Stack(architecture, parameters | statistics, np.arange(first_row, first_row + models))

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
        initial = Missing("the zoo has no epoch-0 checkpoints, so the initialization is unknown")
        content = {"stacks": stacks, "initial": initial, "train": train, "statistics": statistics, **content}
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


@pytest.fixture(scope="session")
def permute_weights():
    """permute_weights(weights, biases, {set: permutation}): the neurons in another order in every tensor."""

    def permute(weights, biases, permutations):
        order = {i: slice(None) for i in range(len(weights) + 1)} | permutations
        permuted = [weight[:, order[i + 1]][:, :, order[i]] for i, weight in enumerate(weights)]
        return permuted, [bias[:, order[i + 1]] for i, bias in enumerate(biases)]

    return permute


@pytest.fixture(scope="session")
def imported_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """8 networks trained on digits, of which nothing but the final weights and learning rates is known."""
    recipe = {
        "name": "imported",
        "epochs": 1,
        "checkpoints": [1],
        "data": {"name": "digits"},
        "architecture": {"family": "small-cnn"},
        "fixed": {"padding": 1, "optimizer": "adam", "initialization": "he-normal", "batch_size": 64},
        "grid": {"learning_rate": [0.001, 0.003, 0.01, 0.03], "width": [8, 16]},
    }
    root = tmp_path_factory.mktemp("zoos") / "imported"
    zoo = build(Recipe.from_json(recipe), root, device="cpu")
    manifest = {key: value for key, value in zoo.manifest.items() if not key.startswith("recipe")}
    for part in manifest["parts"]:
        part["files"] = {name: entry for name, entry in part["files"].items() if not name.startswith("outputs/")}
        (name,) = (name for name in part["files"] if name.startswith("checkpoints/"))
        table = pd.read_parquet(root / name)
        known = ["model_id", "configuration", "seed", "epoch", "architecture", "status", "learning_rate"]
        table[known].to_parquet(root / name)
        part["files"][name] = {"sha256": files.sha256(root / name), "bytes": (root / name).stat().st_size}
    manifest["source"] = {"description": "networks of unknown origin"}
    write_manifest(root, manifest)
    return Zoo.open(root)
