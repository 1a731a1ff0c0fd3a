"""Sharpness measures against their formulas."""

from math import log

import pytest


@pytest.mark.parametrize("model", range(4))
def test_formulas_term_by_term(tolerances, weights_of, model):
    view, values = tolerances
    w, w0 = weights_of(view.stacks[0], model), weights_of(view.initial[0], model)
    m, omega = int(view.train.subset_size[model]), len(w)
    alpha = values["sharpness-flatness"][model] ** -0.5
    for kind, square in (
        ("init", sum((a - b) ** 2 for a, b in zip(w, w0, strict=True))),
        ("orig", sum(a**2 for a in w)),
    ):
        truth = square * log(2 * omega) / (4 * alpha**2) + log(m / alpha) + 10
        assert values[f"sharpness-{kind}"][model] == pytest.approx(truth, rel=1e-9)
