"""The torch engine against torch.optim on single modules, and what must not depend on company."""

from math import prod

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.datasets.loading import load
from zoo_builder.engines.torch_engine import TorchEngine, resolve_device
from zoo_builder.errors import InputError
from zoo_builder.networks import dropout as dropout_masks
from zoo_builder.networks.architecture import Activation, Architecture, Conv, Dropout, GlobalAveragePool, Linear, Norm
from zoo_builder.networks.families import mlp, nin, park, resnet, small_cnn, vgg
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import named
from zoo_builder.streams import numpy_stream, stream_seed
from zoo_builder.training.initialization import initialize
from zoo_builder.training.loop import train
from zoo_builder.training.settings import STATISTICS, Runs, epoch_order, subset_seeds, training_subset
from zoo_builder.training.state import Active

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}


def table(models: int = 6, **columns: object) -> pd.DataFrame:
    """Runs that differ in every setting."""
    rng = np.random.default_rng(0)
    values = {
        "model_id": [f"run-{number}" for number in range(models)],
        "twin": "run-0",
        "varied": "everything",
        "learning_rate": 10 ** rng.uniform(-3, -1, models),
        "l2": 10 ** rng.uniform(-4, -1, models),
        "momentum": rng.uniform(0, 0.9, models),
        "optimizer": np.resize(["sgd", "adam", "rmsprop"], models),
        "dropout": 0.0,
        "initialization": np.resize(["he-normal", "normal", "orthogonal", "glorot-normal", "truncated-normal"], models),
        "initialization_std": 0.1,
        "train_fraction": np.resize([1.0, 0.25, 0.5], models),
        "batch_size": 32,
    }
    return pd.DataFrame(values | columns)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture
def architecture() -> Architecture:
    return small_cnn((1, 8, 8), 10, padding=1)


NORMED = {
    "nin": nin((1, 8, 8), 10, width=4, depth=2),
    "resnet": resnet((1, 8, 8), 10, width=2, depth=8),
    "vectors": Architecture((1, 8, 8), (Linear(6), Norm(), Activation("tanh"), Linear(10), Norm())),
}


def random_parameters(architecture: Architecture, models: int, dtype: torch.dtype = torch.float64) -> dict:
    stream = torch.Generator().manual_seed(1)
    return {
        name: 0.3 * torch.randn(models, *shape, dtype=dtype, generator=stream)
        for name, shape in architecture.parameters.items()
    }


def relative(value: torch.Tensor, truth: torch.Tensor) -> float:
    return ((value.double() - truth).norm() / truth.norm()).item()


FAMILIES = {
    "small cnn": small_cnn((1, 8, 8), 10, padding=1),
    "dense": mlp((1, 8, 8), 10, width=7, activation="gelu"),
    "pooled": vgg((1, 8, 8), 10, width=4, depth=2),
    "shortcuts": park((1, 8, 8), 10, width=5, depth=4, activation="silu", residual="add"),
}


