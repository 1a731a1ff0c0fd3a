"""The native engine against float64 autograd, no further off than PyTorch in float32."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
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
from zoo_builder.networks.dropout import Dropout as Masks
from zoo_builder.networks.dropout import dropout_seeds
from zoo_builder.networks.families import small_cnn
from zoo_builder.training.loop import train
from zoo_builder.training.results import Trained

BLOCK = (Conv(8, kernel=3, stride=2, padding=1), Norm(), Activation("relu"))


POINTWISE = (Conv(32, stride=2, padding=1), Activation("relu"), Conv(32, kernel=1), Activation("relu"), Dropout())


RESIDUAL = (
    Conv(8, padding=1),
    Activation("relu"),
    *(Conv(8, padding=1), Norm(), Activation("relu"), Conv(8, padding=1), Norm(), Residual(5), Activation("relu")),
    *(Conv(20, stride=2, padding=1), Norm(), Activation("relu"), Conv(20, padding=1), Norm(), Residual(5)),
    *(Activation("relu"), GlobalAveragePool(), Linear(5)),
)


ARCHITECTURES = {
    "small cnn": small_cnn((1, 32, 32), 10),
    "small cnn, tanh": small_cnn((1, 32, 32), 10, activation="tanh"),
    "small cnn, padded to one position": small_cnn((1, 8, 8), 10, padding=1),
    "colour, odd sizes": small_cnn((3, 17, 19), 7, activation="silu", width=5, depth=2),
    "network in network": Architecture(
        (3, 32, 32),
        (*POINTWISE, *POINTWISE, Conv(10, kernel=1), GlobalAveragePool()),
    ),
    "with norms": Architecture((3, 16, 16), BLOCK * 2 + (GlobalAveragePool(), Linear(10))),
    "dense": Architecture((1, 4, 4), (Linear(6), Activation("tanh"), Dropout(), Norm(), Linear(3))),
    "pooled": Architecture((2, 9, 9), (Conv(6, kernel=2), Activation("gelu"), MaxPool(2), Conv(4), Linear(3))),
    "residual": Architecture((3, 12, 12), RESIDUAL),
    "a shortcut around dense layers": Architecture(
        (1, 5, 5), (Linear(4), Activation("sigmoid"), Linear(20), Activation("relu"), Residual(2), Linear(3))
    ),
}


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_gradients_are_as_near_to_float64_as_torchs_own(architecture: Architecture, rate: float, errors) -> None:
    ours, torchs = zip(*(errors(architecture, 70, rate, seed) for seed in range(3)), strict=True)
    # The floor is a few roundings: PyTorch may be exact by chance.
    assert np.median(ours) <= max(1.5 * np.median(torchs), 5e-7), (ours, torchs)


@pytest.mark.parametrize("name", ["small cnn", "network in network", "with norms"])
def test_a_large_batch_loses_no_digits(name: str, errors) -> None:
    ours, torchs = zip(*(errors(ARCHITECTURES[name], 512, 0.0, seed) for seed in range(3)), strict=True)
    assert np.median(ours) <= max(1.5 * np.median(torchs), 5e-7), (ours, torchs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_as_near_to_float64_as_torchs_own(activation: str, errors) -> None:
    architecture = small_cnn((1, 16, 16), 4, width=7, depth=2, activation=activation)
    ours, torchs = zip(*(errors(architecture, 33, 0.2, seed) for seed in range(3)), strict=True)
    assert np.median(ours) <= max(1.5 * np.median(torchs), 5e-7), (ours, torchs)


def test_gradients_in_eval_mode_use_running_statistics(errors) -> None:
    ours, torchs = errors(ARCHITECTURES["with norms"], 20, training=False)
    assert ours <= max(1.5 * torchs, 5e-7)


def test_code_for_avx2_computes_the_same(errors) -> None:
    for name in ("small cnn, tanh", "with norms"):
        ours, torchs = errors(ARCHITECTURES[name], 40, 0.3, target="x86-64-v3")
        assert ours <= max(1.5 * torchs, 5e-7)


def test_a_unit_with_output_0_is_not_a_dropped_one(images_of, random_weights, relative) -> None:
    """All tanh units are 0, and only those that are kept have a gradient."""
    architecture = Architecture((1, 6, 6), (Conv(5), Activation("tanh"), Dropout(), GlobalAveragePool(), Linear(3)))
    images, labels = images_of(architecture, 9)
    weights, _ = random_weights(architecture)
    weights[0, : 5 * 9 + 5] = 0
    seeds = dropout_seeds(["a"], ["dropout1"])
    masks = Masks(torch.tensor([0.5], dtype=torch.float64), seeds, torch.tensor([0]))
    chosen = torch.arange(9)
    truth = TorchEngine(dtype=torch.float64).gradients(
        architecture, weights.double(), images, labels, chosen[None], masks
    )
    gradient = torch.empty_like(weights[0])
    seed = seeds["dropout1"].numpy()
    NativeEngine().differentiate(
        architecture, weights[0], torch.empty(0), images, labels, chosen.numpy(), gradient,
        training=True, dropout=0.5, seeds=seed,
    )  # fmt: skip
    assert truth[1][0, : 5 * 9].abs().sum() > 0
    assert relative(gradient, truth[1][0]) < 1e-6


@pytest.fixture
def runs_of(table) -> Callable[..., pd.DataFrame]:
    """Runs that differ in every setting but the initialization, with steps that do not magnify rounding errors."""

    def make(models: int = 6, **columns: object) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        calm = {
            "learning_rate": 10 ** rng.uniform(-3, -2, models),
            "l2": 10 ** rng.uniform(-4, -2, models),
            "dropout": np.resize([0.0, 0.3], models),
            "initialization": "he-normal",
        }
        return table(models, **calm | columns)

    return make


@pytest.mark.parametrize("norm", [False, True], ids=["without norms", "with norms"])
def test_an_epoch_is_that_of_the_reference_engine(digits: Dataset, norm: bool, runs_of) -> None:
    """Every optimizer, dropout, partial last batches; figures and statistics as well."""
    architecture = small_cnn((1, 8, 8), 10, padding=1, activation="tanh")
    if norm:
        first, *rest = architecture.layers
        architecture = Architecture((1, 8, 8), (first, Norm(), *rest))
    truth, single, native = (
        train(engine, architecture, runs_of(), digits, [0, 1])
        for engine in (TorchEngine(dtype=torch.float64), TorchEngine(), NativeEngine())
    )

    def flat(trained: Trained) -> Tensor:
        return torch.cat([value.flatten(1) for value in trained.weights.values()], dim=1).double()

    assert torch.equal(flat(native)[::2], flat(single)[::2])  # epoch 0
    off = [(flat(trained) - flat(truth)).norm(dim=1)[1::2] for trained in (native, single)]
    # Rounding errors grow along an epoch, most of all with RMSprop; torch in float32 shows by how much.
    assert (off[0] <= 4 * off[1].clamp(min=1e-5)).all(), off
    pd.testing.assert_frame_equal(native.table, truth.table, rtol=1e-2, check_exact=False)


def test_a_run_is_bitwise_the_same_in_any_stack(digits: Dataset, runs_of) -> None:
    architecture = small_cnn((1, 8, 8), 10, padding=1)
    together = train(NativeEngine(), architecture, runs_of(), digits, [0, 2])
    for number in range(6):
        alone = train(NativeEngine(), architecture, runs_of().iloc[[number]], digits, [0, 2])
        for name, value in alone.weights.items():
            assert torch.equal(value, together.weights[name][2 * number : 2 * number + 2])
        assert torch.equal(alone.outputs[0], together.outputs[number])
        row = together.table[together.table["run"] == number].reset_index(drop=True).assign(run=0)
        pd.testing.assert_frame_equal(alone.table, row)


def test_a_diverged_run_ends_before_the_step_that_is_not_finite(digits: Dataset, runs_of) -> None:
    runs = runs_of(3, learning_rate=[0.01, 1e30, 0.01], optimizer="sgd", train_fraction=1.0)
    trained = train(NativeEngine(), small_cnn((1, 8, 8), 10, padding=1), runs, digits, [0, 1, 2])
    rows = trained.table[trained.table["run"] == 1]
    assert rows["status"].tolist() == ["ok", "diverged"]
    assert 0 < rows.iloc[-1]["steps"] < 45
    assert trained.outputs[1].isnan().all()
    assert (trained.table[trained.table["run"] != 1]["status"] == "ok").all()


def test_a_run_stops_at_its_training_cross_entropy(digits: Dataset, runs_of) -> None:
    runs = runs_of(2, learning_rate=[0.01, 1e-6], optimizer="adam", l2=0.0, train_fraction=1.0, dropout=0.0)
    trained = train(NativeEngine(), small_cnn((1, 8, 8), 10, padding=1), runs, digits, [0, 8], stop_cross_entropy=0.5)
    last = trained.table.groupby("run").tail(1)
    assert last["status"].tolist() == ["ok", "not-converged"]
    assert last["train_loss"].iloc[0] <= 0.5
