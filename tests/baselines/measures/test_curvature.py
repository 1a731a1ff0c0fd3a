"""Curvatures against exact Hessians and Fisher matrices in float64, sharpness against grids and quadrature."""

from typing import cast

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from baselines.measures import curvature
from baselines.measures.compute import compute
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear, Norm
from zoo_builder.networks.folding import folded
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack
from zoo_builder.training.settings import training_subset

ALL = {measure.name: measure for measure in curvature.MEASURES}
SOFTMAX_REGRESSION = Architecture((2, 1, 1), (Linear(3),))


def run(name: str, view):
    (result,) = compute(view, [ALL[name]]).values()
    assert (result.reasons, result.log) == ({}, "")
    return result


def exact(view, row: int):
    """One model alone, all in float64: its logits as a function of its flat weights, these weights, and its labels."""
    (stack,) = (stack for stack in view.stacks if row in stack.rows)
    own = {k: v[list(stack.rows).index(row)].double() for k, v in stack.parameters.items()}
    network, train = to_module(stack.architecture, own), view.train
    indices = training_subset(int(train.subset_seed[row]), int(train.subset_size[row]), len(train.images))
    images = scaled(train.images[indices], torch.float64)

    def logits(flat):
        parts = flat.split([value.numel() for value in own.values()])
        return functional_call(network, {k: p.view_as(v) for p, (k, v) in zip(parts, own.items(), strict=True)}, images)

    return logits, torch.cat([value.flatten() for value in own.values()]), train.labels[indices]


def hessian(view, row: int) -> torch.Tensor:
    logits, flat, labels = exact(view, row)
    found = torch.autograd.functional.hessian(lambda at: F.cross_entropy(logits(at), labels), flat, vectorize=True)
    return cast(torch.Tensor, found)


def small(stack: Stack, factor: float = 0.4) -> Stack:
    """With smaller weights, so that no softmax is saturated."""
    return Stack(stack.architecture, {k: factor * v for k, v in stack.parameters.items()}, stack.rows)


@pytest.fixture
def view(relu_network, tanh_network, draw_stack, make_view):
    return make_view([small(draw_stack(relu_network, 3)), small(draw_stack(tanh_network, 3, 1, first_row=3))])


def test_top_eigenvalue_against_exact_hessians(view):
    result = run("hessian-top-eigenvalue", view)
    truth = [torch.linalg.eigvalsh(hessian(view, row))[-1].item() for row in range(6)]
    np.testing.assert_allclose(result.values, truth, rtol=2e-3)
    assert result.remarks == {}


def test_top_eigenvalue_is_the_largest_where_a_negative_one_is_larger_in_size(draw_stack, make_view, tanh_network):
    """Wrong labels for a confident network."""
    view = make_view([draw_stack(tanh_network, 8)])
    result = run("hessian-top-eigenvalue", view)
    spectra = [torch.linalg.eigvalsh(hessian(view, row)) for row in range(8)]
    assert any(-spectrum[0] > spectrum[-1] for spectrum in spectra)
    np.testing.assert_allclose(result.values, [spectrum[-1].item() for spectrum in spectra], rtol=2e-2)


def test_an_iteration_that_is_cut_short_says_so(view, monkeypatch):
    monkeypatch.setattr(curvature, "_LANCZOS_STEPS", 1)
    result = run("hessian-top-eigenvalue", view)
    assert result.remarks == dict.fromkeys(range(6), "Lanczos iteration did not converge to 2 % in 1 steps")


def test_hessian_trace_is_as_far_from_exact_traces_as_theory_says(view, monkeypatch):
    """The variance of v^T H v is twice the squared sum of what is off the diagonal of H."""
    monkeypatch.setattr(curvature, "_PROBES", 200)
    monkeypatch.setattr(curvature, "_IMAGES_OF_A_PROBE", 40)
    exact_ones = torch.stack([hessian(view, row) for row in range(6)])
    diagonals = exact_ones.diagonal(dim1=1, dim2=2)
    variances = 2 * (exact_ones.square().sum((1, 2)) - diagonals.square().sum(1)) / 200
    scores = (torch.from_numpy(run("hessian-trace", view).values) - diagonals.sum(1)) / variances.sqrt()
    assert scores.abs().max() < 4
    assert 0.3 < scores.square().mean().sqrt() < 2


