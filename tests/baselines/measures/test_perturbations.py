"""Perturbation searches against linear classifiers, whose answers are known; what must not change them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from baselines.access import View
from baselines.fields import TrainData
from baselines.measures import magnitude_aware, pac_bayes, per_image, perturbations, sharpness
from baselines.measures.compute import compute
from baselines.measures.context import MeasureContext
from baselines.methods import NotApplicable
from zoo_builder.datasets.dataset import scaled
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.architecture import Activation, Architecture, Conv, Linear, Norm
from zoo_builder.networks.families import small_cnn
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack, forward
from zoo_builder.streams import torch_stream

MEASURES = (*pac_bayes.MEASURES, *sharpness.MEASURES, *magnitude_aware.MEASURES)
FLATNESS = [measure for measure in MEASURES if measure.name.endswith("flatness")]
ENGINES = {"torch": TorchEngine(), "native": NativeEngine()}
# A cell of the bisection, in the logarithm.
CELL = np.log(perturbations.HIGHEST / perturbations.LOWEST) / 2**perturbations.HALVINGS


def view_of(stack: Stack, images: torch.Tensor, labels: torch.Tensor, sizes: np.ndarray | None = None) -> View:
    models = len(stack)
    sizes = np.full(models, len(images)) if sizes is None else sizes
    train = TrainData(images, labels, sizes, np.arange(models), np.zeros(models), np.zeros(models))
    return View(access="train-data", size=models, stacks=[stack], train=train)


def linear_view(images: torch.Tensor, labels: torch.Tensor, models: int) -> View:
    """Linear classifiers into two classes that differ in scale; every margin of class 0 is positive."""
    architecture = Architecture((1, 1, images.shape[-1]), (Linear(2),))
    stream = torch.Generator().manual_seed(0)
    weight = torch.randn(models, 2, images.shape[-1], generator=stream)
    bias = torch.zeros(models, 2)
    x = scaled(images, torch.float32).flatten(1)
    margins = torch.einsum("mi,ni->mn", weight[:, 0] - weight[:, 1], x)
    bias[:, 0] = 0.5 - margins.amin(1)
    scale = torch.logspace(-2, 0, models)[:, None]
    parameters = {"linear1.weight": weight * scale[..., None], "linear1.bias": bias * scale}
    return view_of(Stack(architecture, parameters, np.arange(models)), images, labels)


def perturbed_terms(view: View, model: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """[n] margins of class 0, [n, P] coefficients of weights and biases in them up to sign, [P] |w|, labels."""
    weight, bias = (value[model].double().numpy() for value in view.stacks[0].parameters.values())
    x = scaled(view.train.images, torch.float64).flatten(1).numpy()
    ones = np.ones((len(x), 2))
    return (
        x @ (weight[0] - weight[1]) + bias[0] - bias[1],
        np.abs(np.concatenate([x, x, ones], axis=1)),
        np.abs(np.concatenate([weight[0], weight[1], bias])),
        view.train.labels.numpy(),
    )


@pytest.fixture(scope="module")
def half_right() -> View:
    """Three linear classifiers that are right on nine tenths of 300 images."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.choice(np.array([0, 255], np.uint8), (300, 1, 1, 60)))
    return linear_view(images, (torch.arange(300) % 10 == 9).long(), 3)


def true_log_noise(view: View, model: int, aware: bool) -> float:
    """Noise moves a margin by a normal variable of known variance, so the mean accuracy is a sum of normal CDFs."""
    margins, shares, weights, labels = perturbed_terms(view, model)

    def drop(log_sigma: float) -> float:
        variance = np.exp(2 * log_sigma) * (weights**2 if aware else 1) + (perturbations.EPSILON**2 if aware else 0)
        correct = norm.cdf(margins / np.sqrt(shares**2 @ (variance * np.ones_like(weights))))
        return (labels == 0).mean() - np.where(labels == 0, correct, 1 - correct).mean()

    return brentq(lambda x: drop(x) - perturbations.DROP, -7, 3)


