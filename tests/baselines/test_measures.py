"""All measures: golden values of one network, and changes that must not affect a value."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import View
from baselines.fields import TrainData
from baselines.measures import adaptive_sharpness, curvature, measures, perturbations
from baselines.measures.augmentation import COLOURED, PENALTIES
from baselines.measures.compute import compute
from baselines.weight_space.norms import without_norms
from benchmark.evaluation.views import make_view as view_of_zoo
from zoo_builder.building.build import build
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear, Norm
from zoo_builder.networks.families import nin, park, resnet
from zoo_builder.networks.stack import Stack
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.results import STATISTICS

MEASURES = measures()
ALL = {measure.name: measure for measure in MEASURES}
NIN = nin((1, 6, 6), 3, width=4, depth=1)
RESNET = resnet((1, 8, 8), 3, width=2, depth=8)
UNFOLDABLE = Architecture((1, 6, 6), (Conv(4), Activation("relu"), Norm(), Conv(3, kernel=1), GlobalAveragePool()))
PARK = [
    park((1, 8, 8), 3, width=4, depth=3, residual="add"),
    park((1, 8, 8), 3, width=2, depth=2, kernel=5, activation="silu"),
]
# A linear network whose measures can be read off: W1 = diag(3, 4), W2 = diag(1, 2), biases 0.
DIAGONAL = Architecture((2, 1, 1), (Linear(2), Linear(2)))


def diagonal_view() -> View:
    """One diagonal network; it starts at 0 and is trained on the images (1, -1), (.6, -1), (.2, -1) of class 0."""
    parameters = {name: torch.zeros(1, *shape) for name, shape in DIAGONAL.parameters.items()}
    initial = {name: value.clone() for name, value in parameters.items()}
    parameters["linear1.weight"][0] = torch.diag(torch.tensor([3.0, 4.0]))
    parameters["linear2.weight"][0] = torch.diag(torch.tensor([1.0, 2.0]))
    images = torch.tensor([[255, 0], [204, 0], [153, 0]], dtype=torch.uint8).view(3, 2, 1, 1)
    one = np.ones(1)
    train = TrainData(images, torch.zeros(3, dtype=torch.int64), np.array([3]), np.array([5]), 0.25 * one, 0.75 * one)
    rows = np.arange(1)
    stacks, initial = [Stack(DIAGONAL, parameters, rows)], [Stack(DIAGONAL, initial, rows)]
    statistics = pd.DataFrame([[20.0, 70.0, 0.5, 0.125]], columns=list(STATISTICS))
    return View(access="trajectory", size=1, stacks=stacks, initial=initial, train=train, statistics=statistics)


# Logits (3 x1, 8 x2): margins 11, 9.8, 8.6. Their 10th percentile is 8.6 + 0.2 * 1.2.
GAMMA = 8.84


GOLDEN = {
    "parameter-count": 12,
    "vc-dim": 2 * np.log2(12) ** 3 * (2 * 3 + 2 * 3),
    "inverse-margin": 1 / GAMMA**2,
    "negative-margin": -GAMMA,
    "negative-margin-q1": -9.2,
    "negative-margin-median": -9.8,
    "negative-margin-q3": -10.4,
    "negative-margin-mean": -9.8,
    # Of two classes with margin a: ln p1 = -ln(1 + e^-a), ln p2 = ln p1 - a.
    "negative-entropy": np.mean([-np.log1p(np.exp(-a)) - a / (1 + np.exp(a)) for a in (11, 9.8, 8.6)]),
    "weight-norm": np.sqrt(9 + 16 + 1 + 4),
    "distance-from-initialization": np.sqrt(30),
    "log-prod-of-fro": np.log(25 * 5),
    "log-prod-of-fro-over-margin": np.log(25 * 5) - 2 * np.log(GAMMA),
    "log-sum-of-fro": np.log(2) + np.log(25 * 5) / 2,
    "log-sum-of-fro-over-margin": np.log(2) + np.log(25 * 5) / 2 - np.log(GAMMA),
    "frob-distance": 30,
    "param-norm": 30,
    **{
        name + reading: value
        for reading in ("", "-fft")
        for name, value in {
            "log-prod-of-spec": np.log(16 * 4),
            "log-prod-of-spec-over-margin": np.log(16 * 4) - 2 * np.log(GAMMA),
            "log-sum-of-spec": np.log(2) + np.log(16 * 4) / 2,
            "log-sum-of-spec-over-margin": np.log(2) + np.log(16 * 4) / 2 - np.log(GAMMA),
            "fro-over-spec": 25 / 16 + 5 / 4,
            "spec-orig-main": np.log(16 * 4) - 2 * np.log(GAMMA) + np.log(25 / 16 + 5 / 4),
            "spec-init-main": np.log(16 * 4) - 2 * np.log(GAMMA) + np.log(25 / 16 + 5 / 4),
            "dist-spec-init": 16 + 4,
        }.items()
    },
    "path-norm": 9 * 1 + 16 * 4,
    "path-norm-identity": 9 * 1 + 16 * 4,
    "path-norm-over-margin": (9 * 1 + 16 * 4) / GAMMA**2,
    "path-norm-identity-over-margin": (9 * 1 + 16 * 4) / GAMMA**2,
    # There is one label, and everything is classified as it.
    "penultimate-label-variation": 0,
    "mixup-error": 0,
    "gi-score-intra-input": 0,
    "gi-score-intra-hidden": 0,
    "pal-score-intra-input": -84,
    "pal-score-intra-hidden": -84,
    "penultimate-norm-variance": np.var([np.hypot(3 * x, 4) for x in (1, 0.6, 0.2)]),
    # Mixtures have margins 10.4, 9.8, 9.2 and the gradient (1, -2); 3 x1 has variance 0.24 and 4 x2 has none.
    "mixup-margin": -9.8 / np.sqrt(5) / np.sqrt(0.24 / 2),
    # f_y - f_j = 3 x1 - 8 x2 = h1 - 2 h2; x1 has variance 0.32 / 3, h1 = 3 x1.
    "negative-layer-margin-input": -9.8 / np.sqrt(73) / np.sqrt(0.32 / 3),
    **{f"negative-layer-margin-{layer}": -9.8 / np.sqrt(5) / np.sqrt(0.96) for layer in ("first", "middle", "last")},
    # The images come in the order (.2, -1), (1, -1), (.6, -1): halves of one image, 3 (1 - .2) apart.
    **{
        f"k-variance-{margin}-{layer}": -9.8 / np.sqrt(5) / 2.4
        for margin, layer in product(("margin", "gn-margin"), ("first", "last"))
    },
    # J = diag(3, 8); the rows of S J are p1 p2 (3, -8) and its opposite.
    "input-jacobian-norm": np.sqrt(73),
    "input-jacobian-norm-softmax": np.mean([np.sqrt(2 * 73) / (2 + 2 * np.cosh(a)) for a in (11, 9.8, 8.6)]),
    "steps-to-cross-entropy": 20,
    "steps-between-cross-entropies": 50,
    "gradient-noise-epoch-1": 0.5,
    "gradient-noise-final": 0.125,
    "negative-training-loss": -0.25,
    "training-accuracy": 0.75,
    "inverse-train-size": 1 / 3,
}


# Three training images.
GOLDEN |= {
    f"{name}-per-image": (value - np.log(3)) / 2 if name.startswith("log-") else np.sqrt(value / 3)
    for name, value in GOLDEN.items()
    if f"{name}-per-image" in ALL
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values_of_a_diagonal_network(name):
    result = compute(diagonal_view(), [ALL[name]])[name]
    assert result.values == pytest.approx([GOLDEN[name]], rel=1e-6)
    assert (result.reasons, result.log) == ({}, "")


def permuted(stack: Stack, seed: int) -> Stack:
    """The same networks with their hidden units in another order."""
    random = np.random.default_rng(seed)
    parameters = {name: value.clone() for name, value in stack.parameters.items()}
    places = stack.architecture.weighted
    for place, following in pairwise(places):
        for model in range(len(stack)):
            order = torch.from_numpy(random.permutation(place.output_shape[0]))
            for name in place.parameters:
                parameters[name][model] = parameters[name][model, order]
            weight = parameters[f"{following.name}.weight"]
            weight[model] = weight[model][:, order]
    return replace(stack, parameters=parameters)


def rescaled(stack: Stack) -> Stack:
    """The same functions (ReLU): the first layer times 4, the second layer's weights divided by 4."""
    parameters = {name: value.clone() for name, value in stack.parameters.items()}
    parameters["conv1.weight"] *= 4
    parameters["conv1.bias"] *= 4
    parameters["conv2.weight"] /= 4
    return replace(stack, parameters=parameters)


