"""Curvatures against exact Hessians and Fisher matrices in float64."""

from typing import cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.measures import curvature
from baselines.measures.compute import compute
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Activation, Architecture, Conv, Linear, MaxPool, Residual
from zoo_builder.training.settings import training_subset

ALL = {measure.name: measure for measure in curvature.MEASURES}


SOFTMAX_REGRESSION = Architecture((2, 1, 1), (Linear(3),))


def run(name: str, view):
    (result,) = compute(view, [ALL[name]]).values()
    assert (result.reasons, result.log) == ({}, "")
    return result


@pytest.fixture
def hessian(exact):
    """hessian(view, row): the exact Hessian of one model's training loss, float64 [P, P]."""

    def get(view, row: int) -> torch.Tensor:
        logits, flat, labels = exact(view, row)
        found = torch.autograd.functional.hessian(lambda at: F.cross_entropy(logits(at), labels), flat, vectorize=True)
        return cast(torch.Tensor, found)

    return get


def test_top_eigenvalue_against_exact_hessians(unsaturated_view, hessian):
    result = run("hessian-top-eigenvalue", unsaturated_view)
    truth = [torch.linalg.eigvalsh(hessian(unsaturated_view, row))[-1].item() for row in range(6)]
    np.testing.assert_allclose(result.values, truth, rtol=2e-3)
    assert result.remarks == {}


def test_top_eigenvalue_is_the_largest_where_a_negative_one_is_larger_in_magnitude(
    draw_stack, make_view, tanh_network, hessian
):
    """Wrong labels for a confident network."""
    view = make_view([draw_stack(tanh_network, 8)])
    result = run("hessian-top-eigenvalue", view)
    spectra = [torch.linalg.eigvalsh(hessian(view, row)) for row in range(8)]
    assert any(-spectrum[0] > spectrum[-1] for spectrum in spectra)
    np.testing.assert_allclose(result.values, [spectrum[-1].item() for spectrum in spectra], rtol=2e-2)


def test_an_iteration_that_is_cut_short_leaves_a_remark(unsaturated_view, monkeypatch):
    monkeypatch.setattr(curvature, "LANCZOS_STEPS", 1)
    result = run("hessian-top-eigenvalue", unsaturated_view)
    assert result.remarks == dict.fromkeys(range(6), "Lanczos iteration did not converge to 2 % in 1 steps")


def test_the_error_of_the_hessian_trace_has_its_theoretical_variance(unsaturated_view, monkeypatch, hessian):
    """The variance of v^T H v is twice the sum of the squared off-diagonal entries of H."""
    monkeypatch.setattr(curvature, "_is_piecewise_linear", lambda architecture: False)
    monkeypatch.setattr(curvature, "PROBES", 200)
    monkeypatch.setattr(curvature, "PROBE_CHUNK", 40)
    exact_ones = torch.stack([hessian(unsaturated_view, row) for row in range(6)])
    diagonals = exact_ones.diagonal(dim1=1, dim2=2)
    variances = 2 * (exact_ones.square().sum((1, 2)) - diagonals.square().sum(1)) / 200
    result = run("hessian-trace", unsaturated_view)
    np.testing.assert_allclose(result.errors, variances.sqrt(), rtol=0.25)
    scores = (torch.from_numpy(result.values) - diagonals.sum(1)) / variances.sqrt()
    assert scores.abs().max() < 4
    assert 0.3 < scores.square().mean().sqrt() < 2


@pytest.fixture
def residual_network():
    kinds = (Conv(3), Activation("leaky-relu"), Conv(3), Residual(2), Activation("relu"), MaxPool(2), Linear(3))
    return Architecture((1, 6, 6), kinds)


def test_of_relu_networks_the_traces_of_hessian_and_fisher_are_one_number(
    relu_network, tanh_network, residual_network, draw_stack, make_view, hessian, exact
):
    for network, equal in ((relu_network, True), (residual_network, True), (tanh_network, False)):
        view = make_view([draw_stack(network, 2)])
        logits, flat, _ = exact(view, 0)
        scores = torch.autograd.functional.jacobian(lambda at, f=logits: f(at).log_softmax(1), flat, vectorize=True)
        fisher = (logits(flat).softmax(1) * scores.square().sum(2)).sum(1).mean().item()
        trace = hessian(view, 0).diagonal().sum().item()
        assert (trace == pytest.approx(fisher, rel=1e-9)) == equal
        estimates = compute(view, [ALL["hessian-trace"], ALL["fisher-trace"]])
        same = np.array_equal(estimates["hessian-trace"].values, estimates["fisher-trace"].values)
        assert same == equal


@pytest.mark.parametrize("name", ["fisher-trace", "empirical-fisher-trace"])
def test_fisher_traces_converge_to_sums_over_images_and_classes(unsaturated_view, monkeypatch, exact, name):
    monkeypatch.setattr(curvature, "PROBES", 800)
    truth = []
    for row in range(6):
        logits, flat, labels = exact(unsaturated_view, row)
        # [images, classes, P]: the gradient of each log probability
        scores = (
            torch.autograd.functional.jacobian(lambda at, f=logits: f(at).log_softmax(1), flat, vectorize=True)
            .square()
            .sum(2)
        )
        chances = logits(flat).softmax(1) if name == "fisher-trace" else F.one_hot(labels, 3)
        truth.append((chances * scores).sum(1).mean().item())
    np.testing.assert_allclose(run(name, unsaturated_view).values, truth, rtol=0.1)


@pytest.mark.parametrize("name", ["hessian-trace", "fisher-trace", "empirical-fisher-trace"])
def test_traces_of_softmax_regression(draw_stack, make_view, monkeypatch, name):
    """The Hessian is mean (diag p - p p^T) x (1, x)(1, x)^T, for any labels, and so is the Fisher matrix."""
    monkeypatch.setattr(curvature, "PROBES", 2000)
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