@pytest.mark.parametrize("architecture", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_equal_autograd_on_single_modules(architecture: Architecture, dropout: float) -> None:
    """With dropout, the module sees the same masks as factors on its hidden units."""
    engine = TorchEngine(dtype=torch.float64)
    runs = Runs.of(architecture, table(dropout=dropout), 100, torch.float64)
    models, batch = len(runs), 90  # more than the engine computes at once
    flat = torch.cat([v.flatten(1) for v in random_parameters(architecture, models).values()], dim=1)
    stream = torch.Generator().manual_seed(4)
    images = torch.randint(256, (200, 1, 8, 8), generator=stream).to(torch.uint8)
    labels = torch.randint(10, (200,), generator=stream)
    chosen = torch.randint(200, (models, batch), generator=stream)
    masks = dropout_masks.Dropout(runs.dropout, runs.seeds, torch.arange(models)) if dropout else None
    losses, gradients = engine.gradients(architecture, flat, images, labels, chosen, masks)

    for model in range(models):
        single = {name: value[model] for name, value in named(architecture, flat).items()}
        module = to_module(architecture, single)
        for place in architecture.places if masks else ():
            if isinstance(place.layer, Dropout):
                channels, positions = place.input_shape[0], prod(place.input_shape[1:])
                factors = masks.factors(place.name, batch, positions, channels, torch.float64)[:, :, model]
                factors = factors.transpose(1, 2).reshape(batch, *place.input_shape)
                module.get_submodule(place.name).register_forward_hook(lambda _, __, y, factors=factors: y * factors)
        loss = F.cross_entropy(module(scaled(images[chosen[model]], torch.float64)), labels[chosen[model]])
        truth = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        assert abs(losses[model] - loss.detach()) < 1e-12
        assert relative(gradients[model], truth) < 1e-12


@pytest.mark.parametrize("architecture", NORMED.values(), ids=NORMED)
def test_gradients_through_norms_are_those_of_the_whole_batch(architecture: Architecture) -> None:
    models, batch = 3, 90  # more than the engine computes at once where examples are independent
    flat = torch.cat([v.flatten(1) for v in random_parameters(architecture, models).values()], dim=1)
    stream = torch.Generator().manual_seed(4)
    images = torch.randint(256, (200, 1, 8, 8), generator=stream).to(torch.uint8)
    labels = torch.randint(10, (200,), generator=stream)
    chosen = torch.randint(200, (models, batch), generator=stream)
    start = {name: torch.rand(models, *shape).double() + 0.5 for name, shape in architecture.buffers.items()}
    for training in (True, False):
        buffers = {name: value.clone() for name, value in start.items()}
        losses, gradients = TorchEngine(dtype=torch.float64).gradients(
            architecture, flat, images, labels, chosen, buffers=buffers, training=training
        )
        for model in range(models):
            single = {name: value[model] for name, value in (named(architecture, flat) | start).items()}
            module = to_module(architecture, single).train(training)
            loss = F.cross_entropy(module(scaled(images[chosen[model]], torch.float64)), labels[chosen[model]])
            truth = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
            assert abs(losses[model] - loss.detach()) < 1e-12
            assert relative(gradients[model], truth) < 1e-11
            assert all(named(architecture, gradients)[name].any() != training for name in architecture.cancelled)
            for name, moved in module.named_buffers():
                if name in buffers:
                    torch.testing.assert_close(buffers[name][model], moved, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_optimizer_steps_as_torch_optim_does(digits: Dataset, architecture: Architecture, norm: str) -> None:
    """A whole epoch with a partial last batch, in float64: a few dozen updates, of different numbers in one stack."""
    runs = table()
    if norm == "batch":
        architecture = nin((1, 8, 8), 10, width=6, depth=1)
    trained = train(TorchEngine(dtype=torch.float64), architecture, runs, digits, [1])
    for number, run in enumerate(runs.itertuples()):
        single = {k: v.double() for k, v in initialize(architecture, run.model_id, run.initialization, 0.1).items()}
        statistics = {k: torch.full(v, float(k.endswith("var"))).double() for k, v in architecture.buffers.items()}
        module = to_module(architecture, single | statistics).train()
        for name in architecture.cancelled:
            module.get_parameter(name).requires_grad_(False)
        extra = {} if run.optimizer == "adam" else {"momentum": run.momentum}
        optimizer = OPTIMIZERS[run.optimizer](module.parameters(), lr=run.learning_rate, weight_decay=run.l2, **extra)
        subset = training_subset(stream_seed(run.model_id, "subset"), round(1437 * run.train_fraction), 1437)
        order = torch.as_tensor(subset[epoch_order(run.model_id, 1, len(subset))])
        for batch in order.split(32):
            optimizer.zero_grad()
            images = scaled(digits.train_images[batch], torch.float64)
            F.cross_entropy(module(images), digits.train_labels[batch]).backward()
            optimizer.step()
        state = module.eval().state_dict()
        for name in architecture.tensors:
            # Results are kept in float32.
            torch.testing.assert_close(trained.weights[name][number], state[name].float(), rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            logits = module(scaled(digits.test_images, torch.float64))
        row = trained.table.iloc[number]
        assert row["steps"] == -(-len(subset) // 32)
        assert row["test_accuracy"] == (logits.argmax(1) == digits.test_labels).double().mean()
        assert row["test_loss"] == pytest.approx(F.cross_entropy(logits, digits.test_labels).item())


def test_recorded_training_figures_are_those_of_the_runs_own_images(
    digits: Dataset, architecture: Architecture
) -> None:
    runs = table(3)
    trained = train(TorchEngine(), architecture, runs, digits, [0, 1])
    assert trained.table.loc[trained.table["epoch"] == 0, "train_loss"].isna().all()
    for number, run in enumerate(runs.itertuples()):
        module = to_module(architecture, {k: v[2 * number + 1] for k, v in trained.weights.items()})
        subset = training_subset(stream_seed(run.model_id, "subset"), round(1437 * run.train_fraction), 1437)
        with torch.no_grad():
            logits = module(scaled(digits.train_images[subset]))
        row = trained.table.iloc[2 * number + 1]
        assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == digits.train_labels[subset]).double().mean())
        assert row["train_loss"] == pytest.approx(F.cross_entropy(logits, digits.train_labels[subset]).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "epochs"), [(small_cnn((1, 8, 8), 10, padding=1), 12), (NORMED["nin"], 3)], ids=["none", "norms"]
)
def test_training_statistics_equal_slow_ones(digits: Dataset, architecture: Architecture, epochs: int) -> None:
    runs = table(4, learning_rate=[0.01, 0.02, 0.01, 0.001], optimizer="adam", l2=0.0, initialization="he-normal")
    runs["train_fraction"] = [1.0, 0.3, 50 / 1437, 0.5]
    trained = train(TorchEngine(dtype=torch.float64), architecture, runs, digits, list(range(epochs + 1)))
    assert trained.table.loc[trained.table["epoch"] < epochs, [*STATISTICS]].isna().all().all()
    known = trained.table[trained.table["epoch"] == epochs].set_index("run")
    for number, run in enumerate(runs.itertuples()):
        size = round(1437 * run.train_fraction)
        subset = training_subset(stream_seed(run.model_id, "subset"), size, 1437)
        images, labels = scaled(digits.train_images[subset], torch.float64), digits.train_labels[subset]

        def at(epoch: int, number: int = number) -> torch.nn.Module:
            (row,) = np.flatnonzero((trained.table["run"] == number) & (trained.table["epoch"] == epoch))
            return to_module(architecture, {k: v[row].double() for k, v in trained.weights.items()})

        with torch.no_grad():
            losses = np.array([F.cross_entropy(at(epoch)(images), labels) for epoch in range(1, epochs + 1)])
        for bound in (0.1, 0.01):
            reached = np.flatnonzero(losses <= bound)
            steps = (reached[0] + 1) * -(-size // 32) if len(reached) else np.inf
            assert known.loc[number, f"steps_to_{bound}"] == steps
        batches = numpy_stream(run.model_id, "gradient variance").permutation(size)[: 16 * 32]
        batches = [batch for batch in torch.as_tensor(batches).split(32) if len(batch) == 32]
        for column, epoch in (("gradient_variance_epoch_1", 1), ("gradient_variance", epochs)):
            module, gradients = at(epoch), []
            for batch in batches:
                loss = F.cross_entropy(module(images[batch]), labels[batch])
                parts = torch.autograd.grad(loss, list(module.parameters()))
                gradients.append(torch.cat([part.flatten() for part in parts]))
            if len(gradients) < 2:
                assert np.isnan(known.loc[number, column])
            else:
                truth = torch.stack(gradients).var(0).sum().item()
                assert known.loc[number, column] == pytest.approx(truth, rel=1e-4)  # weights are kept in float32
    assert np.isinf(known["steps_to_0.01"]).any()
    assert np.isfinite(known["steps_to_0.1"]).any() or architecture.buffers
    assert np.isnan(known["gradient_variance"]).sum() == 1


SHARED = {  # what runs of one configuration have in common
    "everything": set(),
    "data": {"initialization", "order", "dropout"},
    "initialization": {"subset", "order", "dropout"},
    "order": {"subset", "initialization"},
}


@pytest.mark.parametrize("varied", SHARED)
def test_runs_of_a_configuration_share_what_is_not_varied(
    digits: Dataset, architecture: Architecture, varied: str
) -> None:
    runs = table(3, varied=varied, dropout=0.5, initialization="he-normal", train_fraction=0.5)
    active = Active(architecture, runs, digits, torch.device("cpu"), torch.float32)
    active.shuffle(1)
    places = [(own[:, None] == order).argmax(0) for own, order in zip(active.subset, active.indices, strict=True)]
    seen = {
        "subset": list(active.subset),
        "initialization": list(active.weights.numpy()),
        "order": places,
        "dropout": list(active.runs.seeds["dropout2"].numpy()),
    }
    first = active.runs.order.tolist().index(0)
    for purpose, values in seen.items():
        equal = [np.array_equal(values[first], value) for value in values]
        assert equal == [purpose in SHARED[varied] or number == first for number in range(3)], purpose
    alone = table(3, dropout=0.5, initialization="he-normal", train_fraction=0.5)
    own = Active(architecture, alone, digits, torch.device("cpu"), torch.float32)
    assert np.array_equal(own.subset[first], active.subset[first]), "the first seed is its own twin"
    assert subset_seeds(runs).tolist() == [
        stream_seed(f"run-{0 if 'subset' in SHARED[varied] else number}", "subset") for number in range(3)
    ]


def test_company_changes_neither_start_nor_order_nor_masks_and_one_step_by_roundings_only(
    digits: Dataset, architecture: Architecture
) -> None:
    runs = table(5, dropout=0.5, train_fraction=32 / 1437)
    together = train(TorchEngine(), architecture, runs, digits, [0, 1])
    for number in range(len(runs)):
        alone = train(TorchEngine(), architecture, runs.iloc[[number]], digits, [0, 1])
        for name, value in alone.weights.items():
            assert torch.equal(value[0], together.weights[name][2 * number])
            torch.testing.assert_close(value[1], together.weights[name][2 * number + 1], rtol=1e-5, atol=1e-5)

    every = Runs.of(architecture, runs, 1437, torch.float32)
    one = Runs.of(architecture, runs.iloc[[3]], 1437, torch.float32)
    position = every.order_ids.index("run-3")
    masks = [
        dropout_masks.Dropout(r.dropout, r.seeds, torch.full((len(r),), 7)).factors("dropout2", 8, 4, 16, torch.float32)
        for r in (every, one)
    ]
    assert torch.equal(masks[0][:, :, position], masks[1][:, :, 0])


def test_the_same_plan_gives_the_same_bits(digits: Dataset, architecture: Architecture) -> None:
    first, second = (train(TorchEngine(), architecture, table(dropout=0.3), digits, [0, 2]) for _ in range(2))
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert torch.equal(first.logits, second.logits)
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_diverged_run_is_kept_as_a_row_and_the_others_go_on(digits: Dataset, architecture: Architecture) -> None:
    runs = table(4, learning_rate=[0.01, 1e30, 0.01, 0.01], optimizer="sgd", train_fraction=1.0)
    trained = train(TorchEngine(), architecture, runs, digits, [0, 1, 2])
    rows = trained.table[trained.table["run"] == 1]
    assert rows["status"].tolist() == ["ok", "diverged"]
    assert rows["epoch"].tolist() == [0, 1]
    assert rows.iloc[-1][["train_loss", "test_loss", "test_accuracy"]].isna().all()
    assert trained.logits[1].isnan().all()
    assert rows.iloc[-1]["steps"] < trained.table["steps"].max()
    calm = train(TorchEngine(), architecture, runs.iloc[[0, 2, 3]], digits, [0, 1, 2])
    kept = trained.table[trained.table["run"] != 1].reset_index(drop=True)
    np.testing.assert_allclose(kept["test_loss"], calm.table["test_loss"], rtol=1e-3)


def test_a_run_stops_at_its_training_cross_entropy(digits: Dataset, architecture: Architecture) -> None:
    runs = table(3, learning_rate=[0.01, 0.01, 1e-6], optimizer="adam", l2=0.0, train_fraction=1.0)
    trained = train(TorchEngine(), architecture, runs, digits, [0, 8], stop_cross_entropy=0.5)
    last = trained.table.groupby("run").tail(1)
    assert last["status"].tolist() == ["ok", "ok", "not-converged"]
    assert (last["train_loss"].iloc[:2] <= 0.5).all()
    assert (last["epoch"].iloc[:2] < 8).all()
    assert last["epoch"].iloc[2] == 8
    longer = train(TorchEngine(), architecture, runs.iloc[:1], digits, list(range(9)))
    before = longer.table[longer.table["epoch"] == last["epoch"].iloc[0] - 1]
    assert len(before) == 1, "the run before its stop is an ordinary checkpoint"


def test_initializations_have_their_laws() -> None:
    architecture = Architecture((1, 8, 8), (Conv(64, kernel=5), Activation("relu"), GlobalAveragePool(), Linear(300)))
    fan_in, fan_out = 25, 64 * 25
    expected = {
        "he-normal": (2 / fan_in) ** 0.5,
        "glorot-normal": (2 / (fan_in + fan_out)) ** 0.5,
        "normal": 0.2,
        # A normal law cut at two standard deviations has .8796 of its spread.
        "truncated-normal": 0.2 * 0.87963,
    }
    for kind, std in expected.items():
        draws = torch.cat(
            [initialize(architecture, f"run-{number}", kind, 0.2)["conv1.weight"].flatten() for number in range(40)]
        )
        assert draws.std().item() == pytest.approx(std, rel=0.02)
    weight = initialize(architecture, "run", "orthogonal", 0.2)["linear1.weight"]
    torch.testing.assert_close(weight.T @ weight, torch.eye(64), rtol=0, atol=1e-5)
    assert not initialize(architecture, "run", "he-normal", 0.2)["conv1.bias"].any()


@given(rate=st.floats(0, 0.99), channels=st.integers(1, 7), positions=st.integers(1, 5), models=st.integers(1, 3))
@settings(max_examples=30)
def test_dropout_keeps_the_mean_and_depends_on_every_coordinate(
    rate: float, channels: int, positions: int, models: int
) -> None:
    make = dropout_masks.Dropout
    seeds = dropout_masks.dropout_seeds([f"m{number}" for number in range(models)], ["dropout1"])
    batch = 4000
    factors = make(torch.full((models,), rate).double(), seeds, torch.zeros(models, dtype=torch.int64)).factors(
        "dropout1", batch, positions, channels, torch.float64
    )
    assert factors.shape == (batch, positions, models, channels)
    dropped = round(rate * 65536) / 65536
    kept = (factors > 0).double().mean((0, 1, 3))
    assert ((kept - (1 - dropped)).abs() < 6 * (0.25 / (batch * positions * channels)) ** 0.5 + 1e-12).all()
    assert set(factors.unique().tolist()) <= {0.0, 1 / (1 - dropped)}


def test_dropout_bits_of_different_coordinates_are_uncorrelated() -> None:
    make = dropout_masks.Dropout
    seeds = dropout_masks.dropout_seeds(["a", "b"], ["dropout1", "dropout2"])
    half = torch.full((2,), 0.5).double()
    at = [make(half, seeds, torch.full((2,), step)) for step in (0, 1)]
    bits = at[0].factors("dropout1", 64, 50, 16, torch.float64) - 1
    others = {
        "model": bits.flip(2),
        "step": at[1].factors("dropout1", 64, 50, 16, torch.float64) - 1,
        "layer": at[0].factors("dropout2", 64, 50, 16, torch.float64) - 1,
        "example": bits.roll(1, 0),
        "position": bits.roll(1, 1),
        "channel": bits.roll(1, 3),
        "two channels": bits.roll(2, 3),
    }
    for name, other in others.items():
        assert abs((bits * other).mean().item()) < 5 / bits.numel() ** 0.5, name


def test_a_gpu_that_is_not_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(InputError, match="finds no CUDA device on this machine; use --device cpu"):
        resolve_device("cuda")
    with pytest.raises(InputError, match=r"unknown device .tpu.*: use one of auto, cpu, cuda"):
        resolve_device("tpu")
