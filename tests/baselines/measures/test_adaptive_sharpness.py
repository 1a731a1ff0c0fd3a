"""Adaptive sharpness against grids, quadrature and first order."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.measures import adaptive_sharpness
from baselines.measures.compute import compute
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Architecture, Linear
from zoo_builder.networks.stack import Stack
from zoo_builder.training.settings import training_subset

ALL = {measure.name: measure for measure in adaptive_sharpness.MEASURES}


def run(name: str, view):
    (result,) = compute(view, [ALL[name]]).values()
    assert (result.reasons, result.log) == ({}, "")
    return result


def three_weights(*weights: float) -> Stack:
    """Logits are weights times one pixel. Biases are 0, so that no relative change moves them."""
    parameters = {"linear1.weight": torch.tensor(weights).view(1, 3, 1), "linear1.bias": torch.zeros(1, 3)}
    return Stack(Architecture((1, 1, 1), (Linear(3),)), parameters, np.arange(1))


def losses(view, normalized: bool, changes: torch.Tensor) -> torch.Tensor:
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
    monkeypatch.setattr(adaptive_sharpness, "RHO_WORST", 0.5)
    view = make_view([three_weights(*weights)])
    side = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)
    rise = losses(view, normalized, torch.cartesian_prod(side, side, side)).max()
    rise = rise - losses(view, normalized, torch.zeros(1, 3))[0]
    result = run("adaptive-sharpness-worst" + "-normalized" * normalized, view)
    assert result.values[0] == pytest.approx(rise.item(), rel=1e-3)


def test_worst_sharpness_to_first_order(unsaturated_view, monkeypatch, exact):
    """rho sum_i |w_i g_i| for small rho."""
    monkeypatch.setattr(adaptive_sharpness, "RHO_WORST", 1e-5)
    truth = []
    for row in range(6):
        logits, flat, labels = exact(unsaturated_view, row)
        gradient = torch.autograd.grad(F.cross_entropy(logits(flat.requires_grad_()), labels), flat)[0]
        truth.append(1e-5 * (gradient * flat).abs().sum().item())
    np.testing.assert_allclose(run("adaptive-sharpness-worst", unsaturated_view).values, truth, rtol=2e-2)


@pytest.mark.parametrize("normalized", [False, True])
def test_average_sharpness_converges_to_quadrature(make_view, monkeypatch, normalized):
    monkeypatch.setattr(adaptive_sharpness, "RHO_AVERAGE", 0.3)
    monkeypatch.setattr(adaptive_sharpness, "DRAWS", 1000)
    view = make_view([three_weights(2.0, -1.0, 0.5)])
    nodes, shares = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(25))
    changes, share = 0.3 * torch.cartesian_prod(nodes, nodes, nodes), torch.cartesian_prod(shares, shares, shares)
    share = share.prod(1) / share.prod(1).sum()
    truth = (share * losses(view, normalized, changes)).sum() - losses(view, normalized, torch.zeros(1, 3))[0]
    result = run("adaptive-sharpness-average" + "-normalized" * normalized, view)
    assert result.values[0] == pytest.approx(truth.item(), rel=0.1)


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_larger_logits_change_sharpness_unless_it_is_normalized(unsaturated_view, kind):
    names = [f"adaptive-sharpness-{kind}", f"adaptive-sharpness-{kind}-normalized"]
    before = [run(name, unsaturated_view).values for name in names]
    for stack in unsaturated_view.stacks:
        stack.parameters["linear1.weight"] *= 2
        stack.parameters["linear1.bias"] *= 2
    after = [run(name, unsaturated_view).values for name in names]
    np.testing.assert_allclose(after[1], before[1], rtol=1e-4)
    assert not np.isclose(after[0], before[0], rtol=0.05).any()
