"""The native engine against float64 autograd, with torch float32's own error as the measure; what must not matter."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.engines.choice import engines
from zoo_builder.engines.native import compiler
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.native.generate import known
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.errors import InputError
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
from zoo_builder.training.settings import Trained

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


def images_of(architecture: Architecture, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, *architecture.input_shape), generator=stream).to(torch.uint8)
    return images, torch.randint(architecture.classes, (count,), generator=stream)


def random_weights(architecture: Architecture, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters, flat float32 [1, P], of a size that keeps the signal, and running statistics."""
    stream = torch.Generator().manual_seed(seed)
    flat = []
    for name, shape in architecture.parameters.items():
        value = torch.randn(shape, generator=stream)
        norm_weight = name.startswith("norm") and name.endswith("weight")
        fan_in = max(1, int(np.prod(shape[1:])))
        flat.append(1 + 0.1 * value if norm_weight else value * (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.1 * value)
    buffers = {
        name: (torch.rand(1, *shape, generator=stream) + 0.5 if name.endswith("var") else torch.zeros(1, *shape))
        for name, shape in architecture.buffers.items()
    }
    return torch.cat([value.flatten() for value in flat])[None], buffers


def relative(value: Tensor, truth: Tensor) -> float:
    return ((value.double() - truth).norm() / truth.norm()).item()


def errors(
    architecture: Architecture,
    batch: int,
    rate: float = 0.0,
    seed: int = 0,
    target: str = "native",
    training: bool = True,
) -> tuple[float, float]:
    """Norm-relative errors of the one-step gradient in float32: the native engine's, and torch's."""
    images, labels = images_of(architecture, batch + 3, seed)
    weights, buffers = random_weights(architecture, seed)
    indices = np.random.default_rng(seed).permutation(batch + 3)[:batch]
    layers = [place.name for place in architecture.places if isinstance(place.layer, Dropout)]
    seeds = dropout_seeds(["some run"], layers)

    def with_torch(dtype: torch.dtype) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        masks = Masks(torch.tensor([rate], dtype=torch.float64), seeds, torch.tensor([7])) if rate else None
        moved = {name: value.to(dtype) for name, value in buffers.items()}
        engine = TorchEngine(dtype=dtype)
        chosen = torch.as_tensor(indices)[None]
        loss, gradient = engine.gradients(
            architecture, weights.to(dtype), images, labels, chosen, masks, moved, training=training
        )
        return loss[0], gradient[0], moved

    true_loss, truth, true_buffers = with_torch(torch.float64)
    gradient = torch.full_like(weights[0], torch.nan)
    moved = torch.cat([value[0] for value in buffers.values()] or [torch.empty(0)])
    loss = NativeEngine(target).differentiate(
        architecture,
        weights[0],
        moved,
        images,
        labels,
        indices,
        gradient,
        training=training,
        dropout=rate,
        seeds=np.array([int(value) for value in seeds.values()], dtype=np.int64),
        step=7,
    )
    assert loss == pytest.approx(true_loss.item(), rel=1e-5)
    if buffers:
        torch.testing.assert_close(
            moved.double(), torch.cat([v[0] for v in true_buffers.values()]), rtol=1e-5, atol=1e-5
        )
    return relative(gradient, truth), relative(with_torch(torch.float32)[1], truth)


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_gradients_are_as_near_to_float64_as_torchs_own(architecture: Architecture, rate: float) -> None:
    ours, torchs = zip(*(errors(architecture, 70, rate, seed) for seed in range(3)), strict=True)
    # The floor keeps a lucky torch from deciding: a few roundings.
    assert np.median(ours) <= max(1.5 * np.median(torchs), 5e-7), (ours, torchs)


@pytest.mark.parametrize("name", ["small cnn", "network in network", "with norms"])
def test_a_large_batch_loses_no_digits(name: str) -> None:
    ours, torchs = zip(*(errors(ARCHITECTURES[name], 512, 0.0, seed) for seed in range(3)), strict=True)
    assert np.median(ours) <= max(1.5 * np.median(torchs), 5e-7), (ours, torchs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_as_near_to_float64_as_torchs_own(activation: str) -> None:
    architecture = small_cnn((1, 16, 16), 4, width=7, depth=2, activation=activation)
    ours, torchs = zip(*(errors(architecture, 33, 0.2, seed) for seed in range(3)), strict=True)
    assert np.median(ours) <= max(1.5 * np.median(torchs), 5e-7), (ours, torchs)


def test_gradients_in_eval_mode_use_running_statistics() -> None:
    ours, torchs = errors(ARCHITECTURES["with norms"], 20, training=False)
    assert ours <= max(1.5 * torchs, 5e-7)


def test_code_for_avx2_computes_the_same() -> None:
    for name in ("small cnn, tanh", "with norms"):
        ours, torchs = errors(ARCHITECTURES[name], 40, 0.3, target="x86-64-v3")
        assert ours <= max(1.5 * torchs, 5e-7)


def test_a_unit_whose_output_is_exactly_0_is_not_a_dropped_one() -> None:
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


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Chains of odd sizes: any channels, kernels, strides, paddings, with pools, norms, shortcuts and dense layers."""
    shape = (draw(st.sampled_from([1, 2, 3])), draw(st.integers(3, 13)), draw(st.integers(3, 13)))
    layers: list = []

    def after() -> tuple[int, ...]:
        return Architecture(shape, tuple(layers)).places[-1].output_shape

    for _ in range(draw(st.integers(1, 3))):
        smallest = min(after()[1:] if layers else shape[1:])
        kernel = draw(st.integers(1, min(4, smallest)))
        padding = draw(st.integers(0, kernel // 2))
        layers.append(Conv(draw(st.integers(1, 19)), kernel, draw(st.integers(1, 3)), padding))
        if draw(st.booleans()):
            layers.append(Norm())
        layers.append(Activation(draw(st.sampled_from(["tanh", "silu", "sigmoid", "relu"]))))
        if draw(st.booleans()):
            layers.append(Dropout())
        if min(after()[1:]) >= 2 and draw(st.booleans()):
            layers.append(MaxPool(2))
        if draw(st.booleans()):
            layers += [Conv(after()[0] + draw(st.integers(0, 3)), padding=1), Residual(1), Activation("tanh")]
    if draw(st.booleans()):
        layers.append(GlobalAveragePool())
    for _ in range(draw(st.integers(0, 2))):
        layers += [Linear(draw(st.integers(1, 20))), Activation("relu")]
    return Architecture(shape, (*layers, Linear(draw(st.integers(2, 18)))))


def check_any(architecture: Architecture, batch: int, rate: float, seed: int) -> None:
    assert known(architecture)
    # A norm over one value per channel has no variance to speak of, and one over few values magnifies every rounding.
    norms = [place for place in architecture.places if isinstance(place.layer, Norm)]
    assume(all(batch * np.prod(place.output_shape[1:]) >= 16 for place in norms))
    ours, torchs = zip(*(errors(architecture, batch, rate, seed + i) for i in range(3)), strict=True)
    # The best of three: a ReLU at its kink, or a tie in a pool, goes either way in float32.
    assert min(ours) <= max(2 * max(torchs), 2e-6), (ours, torchs)


FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}


@settings(max_examples=8, **FUZZ)
@given(architectures(), st.integers(2, 40), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_any_architecture(architecture: Architecture, batch: int, rate: float, seed: int) -> None:
    check_any(architecture, batch, rate, seed)


@pytest.mark.slow
@settings(max_examples=150, **FUZZ)
@given(architectures(), st.integers(2, 40), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_any_architecture_many_times(architecture: Architecture, batch: int, rate: float, seed: int) -> None:
    check_any(architecture, batch, rate, seed)


def runs_of(models: int = 6, **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = {
        "model_id": [f"run-{number}" for number in range(models)],
        "twin": "run-0",
        "varied": "everything",
        "learning_rate": 10 ** rng.uniform(-3, -2, models),
        "l2": 10 ** rng.uniform(-4, -2, models),
        "momentum": rng.uniform(0, 0.9, models),
        "optimizer": np.resize(["sgd", "adam", "rmsprop"], models),
        "dropout": np.resize([0.0, 0.3], models),
        "initialization": "he-normal",
        "initialization_std": 0.1,
        "train_fraction": np.resize([1.0, 0.25, 0.5], models),
        "batch_size": 32,
    }
    return pd.DataFrame(values | columns)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.mark.parametrize("norm", [False, True], ids=["without norms", "with norms"])
def test_an_epoch_is_that_of_the_reference_engine(digits: Dataset, norm: bool) -> None:
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
    # Roundings grow along an epoch, most of all with RMSprop: torch in float32 says by how much.
    assert (off[0] <= 4 * off[1].clamp(min=1e-5)).all(), off
    pd.testing.assert_frame_equal(native.table, truth.table, rtol=1e-2, check_exact=False)


def test_a_run_is_bitwise_the_same_alone_and_in_company(digits: Dataset) -> None:
    architecture = small_cnn((1, 8, 8), 10, padding=1)
    together = train(NativeEngine(), architecture, runs_of(), digits, [0, 2])
    for number in range(6):
        alone = train(NativeEngine(), architecture, runs_of().iloc[[number]], digits, [0, 2])
        for name, value in alone.weights.items():
            assert torch.equal(value, together.weights[name][2 * number : 2 * number + 2])
        assert torch.equal(alone.logits[0], together.logits[number])
        row = together.table[together.table["run"] == number].reset_index(drop=True).assign(run=0)
        pd.testing.assert_frame_equal(alone.table, row)


def test_a_diverged_run_ends_before_the_step_that_is_not_finite(digits: Dataset) -> None:
    runs = runs_of(3, learning_rate=[0.01, 1e30, 0.01], optimizer="sgd", train_fraction=1.0)
    trained = train(NativeEngine(), small_cnn((1, 8, 8), 10, padding=1), runs, digits, [0, 1, 2])
    rows = trained.table[trained.table["run"] == 1]
    assert rows["status"].tolist() == ["ok", "diverged"]
    assert 0 < rows.iloc[-1]["steps"] < 45
    assert trained.logits[1].isnan().all()
    assert (trained.table[trained.table["run"] != 1]["status"] == "ok").all()


def test_a_run_stops_at_its_training_cross_entropy(digits: Dataset) -> None:
    runs = runs_of(2, learning_rate=[0.01, 1e-6], optimizer="adam", l2=0.0, train_fraction=1.0, dropout=0.0)
    trained = train(NativeEngine(), small_cnn((1, 8, 8), 10, padding=1), runs, digits, [0, 8], stop_cross_entropy=0.5)
    last = trained.table.groupby("run").tail(1)
    assert last["status"].tolist() == ["ok", "not-converged"]
    assert last["train_loss"].iloc[0] <= 0.5


@pytest.fixture
def fresh_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Nothing compiled yet, and nothing known of compilers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    functions = (compiler.compiler, compiler._identity, compiler.library_path, compiler.library)
    for function in functions:
        function.cache_clear()
    yield monkeypatch
    for function in functions:
        function.cache_clear()


SMALL = Architecture((1, 4, 4), (Conv(2), Activation("relu"), GlobalAveragePool(), Linear(2)))


def choose(name: str = "auto", examples: int = 10**12, architecture: Architecture = SMALL, device: str = "cpu"):
    notes: list[str] = []
    runs = pd.DataFrame({"architecture": ["it"], "train_fraction": [1.0]})
    chosen = engines(name, torch.device(device), {"it": architecture}, runs, examples, notes.append)
    return chosen["it"].name, notes


def test_auto_compiles_where_it_is_worth_it(fresh_compiler: pytest.MonkeyPatch) -> None:
    name, notes = choose()
    assert name == "native"
    assert "compiling 1 architecture(s) for this machine, once" in notes[0]
    assert choose() == ("native", [])  # from the cache
    assert choose(examples=10) == ("torch", [])
    assert choose("native", examples=10)[0] == "native"
    assert choose("torch") == ("torch", [])


def test_without_a_compiler_torch_goes_on_and_a_line_says_so(fresh_compiler: pytest.MonkeyPatch) -> None:
    fresh_compiler.setenv("PATH", "")
    name, notes = choose()
    assert name == "torch"
    assert "there is no C++ compiler: install one (Debian: apt-get install g++)" in notes[0]
    with pytest.raises(InputError, match="--engine native: there is no C"):
        choose("native")


def test_a_compiler_that_fails_is_quoted(fresh_compiler: pytest.MonkeyPatch, tmp_path) -> None:
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'cannot find the moon' >&2\nexit 3\n")
    broken.chmod(0o755)
    fresh_compiler.setenv("CXX", str(broken))
    name, notes = choose()
    assert name == "torch"
    assert "made no library (exit code 3)" in notes[-1]
    assert "cannot find the moon" in notes[-1]


def test_a_cache_folder_that_cannot_be_written_costs_time_alone(fresh_compiler: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    fresh_compiler.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    name, notes = choose()
    assert name == "native"
    assert "cannot be written" in notes[0]
    assert "XDG_CACHE_HOME" in notes[0]


def test_what_the_engine_does_not_know_and_a_gpu_go_to_torch(fresh_compiler: pytest.MonkeyPatch) -> None:
    pooled = Architecture((3, 5, 5), (GlobalAveragePool(), Linear(2)))
    name, notes = choose(architecture=pooled)
    assert name == "torch"
    assert "knows no such networks" in notes[0]
    with pytest.raises(InputError, match="computes on the CPU alone"):
        choose("native", device="cuda")
    with pytest.raises(InputError, match="unknown engine 'natve'"):
        choose("natve")


def test_a_broken_library_in_the_cache_is_compiled_again(fresh_compiler: pytest.MonkeyPatch) -> None:
    assert choose()[0] == "native"
    path = compiler.library_path(SMALL)
    path.write_bytes(path.read_bytes()[:100])
    compiler.library.cache_clear()
    assert choose()[0] == "native"
    assert path.stat().st_size > 100


def test_a_compiler_that_makes_nothing_has_failed(fresh_compiler: pytest.MonkeyPatch) -> None:
    fresh_compiler.setenv("CXX", "true")
    with pytest.raises(InputError, match=r"made no library \(exit code 0\): name another compiler"):
        choose("native")
