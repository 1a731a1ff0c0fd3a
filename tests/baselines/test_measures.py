"""Complexity measures against closed forms and slow independent computations, and what must not change them."""

import time
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import AccessError, TrainData, View
from baselines.measures import curvature, measures
from baselines.measures.augmentation import COLOURED, PENALTIES
from baselines.measures.compute import NOT_FINITE, compute, one_by_one
from baselines.measures.context import MeasureContext, shared
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable
from zoo_builder.datasets.dataset import scaled
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture, Conv, Linear
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack
from zoo_builder.training.settings import STATISTICS, training_subset

ALL = {measure.name: measure for measure in measures()}
# A linear network whose numbers can be read off: W1 = diag(3, 4), W2 = diag(1, 2), biases 0.
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
    # One label, of which everything is classified as such.
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
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values_of_a_diagonal_network(name):
    result = compute(diagonal_view(), [ALL[name]])[name]
    assert result.values == pytest.approx([GOLDEN[name]], rel=1e-6)
    assert (result.reasons, result.log) == ({}, "")


def test_random_is_uniform_and_drawn_by_the_weights(relu_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 400)])
    values = np.sort(compute(view, [ALL["random"]])["random"].values)
    # Kolmogorov-Smirnov at the 0.1 % level.
    assert np.abs(values - (np.arange(400) + 0.5) / 400).max() < 1.95 / np.sqrt(400)
    nudged = draw_stack(relu_network, 400)
    nudged.parameters["conv1.bias"] += 1e-3
    assert not np.intersect1d(values, compute(make_view([nudged]), [ALL["random"]])["random"].values).size


@pytest.mark.parametrize("name", ["log-prod-of-spec", "log-prod-of-fro", "weight-norm", "distance-from-initialization"])
def test_norms_against_numpy(relu_network, draw_stack, make_view, name):
    stack, initial = draw_stack(relu_network, 5), draw_stack(relu_network, 5, seed=1)

    def slow(w: dict[str, np.ndarray], w0: dict[str, np.ndarray]) -> float:
        matrices = [value.reshape(len(value), -1) for key, value in w.items() if key.endswith("weight")]
        match name:
            case "log-prod-of-spec":
                return sum(np.log(np.linalg.eigvalsh(matrix @ matrix.T)[-1]) for matrix in matrices)
            case "log-prod-of-fro":
                return sum(np.log((matrix**2).sum()) for matrix in matrices)
            case "weight-norm":
                return np.sqrt(sum((value**2).sum() for value in w.values()))
            case _:
                return np.sqrt(sum(((w[key] - w0[key]) ** 2).sum() for key in w))

    truth = [
        slow(*({k: v[model].double().numpy() for k, v in s.parameters.items()} for s in (stack, initial)))
        for model in range(5)
    ]
    result = compute(make_view([stack], initial=[initial]), [ALL[name]])[name]
    np.testing.assert_allclose(result.values, truth, rtol=1e-12)


def test_path_norm_against_enumerated_paths(draw_stack, make_view):
    """A padded, strided convolution and a linear layer on its flattened output: every path is walked."""
    architecture = Architecture((2, 3, 3), (Conv(2, kernel=2, stride=2, padding=1), Linear(3)))
    stack = draw_stack(architecture, 2)
    (_, height, width), total = architecture.places[0].output_shape, np.zeros(2)
    w1, b1, w2, b2 = (value.double().numpy() for value in stack.parameters.values())
    for k in range(3):
        total += b2[:, k] ** 2
        for unit, (c, y, x) in enumerate(product(range(2), range(height), range(width))):
            total += (b1[:, c] * w2[:, k, unit]) ** 2
            for i, dy, dx in product(range(2), range(2), range(2)):
                if 0 <= 2 * y + dy - 1 < 3 and 0 <= 2 * x + dx - 1 < 3:
                    total += (w1[:, c, i, dy, dx] * w2[:, k, unit]) ** 2
    result = compute(make_view([stack]), [ALL["path-norm"]])["path-norm"]
    np.testing.assert_allclose(result.values, total, rtol=1e-12)


def test_path_norm_averages_where_the_network_pools(relu_network, draw_stack, make_view):
    """Against nn.Modules with squared weights in float64."""
    stack = draw_stack(relu_network, 3)
    truth = []
    for model in range(3):
        squared = {name: value[model].double().square() for name, value in stack.parameters.items()}
        ones = torch.ones(1, *relu_network.input_shape, dtype=torch.float64)
        truth.append(to_module(relu_network, squared)(ones).sum().item())
    result = compute(make_view([stack]), [ALL["path-norm"]])["path-norm"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-12)


