"""Magnitude-aware measures against a minimized divergence."""

from math import exp, log

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.distributions import Normal, kl_divergence

from baselines.measures import magnitude_aware, pac_bayes, sharpness
from baselines.measures.perturbations import EPSILON

MEASURES = (*pac_bayes.MEASURES, *sharpness.MEASURES, *magnitude_aware.MEASURES)


@pytest.mark.parametrize("name", ["pac-bayes-mag", "sharpness-mag"])
def test_magnitude_aware_bounds_hold_half_the_divergence_from_the_best_spherical_prior(tolerances, weights_of, name):
    """Noise around the weights against a Gaussian around the initialization whose deviation is minimized over."""
    view, values = tolerances
    size = values[f"{name}-flatness"][0] ** -0.5
    w, w0 = (torch.tensor(weights_of(stack, 0)) for stack in (view.stacks[0], view.initial[0]))
    shrunk = 1 if name == "pac-bayes-mag" else 4 * log(2 * len(w))
    posterior = Normal(w, ((size**2 * (w - w0) ** 2 + EPSILON**2) / shrunk).sqrt())
    best = minimize_scalar(
        lambda s: kl_divergence(posterior, Normal(w0, exp(s))).sum().item(), bounds=(-3, 3), method="bounded"
    )
    expected = best.fun / 2 + log(view.train.subset_size[0] / size) + 10
    assert values[f"{name}-init"][0] == pytest.approx(expected, rel=1e-4)