@pytest.mark.parametrize("name", ["fisher-trace", "empirical-fisher-trace"])
def test_fisher_traces_converge_to_sums_over_images_and_classes(view, monkeypatch, name):
    monkeypatch.setattr(curvature, "_PROBES", 800)
    truth = []
    for row in range(6):
        logits, flat, labels = exact(view, row)
        # [images, classes, P]: the gradient of each log probability
        scores = (
            torch.autograd.functional.jacobian(lambda at, f=logits: f(at).log_softmax(1), flat, vectorize=True)
            .square()
            .sum(2)
        )
        chances = logits(flat).softmax(1) if name == "fisher-trace" else F.one_hot(labels, 3)
        truth.append((chances * scores).sum(1).mean().item())
    np.testing.assert_allclose(run(name, view).values, truth, rtol=0.1)


@pytest.mark.parametrize("name", ["hessian-trace", "fisher-trace", "empirical-fisher-trace"])
def test_traces_of_softmax_regression(draw_stack, make_view, monkeypatch, name):
    """The Hessian is mean (diag p - p p^T) x (1, x)(1, x)^T, whatever the labels, and so is the Fisher matrix."""
    monkeypatch.setattr(curvature, "_PROBES", 2000)
    view, truth = make_view([draw_stack(SOFTMAX_REGRESSION, 5)]), []
    for row in range(5):
        weight, bias = (view.stacks[0].parameters[f"linear1.{kind}"][row].double() for kind in ("weight", "bias"))
        train = view.train
        indices = training_subset(int(train.subset_seed[row]), int(train.subset_size[row]), 40)
        x, y = scaled(train.images[indices], torch.float64).flatten(1), F.one_hot(train.labels[indices], 3)
        p = (x @ weight.T + bias).softmax(1)
        outer = (p - y).square().sum(1) if name.startswith("empirical") else 1 - p.square().sum(1)
        truth.append((outer * (1 + x.square().sum(1))).mean().item())
    np.testing.assert_allclose(run(name, view).values, truth, rtol=0.05)


def test_a_trace_of_few_probes_says_so(view, monkeypatch):
    monkeypatch.setattr(curvature, "_PROBES", 4)
    remarks = run("hessian-trace", view).remarks
    assert set(remarks.values()) == {"the standard error of the estimate is above 20 % of the value"}


def three_weights(*weights: float) -> Stack:
    """Logits are weights times one pixel. Biases are 0, so that no relative change moves them."""
    parameters = {"linear1.weight": torch.tensor(weights).view(1, 3, 1), "linear1.bias": torch.zeros(1, 3)}
    return Stack(Architecture((1, 1, 1), (Linear(3),)), parameters, np.arange(1))


def heights(view, normalized: bool, changes: torch.Tensor) -> torch.Tensor:
    """The loss at w (1 + change), for changes [K, 3]."""
    weights, train = view.stacks[0].parameters["linear1.weight"][0, :, 0].double(), view.train
    indices = training_subset(int(train.subset_seed[0]), int(train.subset_size[0]), 40)
    x = scaled(train.images[indices], torch.float64).flatten()
    logits = x[:, None] * (weights * (1 + changes))[:, None]
    if normalized:
        logits = logits - logits.mean(2, keepdim=True)
        logits = logits / logits.square().sum(2, keepdim=True).sqrt()
    labels = train.labels[indices].expand(len(changes), -1)
    return -logits.log_softmax(2).gather(2, labels[..., None])[..., 0].mean(1)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("weights", [(2.0, -1.0, 0.5), (0.3, 0.2, 3.0)])
def test_worst_sharpness_against_a_grid(make_view, monkeypatch, weights, normalized):
    monkeypatch.setattr(curvature, "_RHO_WORST", 0.5)
    view = make_view([three_weights(*weights)])
    side = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)
    rise = heights(view, normalized, torch.cartesian_prod(side, side, side)).max()
    rise = rise - heights(view, normalized, torch.zeros(1, 3))[0]
    result = run("adaptive-sharpness-worst" + "-normalized" * normalized, view)
    assert result.values[0] == pytest.approx(rise.item(), rel=1e-3)