def slow_margins(view: View, model: int) -> np.ndarray:
    """One model's training margins from one nn.Module in float64."""
    train = view.train
    (stack,) = (stack for stack in view.stacks if model in stack.rows)
    position = list(stack.rows).index(model)
    network = to_module(stack.architecture, {k: v[position].double() for k, v in stack.parameters.items()})
    indices = training_subset(int(train.subset_seed[model]), int(train.subset_size[model]), len(train.images))
    with torch.no_grad():
        logits = network(scaled(train.images[indices], torch.float64)).numpy()
    labels = train.labels[indices].numpy()
    return np.array([row[y] - np.delete(row, y).max() for row, y in zip(logits, labels, strict=True)])


def test_margins_against_single_modules(relu_network, tanh_network, draw_stack, make_view):
    """Each model on its own subset, with subsets of three sizes in one stack."""
    view = make_view([draw_stack(relu_network, 6), draw_stack(tanh_network, 5, first_row=6)])
    assert len(np.unique(view.train.subset_size)) == 3
    truth = [np.percentile(slow_margins(view, model), 10) for model in range(11)]
    result = compute(view, [ALL["negative-margin"]])["negative-margin"]
    np.testing.assert_allclose(-result.values, truth, rtol=1e-4)


def test_measures_with_margins_are_undefined_where_the_margin_is_not_positive(relu_network, draw_stack, make_view):
    """All images are of class 0, and one network has a large bias for it."""
    stack = draw_stack(relu_network, 4)
    stack.parameters["linear1.bias"][2, 0] = 1e3
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64))
    results = compute(view, measures())
    for name in ("inverse-margin", "log-prod-of-spec-over-margin"):
        defined = np.isfinite(results[name].values)
        assert defined[2]
        assert set(results[name].reasons) == set(np.flatnonzero(~defined))
        assert set(results[name].reasons.values()) == {"the 10th percentile of the training margins is not positive"}
        assert results[name].log == ""
    assert np.isfinite(results["negative-margin"].values).all()
    assert (results["negative-margin"].values > 0).tolist() == np.isnan(results["inverse-margin"].values).tolist()


def test_a_layer_of_zeros_has_no_log_product(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 3)
    stack.parameters["conv2.weight"][1] = 0
    results = compute(make_view([stack]), [ALL["log-prod-of-spec"], ALL["log-prod-of-fro"]])
    for result in results.values():
        assert result.reasons == {1: "all weights of a layer are zero"}
        assert np.isfinite(result.values).tolist() == [True, False, True]


def test_the_path_norm_of_tanh_networks_has_its_own_name(relu_network, tanh_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 2)
    twin = Stack(tanh_network, stack.parameters, np.array([2, 3]))
    results = compute(make_view([stack, twin]), [ALL["path-norm"], ALL["path-norm-identity"]])
    assert np.isnan(results["path-norm"].values).tolist() == [False, False, True, True]
    assert results["path-norm"].reasons == dict.fromkeys([2, 3], "defined for ReLU networks, and this one has tanh")
    identity = results["path-norm-identity"].values
    np.testing.assert_array_equal(identity[:2], results["path-norm"].values[:2])
    np.testing.assert_array_equal(identity[2:], identity[:2])


def test_a_zoo_without_initializations_says_so(relu_network, draw_stack, make_view):
    result = compute(make_view([draw_stack(relu_network, 2)]), measures())["distance-from-initialization"]
    assert np.isnan(result.values).all()
    assert set(result.reasons.values()) == {"the zoo has no epoch-0 checkpoints, so the initialization is unknown"}
    assert result.log == ""


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_model_loses_its_own_values_only(relu_network, draw_stack, make_view, bad):
    stack = draw_stack(relu_network, 5)
    view = make_view([stack], initial=[draw_stack(relu_network, 5, seed=1)])
    sound = compute(view, measures())
    stack.parameters["conv2.bias"][3, 0] = bad
    for name, result in compute(view, measures()).items():
        assert np.isnan(result.values[3])
        assert result.reasons[3] == NOT_FINITE
        assert result.log == ""
        others = [0, 1, 2, 4]
        np.testing.assert_allclose(result.values[others], sound[name].values[others], rtol=1e-5)


def permuted(stack: Stack, seed: int) -> Stack:
    """The same networks with their hidden units in another order; the layer after a unit follows it."""
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


# Measures that the rescaling of adjacent ReLU layers leaves unchanged. The products of layer norms do not see biases.
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
        f"{measure}-{kind}": (measure, kind) == ("pac-bayes-mag", "flatness")  # but for the noise of weights near 0
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
    "random": False,
}