@pytest.mark.parametrize("aware", [False, True])
def test_noise_of_linear_classifiers_is_as_precise_as_it_says(half_right, aware, monkeypatch):
    """Over searches with other draws: the error is the deviation from the known answer.

    Without ``aware`` the search ends when it is small enough, with ``aware`` after the most draws.
    """
    known = np.array([true_log_noise(half_right, model, aware) for model in range(3)])
    scores = []
    for search in range(8):
        draws = partial(lambda search, purpose, draw: torch_stream(f"{purpose}/{search}", draw), search)
        monkeypatch.setattr(perturbations, "torch_stream", draws)
        size, error = perturbations.largest_noise(MeasureContext(half_right), aware)
        assert ((error <= perturbations.PRECISION) != aware).all()
        assert ((error > 0.005) & (error < 0.07)).all()
        scores.append((size.log().numpy() - known) / error.numpy())
    assert np.abs(scores).max() < 4
    assert 0.6 < np.square(scores).mean() ** 0.5 < 1.5
    assert abs(np.mean(scores)) < 0.6  # without bias; the three classifiers share their draws


def test_errors_of_measures_are_that_of_ln_sigma_times_the_derivative(half_right):
    context = MeasureContext(half_right)
    sigma, error = (each.numpy() for each in perturbations.largest_noise(context, False))
    root = per_image.per_image(pac_bayes.MEASURES[-1])
    results = compute(half_right, [*MEASURES, root])
    truth = {
        "flatness": 2 / sigma**2,
        "flatness-per-image": 1 / (sigma * 300**0.5),
        "orig": context.weights.square().sum(1).numpy() / (2 * sigma**2) + 1,
    }
    for name, derivative in truth.items():
        np.testing.assert_allclose(results[f"pac-bayes-{name}"].errors, derivative * error, rtol=1e-3)
    np.testing.assert_array_less(0, results["pac-bayes-mag-orig"].errors)
    assert results["sharpness-flatness"].errors is None
    assert results["pac-bayes-init"].reasons.keys() == {0, 1, 2}
    assert results["pac-bayes-init"].errors is None  # it is undefined


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("aware", [False, True])
def test_the_worst_of_a_box_is_exact_for_linear_classifiers(aware, engine):
    """Images along one direction: one corner of the box lowers all margins at once, each by its L1 norm in the box."""
    random = np.random.default_rng(0)
    sign = random.choice([-1, 1], 30)
    images = torch.from_numpy((127.5 + random.uniform(0, 127.5, (50, 1)) * sign).astype(np.uint8)).view(50, 1, 1, 30)
    view = linear_view(images, torch.zeros(50, dtype=torch.int64), 3)
    found = perturbations.largest_box(MeasureContext(view, ENGINES[engine]), aware)[0].log()
    for model in range(3):
        margins, shares, weights, _ = perturbed_terms(view, model)
        # Each image is misclassified beyond its own size, and five of fifty may be.
        flips = np.sort(margins / (shares @ (weights + 1 if aware else np.ones_like(weights))))
        assert found[model].item() == pytest.approx(np.log(flips[5]), abs=1.1 * CELL)


@pytest.fixture(scope="module")
def taught() -> View:
    """Networks near the one that all labels come from, correct on 80 to 100 % of their own 60, 100 or 150 images."""
    architecture = small_cnn((1, 8, 8), 3, width=6, depth=2)
    stream = torch.Generator().manual_seed(2)
    teacher = {name: torch.randn(1, *s, generator=stream) / 3 for name, s in architecture.parameters.items()}
    images = torch.randint(0, 256, (150, 1, 8, 8), generator=stream, dtype=torch.uint8)
    outputs = forward(architecture, teacher, scaled(images, torch.float32))[0]
    teacher["linear1.bias"] -= outputs.median(0).values  # so that no class dominates
    labels = (outputs - outputs.median(0).values).argmax(1)
    parameters = {k: v + 0.01 * torch.randn(7, *v.shape[1:], generator=stream) for k, v in teacher.items()}
    sizes = np.array([150, 60, 100, 150, 100, 60, 150])
    return view_of(Stack(architecture, parameters, np.arange(7)), images, labels, sizes)


SEARCHES = [
    pytest.param(search, aware, id=f"{search.__name__}{' aware' * aware}")
    for search in (perturbations.largest_noise, perturbations.largest_box)
    for aware in (False, True)
]