# Measures that the rescaling of adjacent ReLU layers leaves unchanged. The products of layer norms exclude biases.
RESCALING_INVARIANT = {
    "parameter-count": True,
    "vc-dim": True,
    "inverse-margin": True,
    "negative-margin": True,
    "negative-margin-q1": True,
    "negative-margin-median": True,
    "negative-margin-q3": True,
    "negative-margin-mean": True,
    "negative-entropy": True,
    "weight-norm": False,
    "distance-from-initialization": False,
    "log-prod-of-fro": True,
    "log-prod-of-fro-over-margin": True,
    "log-sum-of-fro": True,
    "log-sum-of-fro-over-margin": True,
    "frob-distance": False,
    "param-norm": False,
    **{
        name + reading: invariant
        for reading in ("", "-fft")
        for name, invariant in {
            "log-prod-of-spec": True,
            "log-prod-of-spec-over-margin": True,
            "log-sum-of-spec": True,
            "log-sum-of-spec-over-margin": True,
            "fro-over-spec": True,
            "spec-orig-main": True,
            "spec-init-main": False,
            "dist-spec-init": False,
        }.items()
    },
    "path-norm": True,
    "path-norm-identity": True,
    "path-norm-over-margin": True,
    "path-norm-identity-over-margin": True,
    "mean-alpha": True,
    "alpha-hat": False,
    "hessian-top-eigenvalue": False,
    "hessian-trace": False,
    "fisher-trace": False,
    "empirical-fisher-trace": False,
    **{f"adaptive-sharpness-{kind}": True for kind in ("worst", "average")},
    **{f"adaptive-sharpness-{kind}-normalized": True for kind in ("worst", "average")},
    "davies-bouldin": True,
    "davies-bouldin-mixup": True,
    "penultimate-norm-variance": True,  # of a layer that is not rescaled here
    "penultimate-label-variation": True,
    **{f"negative-layer-margin-{layer}": True for layer in ("input", "first", "middle", "last")},
    **{f"k-variance-{margin}-{layer}": True for margin, layer in product(("margin", "gn-margin"), ("first", "last"))},
    "mixup-error": True,
    "mixup-margin": True,
    **{
        f"{score}-{kind}-{layer}": True
        for score, kind, layer in product(("gi-score", "pal-score"), ("intra", "inter"), ("input", "hidden"))
    },
    "always-generalize": True,
    **{f"{alteration}-penalty": True for alteration in PENALTIES},
    "augmentation-margin": True,
    "input-jacobian-norm": True,
    "input-jacobian-norm-softmax": True,
    **{
        f"{measure}-{kind}": (measure, kind) == ("pac-bayes-mag", "flatness")  # except for the noise of weights near 0
        for measure, kind in product(
            ("pac-bayes", "sharpness", "pac-bayes-mag", "sharpness-mag"), ("init", "orig", "flatness")
        )
    },
    "pac-bayes-mag-mixed": False,
    "steps-to-cross-entropy": True,
    "steps-between-cross-entropies": True,
    "gradient-noise-epoch-1": True,
    "gradient-noise-final": True,
    "negative-training-loss": True,
    "training-accuracy": True,
    "inverse-train-size": True,
    "random": False,
}