# Measures of noise that a permutation deals to other weights: what 16 draws on up to 40 images leave open.
DRAWN = {name: 0.5 for name in ALL if name.startswith("pac-bayes")}
# Two draws without a remark, each with a standard error of up to 20 %.
DRAWN |= {name: 1.0 for name in ALL if name.endswith("-trace") or name.startswith("adaptive-sharpness-average")}
DRAWN["hessian-top-eigenvalue"] = 0.01  # from a random start
# Measures that have no value where all images have one label, and those that have none on grey images.
OF_SEVERAL_LABELS = {"davies-bouldin", "davies-bouldin-mixup", *(name for name in ALL if "-inter-" in name)}
OF_COLOURS = {f"{alteration}-penalty" for alteration in COLOURED}
# Measures that are all but 0 where the softmax is saturated, as it is by a large bias.
OF_CURVATURE = {measure.name for measure in curvature.MEASURES}


def invariance_view(name: str, stack: Stack, initial: Stack, make_view) -> View:
    """All images are of class 0, which a large bias makes right for half of the models: margins of both signs."""
    stack.parameters["linear1.bias"][::2, 0] += 5 if name in OF_CURVATURE else 100
    initial.parameters["linear1.bias"][::2, 0] += 100
    labels = None if name in OF_SEVERAL_LABELS else torch.zeros(40, dtype=torch.int64)
    return make_view([stack], labels=labels, initial=[initial])


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
    told = sorted(before.remarks.keys() | after.remarks.keys()) if ALL[name].cost == "search" else []
    assert len(told) < 6
    rows = np.delete(np.arange(6), told)
    np.testing.assert_allclose(after.values[rows], before.values[rows], rtol=DRAWN.get(name, 1e-5))


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
        assert same[defined].all()
    else:
        bounds = [model for found in (before, after) for model, said in found.remarks.items() if "bound" in said]
        defined[bounds] = False  # a bound stays where it is
        assert defined.any()
        assert not same[defined].any()


def test_order_and_company_change_no_value(relu_network, tanh_network, draw_stack, make_view):
    stacks = [draw_stack(relu_network, 7), draw_stack(tanh_network, 6, first_row=7)]
    initial = [draw_stack(relu_network, 7, seed=1), draw_stack(tanh_network, 6, seed=1, first_row=7)]
    view = make_view(stacks, initial=initial)
    truth = compute(view, measures())
    order = np.random.default_rng(0).permutation(13)
    for stack_size in (1, 4, 64):
        shuffled = compute(view.take(order), measures(), stack_size=stack_size)
        for name, result in shuffled.items():
            np.testing.assert_allclose(result.values, truth[name].values[order], rtol=1e-5)
            assert result.reasons == {
                row: truth[name].reasons[m] for row, m in enumerate(order) if m in truth[name].reasons
            }
    np.testing.assert_array_equal(shuffled["random"].values, truth["random"].values[order])
    alone = compute(view.take(np.array([9])), measures())
    assert alone["negative-margin"].values == pytest.approx(truth["negative-margin"].values[[9]], rel=1e-5)


def measure(function, access: str = "train-data") -> Measure:
    return Measure(function.__name__, function, access, "weights", "a test", "a test")


def raises(context):
    raise KeyError("a mistake of its author")


def wrong_shape(context):
    return torch.zeros(len(context) + 1)


def no_numbers(context):
    return "three"


def complex_numbers(context):
    return torch.ones(len(context)) * 1j


def a_mask_of_pairs(context):
    context.undefined(torch.ones(len(context), 1, dtype=torch.bool), "one row too many")
    return torch.ones(len(context))


def a_mask_of_numbers(context):
    context.remark(torch.ones(len(context)), "not true or false")
    return torch.ones(len(context))


def no_words(context):
    context.undefined(torch.ones(len(context), dtype=torch.bool), "")
    return torch.ones(len(context))


def nan_without_a_reason(context):
    values = torch.zeros(len(context))
    values[1] = torch.nan
    return values


def infinite(context):
    return torch.full((len(context),), torch.inf)


def writes_to_everything(context):
    for value in context.parameters.values():
        value.numpy().fill(7)
    for values in (*context.matrices, *context.singular_values, *context.margins, context.margin):
        values.fill_(7)
    for value in context.stack.parameters.values():
        value.fill_(7)
    context.train.loss[:] = 7
    context.train.subset_size[:] = 7
    context.undefined(torch.arange(len(context)) == 0, "said by the one before")
    return torch.zeros(len(context))


def not_here(context):
    raise NotApplicable("not on this architecture")


