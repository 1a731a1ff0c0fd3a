"""Magnitude-aware measures against their formulas term by term, and against a minimized divergence."""

from math import exp, log

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.distributions import Normal, kl_divergence

from baselines.measures.perturbations import EPSILON


@pytest.mark.parametrize("model", range(4))
def test_formulas_term_by_term(tolerances, weights_of, model):
    view, values = tolerances
    value = {name: column[model] for name, column in values.items()}
    w, w0 = weights_of(view.stacks[0], model), weights_of(view.initial[0], model)
    m, omega, eps = int(view.train.subset_size[model]), len(w), 1e-3
    change = [a - b for a, b in zip(w, w0, strict=True)]

    def truth(size: float, c: float, above: list[float], below: list[float]) -> float:
        prior = eps**2 + (size**2 + c) * sum(d * d for d in above) / omega
        terms = (log(prior / (eps**2 + size**2 * d**2)) for d in below)
        return 1 / 4 * sum(terms) + log(m / size) + 10

    sigma, alpha = (value[f"{name}-flatness"] ** -0.5 for name in ("pac-bayes-mag", "sharpness-mag"))
    for kind, d in (("init", change), ("orig", w)):
        assert value[f"pac-bayes-mag-{kind}"] == pytest.approx(truth(sigma, 1, d, d), rel=1e-9)
        assert value[f"sharpness-mag-{kind}"] == pytest.approx(truth(alpha, 4 * log(2 * omega), d, d), rel=1e-9)
    assert value["pac-bayes-mag-mixed"] == pytest.approx(truth(sigma, 1, w, change), rel=1e-9)


@pytest.mark.parametrize("name", ["pac-bayes-mag", "sharpness-mag"])
def test_bounds_contain_half_the_divergence_from_the_best_spherical_prior(tolerances, weights_of, name):
    """Noise around the weights against a Gaussian around the initialization with the best standard deviation."""
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