RESCALING_INVARIANT |= {
    f"{name}-per-image": unchanged for name, unchanged in RESCALING_INVARIANT.items() if f"{name}-per-image" in ALL
}


# Relative errors of measures that draw at random, and do not say how precise they are.
DRAWN = {"hessian-top-eigenvalue": 0.01}  # from a random start


# Measures that are undefined where all images have one label, and those that are undefined on grey images.
OF_SEVERAL_LABELS = {"davies-bouldin", "davies-bouldin-mixup", *(name for name in ALL if "-inter-" in name)}


OF_COLOURS = {f"{alteration}-penalty" for alteration in COLOURED}


# Measures that almost vanish where a large bias saturates the softmax.
OF_CURVATURE = {measure.name for measure in (*curvature.MEASURES, *adaptive_sharpness.MEASURES)}


def invariance_view(name: str, stack: Stack, initial: Stack, make_view) -> View:
    """All images have label 0, which a large bias predicts for half of the models: margins of both signs."""
    stack.parameters["linear1.bias"][::2, 0] += 5 if name in OF_CURVATURE else 100
    initial.parameters["linear1.bias"][::2, 0] += 100
    labels = None if name in OF_SEVERAL_LABELS else torch.zeros(40, dtype=torch.int64)
    return make_view([stack], labels=labels, initial=[initial])


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Noise is searched with few draws, in a tenth of the time."""
    monkeypatch.setattr(perturbations, "DRAWS", 32)
    monkeypatch.setattr(perturbations, "MOST_DRAWS", 32)


@pytest.mark.parametrize("name", ALL)
def test_hidden_permutation_changes_nothing(relu_network, draw_stack, make_view, name):
    relu_network = replace(relu_network, input_shape=(3, 6, 6)) if name in OF_COLOURS else relu_network
    stacks = [draw_stack(relu_network, 6, seed) for seed in (0, 1)]
    before = compute(invariance_view(name, *stacks, make_view), [ALL[name]])[name]
    stacks = [permuted(draw_stack(relu_network, 6, seed), 9) for seed in (0, 1)]
    assert not torch.equal(
        stacks[0].parameters["conv1.weight"], draw_stack(relu_network, 6, 0).parameters["conv1.weight"]
    )
    after = compute(invariance_view(name, *stacks, make_view), [ALL[name]])[name]
    assert before.reasons == after.reasons
    remarked = sorted(before.remarks.keys() | after.remarks.keys()) if ALL[name].cost == "search" else []
    assert len(remarked) < 6
    rows = np.delete(np.arange(6), remarked)
    if before.errors is None or after.errors is None:
        np.testing.assert_allclose(after.values[rows], before.values[rows], rtol=DRAWN.get(name, 1e-5))
    else:  # a permutation assigns noise to other weights
        errors = np.hypot(after.errors, before.errors)
        assert (np.abs(after.values - before.values)[rows] < 6 * errors[rows]).all()


@pytest.mark.parametrize("name", ALL)
def test_rescaling_of_adjacent_relu_layers(relu_network, draw_stack, make_view, name):
    relu_network = replace(relu_network, input_shape=(3, 6, 6)) if name in OF_COLOURS else relu_network
    stack, initial = draw_stack(relu_network, 6), draw_stack(relu_network, 6, seed=1)
    before = compute(invariance_view(name, stack, initial, make_view), [ALL[name]])[name]
    stack, initial = draw_stack(relu_network, 6), draw_stack(relu_network, 6, seed=1)
    after = compute(invariance_view(name, rescaled(stack), initial, make_view), [ALL[name]])[name]
    assert before.reasons == after.reasons
    defined = np.isfinite(before.values)
    assert defined.any()
    same = np.isclose(after.values, before.values, rtol=1e-5)
    if RESCALING_INVARIANT[name]:
        # Rounding carries single images over the boundary in some of the draws of noise.
        errors = 0 if before.errors is None else before.errors
        assert (same | (np.abs(after.values - before.values) < errors))[defined].all()
    else:
        bounds = [model for found in (before, after) for model, text in found.remarks.items() if "bound" in text]
        defined[bounds] = False  # a bound does not change
        assert defined.any()
        assert not same[defined].any()


def test_order_and_company_change_no_value(relu_network, tanh_network, draw_stack, make_view):
    stacks = [draw_stack(relu_network, 4), draw_stack(tanh_network, 2, first_row=4)]
    initial = [draw_stack(relu_network, 4, seed=1), draw_stack(tanh_network, 2, seed=1, first_row=4)]
    view = make_view(stacks, initial=initial)
    truth = compute(view, MEASURES)
    for order, stack_size in (([3, 5, 0, 2, 4, 1], 3), ([2, 4], 1)):
        for name, result in compute(view.take(np.array(order)), MEASURES, stack_size=stack_size).items():
            rtol = 0 if name == "random" else 1e-5
            np.testing.assert_allclose(result.values, truth[name].values[order], rtol=rtol)
            reasons = {row: truth[name].reasons[m] for row, m in enumerate(order) if m in truth[name].reasons}
            assert result.reasons == reasons


@pytest.fixture(scope="module", params=["nin", "resnet"])
def zoo(request, tmp_path_factory) -> Zoo:
    recipe = {
        "name": "normed",
        "epochs": 2,
        "data": {"name": "digits"},
        "architecture": {"family": request.param},
        "fixed": {
            "optimizer": "sgd",
            "initialization": "he-normal",
            "batch_size": 64,
            "width": 4,
            "train_fraction": 0.2,
        },
        "grid": {"learning_rate": [0.01, 0.1], "norm": ["batch", "none"]},
    }
    recipe["fixed"]["depth"] = 8 if request.param == "resnet" else 1
    return build(Recipe.from_json(recipe), tmp_path_factory.mktemp("zoo"), device="cpu")


def test_measures_of_a_zoo_with_and_without_norms(zoo: Zoo) -> None:
    names = ("path-norm", "log-prod-of-spec", "negative-margin", "distance-from-initialization", "weight-norm")
    view = view_of_zoo(zoo, zoo.final, "trajectory")
    results = compute(view, [ALL[name] for name in (*names, "parameter-count")])
    assert set(zoo.final["norm"]) == {"batch", "none"}
    logits, data = zoo.outputs(zoo.final.index), zoo.data()
    for number, row in enumerate(zoo.final.itertuples()):
        module = zoo.module(row.model_id).double()
        with torch.no_grad():
            again = module(scaled(data.test_images, torch.float64))
        np.testing.assert_allclose(logits[number], again, atol=0.02)
        stack = without_norms(zoo.weights([row.Index])[0])
        weights = torch.cat([value.flatten() for value in stack.parameters.values()])
        assert results["weight-norm"].values[number] == pytest.approx(weights.double().norm().item(), rel=1e-5)
        assert results["parameter-count"].values[number] == stack.architecture.size
    for name in names:
        assert np.isfinite(results[name].values).all()


@pytest.mark.parametrize(
    "architecture", [pytest.param(NIN, id="nin"), pytest.param(RESNET, id="resnet", marks=pytest.mark.slow)]
)
def test_measures_are_those_of_the_network_with_its_norms_folded(architecture, draw_stack, make_view) -> None:
    stack, start = draw_stack(architecture, 2), draw_stack(architecture, 2, seed=5)
    labels = torch.arange(40) % 3
    normed = compute(make_view([stack], labels=labels, initial=[start]), MEASURES)
    plain = compute(make_view([without_norms(stack)], labels=labels, initial=[without_norms(start)]), MEASURES)
    defined = 0
    for measure in MEASURES:
        assert normed[measure.name].reasons == plain[measure.name].reasons
        assert not normed[measure.name].log
        np.testing.assert_allclose(normed[measure.name].values, plain[measure.name].values, rtol=1e-5)
        defined += np.isfinite(normed[measure.name].values).all()
    assert defined >= 0.75 * len(MEASURES)  # random networks have margins of both signs, and few eigenvalues


def test_where_a_norm_cannot_be_folded_only_measures_of_weights_are_not_applicable(draw_stack, make_view) -> None:
    results = compute(make_view([draw_stack(UNFOLDABLE, 2)], initial=[draw_stack(UNFOLDABLE, 2, seed=5)]), MEASURES)
    for measure in MEASURES:
        result = results[measure.name]
        assert not result.log
        if measure.access == "weights":
            assert "norm1 does not follow a convolution or linear layer" in result.reasons[0], measure.name
    for name in (
        "training-accuracy",
        "negative-training-loss",
        "negative-margin",
        "mixup-error",
        "input-jacobian-norm",
    ):
        assert np.isfinite(results[name].values).all()


def test_many_architectures_each_get_their_own_measures(draw_stack, make_view) -> None:
    stacks = [draw_stack(PARK[0], 2), draw_stack(PARK[1], 2, first_row=2)]
    results = compute(make_view(stacks), MEASURES)
    assert not any(result.log for result in results.values())
    assert results["parameter-count"].values.tolist() == [PARK[0].size] * 2 + [PARK[1].size] * 2
    assert np.isfinite(results["path-norm"].values).tolist() == [True, True, False, False]
    assert results["path-norm"].reasons[2] == "defined for ReLU networks, and this one has silu"


def test_an_imported_zoo_without_training_information(imported_zoo: Zoo) -> None:
    """Measures of the final weights are computed; all others give the reason why they are not."""
    results = compute(view_of_zoo(imported_zoo, imported_zoo.final, "trajectory"), MEASURES)
    unknown = {
        "weights": "the zoo has no epoch-0 checkpoints, so the initialization is unknown",
        "train-data": "the zoo does not record which training images each model was trained on",
        "trajectory": "the zoo does not record training statistics",
    }
    computed = set()
    for measure in MEASURES:
        result = results[measure.name]
        assert result.log == ""
        if np.isfinite(result.values).all():
            computed.add(measure.name)
        elif measure.name not in OF_COLOURS:
            first, last = unknown["weights"], unknown[measure.access]
            assert all(reason.startswith((first, last)) for reason in result.reasons.values()), measure.name
    from_initialization = {"distance-from-initialization", "frob-distance", "dist-spec-init", "dist-spec-init-fft"}
    assert computed == {measure.name for measure in MEASURES if measure.access == "weights"} - from_initialization
