"""PAC-Bayes, sharpness and magnitude-aware measures against their formulas term by term and a minimized divergence."""

from math import exp, log

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.distributions import Normal, kl_divergence

from baselines.measures import magnitude_aware, pac_bayes, sharpness
from baselines.measures import perturbations as searches
from baselines.measures.compute import compute
from zoo_builder.networks.stack import Stack

MEASURES = (*pac_bayes.MEASURES, *sharpness.MEASURES, *magnitude_aware.MEASURES)


@pytest.fixture(scope="module")
def computed(relu_network, draw_stack, make_view):
    """The view and the values of all measures; the images are of class 0, which a large bias makes right."""
    stack, initial = draw_stack(relu_network, 4), draw_stack(relu_network, 4, seed=1)
    stack.parameters["linear1.bias"][:, 0] += 30
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64), initial=[initial])
    results = compute(view, MEASURES)
    assert all((result.log, result.reasons) == ("", {}) for result in results.values())
    return view, {name: result.values for name, result in results.items()}


def weights_of(stack: Stack, model: int) -> list[float]:
    return [x for value in stack.parameters.values() for x in value[model].double().flatten().tolist()]


@pytest.mark.parametrize("model", range(4))
def test_formulas_term_by_term(computed, model):
    view, values = computed
    value = {name: column[model] for name, column in values.items()}
    w, w0 = weights_of(view.stacks[0], model), weights_of(view.initial[0], model)
    m, omega, eps = int(view.train.subset_size[model]), len(w), 1e-3
    assert value["pac-bayes-flatness"] < 1e12
    sigma, alpha, sigma_mag, alpha_mag = (
        value[f"{name}-flatness"] ** -0.5 for name in ("pac-bayes", "sharpness", "pac-bayes-mag", "sharpness-mag")
    )
    for kind, way in (("init", [a - b for a, b in zip(w, w0, strict=True)]), ("orig", w)):
        square = sum(d * d for d in way)
        truth = {
            "pac-bayes": square / (4 * sigma**2) + log(m / sigma) + 10,
            "sharpness": square * log(2 * omega) / (4 * alpha**2) + log(m / alpha) + 10,
            "pac-bayes-mag": 10 + log(m / sigma_mag),
            "sharpness-mag": 10 + log(m / alpha_mag),
        }
        for d in way:
            above = eps**2 + (sigma_mag**2 + 1) * square / omega
            truth["pac-bayes-mag"] += 1 / 4 * log(above / (eps**2 + sigma_mag**2 * d**2))
            above = eps**2 + (alpha_mag**2 + 4 * log(2 * omega)) * square / omega
            truth["sharpness-mag"] += 1 / 4 * log(above / (eps**2 + alpha_mag**2 * d**2))
        if kind == "orig":
            truth["pac-bayes-mag-mixed"] = 10 + log(m / sigma_mag)
            for a, b in zip(w, w0, strict=True):
                truth["pac-bayes-mag-mixed"] += (
                    1 / 4 * log((eps**2 + (sigma_mag**2 + 1) * square / omega) / (eps**2 + sigma_mag**2 * (a - b) ** 2))
                )
        for name, expected in truth.items():
            assert value[name if name.endswith("mixed") else f"{name}-{kind}"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["pac-bayes-mag", "sharpness-mag"])
def test_magnitude_aware_bounds_hold_half_the_divergence_from_the_best_spherical_prior(computed, name):
    """Noise around the weights against a Gaussian around the initialization whose deviation is minimized over."""
    view, values = computed
    size = values[f"{name}-flatness"][0] ** -0.5
    w, w0 = (torch.tensor(weights_of(stack, 0)) for stack in (view.stacks[0], view.initial[0]))
    shrunk = 1 if name == "pac-bayes-mag" else 4 * log(2 * len(w))
    posterior = Normal(w, ((size**2 * (w - w0) ** 2 + searches.EPSILON**2) / shrunk).sqrt())
    best = minimize_scalar(
        lambda s: kl_divergence(posterior, Normal(w0, exp(s))).sum().item(), bounds=(-3, 3), method="bounded"
    )
    expected = best.fun / 2 + log(view.train.subset_size[0] / size) + 10
    assert values[f"{name}-init"][0] == pytest.approx(expected, rel=1e-4)


def test_a_zoo_without_initializations_has_the_other_measures(relu_network, draw_stack, make_view):
    results = compute(make_view([draw_stack(relu_network, 2)]), MEASURES)
    for name, result in results.items():
        assert np.isfinite(result.values).all() == (not name.endswith(("init", "mixed")))
        if name.endswith(("init", "mixed")):
            assert set(result.reasons.values()) == {
                "the zoo has no epoch-0 checkpoints, so the initialization is unknown"
            }
