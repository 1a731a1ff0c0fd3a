"""PAC-Bayes, sharpness and magnitude-aware measures against their formulas term by term."""

from math import log

import numpy as np
import pytest

from baselines.measures import magnitude_aware, pac_bayes, sharpness
from baselines.measures.compute import compute

MEASURES = (*pac_bayes.MEASURES, *sharpness.MEASURES, *magnitude_aware.MEASURES)


@pytest.mark.parametrize("model", range(4))
def test_formulas_term_by_term(tolerances, weights_of, model):
    view, values = tolerances
    value = {name: column[model] for name, column in values.items()}
    w, w0 = weights_of(view.stacks[0], model), weights_of(view.initial[0], model)
    m, omega, eps = int(view.train.subset_size[model]), len(w), 1e-3
    assert value["pac-bayes-flatness"] < 1e12
    sigma, alpha, sigma_mag, alpha_mag = (
        value[f"{name}-flatness"] ** -0.5 for name in ("pac-bayes", "sharpness", "pac-bayes-mag", "sharpness-mag")
    )
    for kind, displacement in (("init", [a - b for a, b in zip(w, w0, strict=True)]), ("orig", w)):
        square = sum(d * d for d in displacement)
        truth = {
            "pac-bayes": square / (4 * sigma**2) + log(m / sigma) + 10,
            "sharpness": square * log(2 * omega) / (4 * alpha**2) + log(m / alpha) + 10,
            "pac-bayes-mag": 10 + log(m / sigma_mag),
            "sharpness-mag": 10 + log(m / alpha_mag),
        }
        for d in displacement:
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


def test_a_zoo_without_initializations_has_the_other_measures(relu_network, draw_stack, make_view):
    results = compute(make_view([draw_stack(relu_network, 2)]), MEASURES)
    for name, result in results.items():
        assert np.isfinite(result.values).all() == (not name.endswith(("init", "mixed")))
        if name.endswith(("init", "mixed")):
            assert set(result.reasons.values()) == {
                "the zoo has no epoch-0 checkpoints, so the initialization is unknown"
            }