@pytest.mark.parametrize(("search", "aware"), SEARCHES)
def test_in_lockstep_as_one_by_one(taught, search, aware, monkeypatch):
    monkeypatch.setattr(perturbations, "PRECISION", 0.03)
    together, errors = search(MeasureContext(taught), aware)
    assert ((together > perturbations.LOWEST) & (together < perturbations.HIGHEST)).all()
    assert len(together.unique()) > 1
    alone = [search(MeasureContext(taught.take(np.array([model]))), aware) for model in range(0, 7, 3)]
    torch.testing.assert_close(torch.cat([size for size, _ in alone]), together[::3], rtol=2.1 * CELL, atol=0)
    if errors is not None:
        torch.testing.assert_close(torch.cat([error for _, error in alone]), errors[::3], rtol=1e-3, atol=0)


@pytest.mark.parametrize(("search", "aware"), SEARCHES)
def test_both_engines_find_the_same(taught, search, aware, monkeypatch):
    monkeypatch.setattr(perturbations, "PRECISION", 0.03)
    sizes = [search(MeasureContext(taught, engine), aware)[0] for engine in ENGINES.values()]
    torch.testing.assert_close(*sizes, rtol=3.1 * CELL, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_of_engines_are_those_of_single_modules(taught, engine):
    (stack,), train = taught.stacks, taught.train
    weights = torch.cat([value.flatten(1) for value in stack.parameters.values()], dim=1)
    indices = np.random.default_rng(0).permutation(150)[: 7 * 20].reshape(7, 20)
    found = ENGINES[engine].gradient(stack.architecture, weights, {}, train.images, train.labels, indices)
    for model, own in enumerate(indices):
        network = to_module(stack.architecture, {k: v[model].double() for k, v in stack.parameters.items()})
        logits = network(scaled(train.images[own], torch.float64))
        torch.nn.functional.cross_entropy(logits, train.labels[own]).backward()
        truth = torch.cat([value.grad.flatten() for value in network.parameters()])
        torch.testing.assert_close(found[model].double(), truth, rtol=1e-4, atol=1e-6)


def test_a_search_that_ends_at_a_bound_leaves_a_remark_in_every_measure(taught):
    """Three models: a good one, one that is always wrong, one that the least magnitude-aware noise swamps."""
    stack = taught.stacks[0].take(np.array([0, 0, 0]))
    parameters = {name: value.clone() for name, value in stack.parameters.items()}
    parameters["linear1.weight"][1] = 0
    parameters["linear1.bias"][1] = torch.tensor([0.0, 0, 1e6])
    for value in parameters.values():
        value[2] *= 1e-3
    images, labels = taught.train.images, taught.train.labels.clone()
    # Model 1 predicts class 2, which no image has.
    labels[labels == 2] = 1
    results = compute(view_of(replace(stack, parameters=parameters, rows=np.arange(3)), images, labels), MEASURES)
    for name in ("pac-bayes-flatness", "pac-bayes-orig", "pac-bayes-mag-flatness", "sharpness-orig"):
        assert results[name].remarks[1] == "at the bound 10.0: no perturbation up to there costs 0.1 of accuracy"
        assert 0 not in results[name].remarks
        if (errors := results[name].errors) is not None:
            assert (errors > 0).tolist() == [True, False, "-mag" not in name]
        assert np.isfinite(results[name].values).all()
    assert results["pac-bayes-flatness"].values[1] == pytest.approx(1 / perturbations.HIGHEST**2)
    for name in ("pac-bayes-mag-flatness", "pac-bayes-mag-orig"):
        assert (
            results[name]
            .remarks[2]
            .startswith("at the bound 1e-06: such a perturbation costs more than 0.1 of accuracy")
        )
    assert results["pac-bayes-mag-flatness"].values[2] == pytest.approx(1 / perturbations.LOWEST**2)


def test_outputs_that_overflow_count_as_wrong(taught, monkeypatch):
    monkeypatch.setattr(perturbations, "HALVINGS", 3)
    monkeypatch.setattr(perturbations, "PRECISION", 0.1)
    parameters = {name: value.clone() for name, value in taught.stacks[0].parameters.items()}
    for value in parameters.values():
        value[3] *= 1e19
    stack = replace(taught.stacks[0], parameters=parameters)
    truth = compute(taught, FLATNESS)
    results = compute(view_of(stack, taught.train.images, taught.train.labels, taught.train.subset_size), FLATNESS)
    for name, result in results.items():
        assert (result.log, result.reasons) == ("", {})
        others = np.arange(7) != 3
        np.testing.assert_allclose(result.values[others], truth[name].values[others], rtol=1e-5)


def test_every_draw_meets_other_images_and_the_worst_of_a_box_the_first(taught, monkeypatch):
    seen = []

    class Watched(TorchEngine):
        def logits(self, architecture, parameters, images, indices=None):
            seen.append(indices)
            return super().logits(architecture, parameters, images, indices)

        def gradient(self, *arguments):
            seen.append(arguments[-1])
            return super().gradient(*arguments)

    monkeypatch.setattr(perturbations, "HALVINGS", 2)
    monkeypatch.setattr(perturbations, "IMAGES", 80)
    monkeypatch.setattr(perturbations, "IMAGES_OF_A_DRAW", 64)
    context = MeasureContext(taught.take(np.array([0, 1])), Watched())
    whole = {group.indices.shape[1]: group.indices[0] for group in context.groups()}
    assert whole.keys() == {60, 150}
    perturbations.largest_noise(context, False)
    # After the passes over all images, which give the accuracy without noise.
    draws = [indices[0] for indices in seen[2:]]
    assert {len(own) for own in draws} == {60, 64}
    large = [own for own in draws if len(own) == 64]
    for number, own in enumerate(large[:5]):
        np.testing.assert_array_equal(own, whole[150][np.arange(64 * number, 64 * (number + 1)) % 150])
    np.testing.assert_array_equal(draws[0], whole[60][:60])
    seen.clear()
    perturbations.largest_box(context, False)
    assert {indices.shape[1] for indices in seen} == {60, 80}


def test_norms_are_folded_before_weights_are_perturbed():
    layers = (Conv(4), Norm(), Activation("relu"), Linear(3))
    plain = Architecture((1, 5, 5), layers[:1] + layers[2:])
    stream = torch.Generator().manual_seed(0)
    stack = Stack(plain, {k: torch.randn(2, *s, generator=stream) for k, s in plain.parameters.items()}, np.arange(2))
    images = torch.randint(0, 256, (40, 1, 5, 5), generator=stream, dtype=torch.uint8)
    labels = forward(plain, stack.parameters, scaled(images, torch.float32))[0].argmax(1)
    # The convolution is a fourth as large, and its norm compensates.
    normed = {name: value.clone() for name, value in stack.parameters.items()}
    normed["conv1.weight"] /= 4
    normed |= {"norm1.weight": torch.full((2, 4), 4.0), "norm1.bias": normed["conv1.bias"].clone()}
    normed |= {"norm1.running_mean": normed["conv1.bias"], "norm1.running_var": torch.ones(2, 4) - 1e-5}
    twin = Stack(Architecture((1, 5, 5), layers), normed, np.arange(2))
    results = [compute(view_of(which, images, labels), FLATNESS) for which in (stack, twin)]
    for name in results[0]:
        np.testing.assert_allclose(*(result[name].values for result in results), rtol=5 * CELL)


def test_networks_whose_norms_cannot_be_folded_have_no_such_measure():
    architecture = Architecture((1, 3, 3), (Norm(), Conv(2), Activation("relu"), Linear(2)))
    stack = Stack(architecture, {k: torch.ones(2, *s) for k, s in architecture.tensors.items()}, np.arange(2))
    view = view_of(stack, torch.zeros(5, 1, 3, 3, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(NotApplicable, match="cannot be folded"):
        perturbations.largest_box(MeasureContext(view), False)


def test_without_the_initialization_only_measures_that_read_it_are_undefined(relu_network, draw_stack, make_view):
    for name, result in compute(make_view([draw_stack(relu_network, 2)]), MEASURES).items():
        reads_it = name.endswith(("init", "mixed"))
        assert np.isfinite(result.values).all() == (not reads_it)
        if reads_it:
            assert set(result.reasons.values()) == {
                "the zoo has no epoch-0 checkpoints, so the initialization is unknown"
            }