@pytest.mark.parametrize(
    ("function", "lost", "words"),
    [
        (raises, {0, 1, 2}, "the measure failed: KeyError: 'a mistake of its author'"),
        (wrong_shape, {0, 1, 2}, r"the measure failed: it returned shape (4,), expected a tensor of shape (3,): one"),
        (no_numbers, {0, 1, 2}, "the measure failed: it returned a str that holds no real numbers, expected a tensor"),
        (complex_numbers, {0, 1, 2}, "the measure failed: it returned a Tensor that holds no real numbers"),
        (
            a_mask_of_pairs,
            {0, 1, 2},
            "the measure failed: ValueError: a mask of torch.bool [3, 1], expected torch.bool",
        ),
        (a_mask_of_numbers, {0, 1, 2}, "the measure failed: ValueError: a mask of torch.float32 [3], expected"),
        (no_words, {0, 1, 2}, "the measure failed: ValueError: a mask without words: say why"),
        (nan_without_a_reason, {1}, "the measure failed: it returned nan and gave no reason"),
        (infinite, {0, 1, 2}, "the measure failed: it returned inf and gave no reason"),
    ],
)
def test_a_failing_measure_says_so_and_hurts_no_other(relu_network, draw_stack, make_view, function, lost, words):
    view = make_view([draw_stack(relu_network, 3)])
    truth = compute(view, measures())
    results = compute(view, [measure(function), *measures()])
    failed = results.pop(function.__name__)
    assert set(failed.reasons) == set(np.flatnonzero(np.isnan(failed.values))) == lost
    assert all(reason.startswith(words) for reason in failed.reasons.values())
    assert words.removeprefix("the measure failed: ")[:20] in failed.log
    assert_same(results, truth)


@pytest.mark.parametrize("function", [writes_to_everything, not_here])
def test_a_measure_that_writes_or_does_not_apply_hurts_no_other(relu_network, draw_stack, make_view, function):
    stack = draw_stack(relu_network, 3)
    view = make_view([stack])
    truth = compute(view, measures())
    results = compute(view, [measure(function), *measures()])
    mine = results.pop(function.__name__)
    assert mine.log == ""
    if function is not_here:
        assert mine.reasons == dict.fromkeys(range(3), "not on this architecture")
    assert_same(results, truth)
    assert all(torch.equal(stack.parameters[k], v) for k, v in draw_stack(relu_network, 3).parameters.items())


def assert_same(results: dict, truth: dict) -> None:
    for name, result in results.items():
        np.testing.assert_array_equal(result.values, truth[name].values)
        assert (result.reasons, result.log) == (truth[name].reasons, "")


def test_a_measure_may_return_any_floating_dtype_with_a_gradient(relu_network, draw_stack, make_view):
    def half(context):
        return context.parameters["conv1.bias"][:, 0].half().requires_grad_()

    result = compute(make_view([draw_stack(relu_network, 2)]), [measure(half)])["half"]
    assert result.values.dtype == np.float64
    assert result.log == ""


def test_a_measure_needs_a_view_of_its_level(relu_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 2)], access="weights")
    with pytest.raises(
        InputError, match="'inverse-margin' needs access level 'train-data', and this view has 'weights'"
    ):
        compute(view, measures())


def test_a_measure_that_reads_more_than_it_declares_fails(relu_network, draw_stack, make_view):
    def sly(context):
        return torch.tensor(context.train.accuracy)

    result = compute(make_view([draw_stack(relu_network, 2)], access="weights"), [measure(sly, "weights")])["sly"]
    assert AccessError.__name__ in result.log
    assert "view.train is not part of access level 'weights'" in result.reasons[0]


def test_every_model_comes_once(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 10)
    stack.parameters["conv1.bias"][4] = torch.nan
    rows = [rows for _, rows, _ in one_by_one(make_view([stack]), [ALL["weight-norm"]], stack_size=4)]
    assert [len(some) for some in rows] == [1, 4, 4, 1]
    assert sorted(np.concatenate(rows)) == list(range(10))


def test_a_shared_value_is_computed_once_and_charged_to_every_reader(relu_network, draw_stack, make_view):
    calls = []

    class Context(MeasureContext):
        @shared
        def base(self) -> list[int]:
            calls.append(self)
            start = time.process_time()
            while time.process_time() - start < 0.02:
                pass
            return [1]

        @shared
        def derived(self) -> int:
            return self.base[0] + 1

    context = Context(make_view([draw_stack(relu_network, 1)]))
    context.base.append(5)
    assert context.base == [1]
    borrowed = context.borrowed
    assert borrowed >= 0.02
    assert context.derived == 2  # computed now, from what the first reader of base paid for
    assert context.borrowed - borrowed == pytest.approx(borrowed, rel=0.5)
    borrowed = context.borrowed
    assert context.derived == 2  # borrowed whole, base included
    assert context.borrowed - borrowed >= 0.02
    assert calls == [context]