def test_worst_sharpness_to_first_order(view, monkeypatch):
    """rho sum_i |w_i g_i| for small rho."""
    monkeypatch.setattr(curvature, "_RHO_WORST", 1e-5)
    truth = []
    for row in range(6):
        logits, flat, labels = exact(view, row)
        slope = torch.autograd.grad(F.cross_entropy(logits(flat.requires_grad_()), labels), flat)[0]
        truth.append(1e-5 * (slope * flat).abs().sum().item())
    np.testing.assert_allclose(run("adaptive-sharpness-worst", view).values, truth, rtol=2e-2)


@pytest.mark.parametrize("normalized", [False, True])
def test_average_sharpness_converges_to_quadrature(make_view, monkeypatch, normalized):
    monkeypatch.setattr(curvature, "_RHO_AVERAGE", 0.3)
    monkeypatch.setattr(curvature, "_DRAWS", 1000)
    view = make_view([three_weights(2.0, -1.0, 0.5)])
    nodes, shares = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(25))
    changes, share = 0.3 * torch.cartesian_prod(nodes, nodes, nodes), torch.cartesian_prod(shares, shares, shares)
    share = share.prod(1) / share.prod(1).sum()
    truth = (share * heights(view, normalized, changes)).sum() - heights(view, normalized, torch.zeros(1, 3))[0]
    result = run("adaptive-sharpness-average" + "-normalized" * normalized, view)
    assert result.values[0] == pytest.approx(truth.item(), rel=0.1)


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_larger_logits_change_sharpness_unless_it_is_normalized(view, kind):
    names = [f"adaptive-sharpness-{kind}", f"adaptive-sharpness-{kind}-normalized"]
    before = [run(name, view).values for name in names]
    for stack in view.stacks:
        stack.parameters["linear1.weight"] *= 2
        stack.parameters["linear1.bias"] *= 2
    after = [run(name, view).values for name in names]
    np.testing.assert_allclose(after[1], before[1], rtol=1e-4)
    assert not np.isclose(after[0], before[0], rtol=0.05).any()


@pytest.mark.parametrize("name", ALL)
def test_a_perfect_fit_has_a_small_value_and_not_0(draw_stack, make_view, name):
    """A bias of 20 for the class of all images leaves a cross-entropy of about 4e-9, which float32 rounds to 0."""
    stack = small(draw_stack(SOFTMAX_REGRESSION, 3))
    stack.parameters["linear1.bias"][:, 0] += 20
    values = run(name, make_view([stack], labels=torch.zeros(40, dtype=torch.int64))).values
    assert (values != 0).all()
    if not name.endswith("normalized"):
        assert (values < 1e-6).all()


@pytest.mark.parametrize("name", ALL)
def test_norms_are_folded_first(draw_stack, make_view, name):
    layers = Conv(3, 3, 2), Norm(), Activation("relu"), GlobalAveragePool(), Linear(3)
    architecture = Architecture((1, 6, 6), layers)
    stream = torch.Generator().manual_seed(0)
    parameters = {k: torch.rand(3, *shape, generator=stream) + 0.1 for k, shape in architecture.tensors.items()}
    stack = Stack(architecture, parameters, np.arange(3))
    whole, bare = (run(name, make_view([some])).values for some in (stack, folded(stack)))
    np.testing.assert_array_equal(whole, bare)


@pytest.mark.parametrize("name", ALL)
def test_not_defined_where_a_norm_cannot_be_folded(make_view, name):
    architecture = Architecture((1, 6, 6), (Norm(), GlobalAveragePool(), Linear(3)))
    parameters = {k: torch.ones(2, *shape) for k, shape in architecture.tensors.items()}
    (result,) = compute(make_view([Stack(architecture, parameters, np.arange(2))]), [ALL[name]]).values()
    assert np.isnan(result.values).all()
    assert all("norm that cannot be folded" in reason for reason in result.reasons.values())
    assert result.log == ""
