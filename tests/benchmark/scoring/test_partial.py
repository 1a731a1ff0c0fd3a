"""Partial tau: its definition, what leaves it unchanged, and worlds in which the answer is known."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import bootstrap_tau, interval, resample
from benchmark.scoring.gaussian_process import predicted_without_own
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import partial_tau, residuals

CONFIGURATIONS = np.repeat(np.arange(80), 2)


@pytest.fixture(scope="module")
def table():
    """Hyperparameters of 80 configurations with 2 seeds each, and what is left of the target beyond them."""
    rng = np.random.default_rng(0)
    return np.repeat(rng.random((80, 2)), 2, axis=0), rng.standard_normal(160)


def beyond(values: np.ndarray, hyperparameters: np.ndarray) -> np.ndarray:
    ranks = scipy.stats.rankdata(values)
    return np.round(ranks - predicted_without_own(ranks, hyperparameters, CONFIGURATIONS), 5)


def test_it_is_the_tau_of_residual_ranks(table) -> None:
    hyperparameters, rest = table
    target = hyperparameters @ [3, -2] + rest
    prediction = rest + hyperparameters[:, 0]
    (tau,) = partial_tau(prediction[None], target, hyperparameters)
    expected = scipy.stats.kendalltau(beyond(prediction, hyperparameters), beyond(target, hyperparameters)).statistic
    assert tau.value == pytest.approx(expected, abs=1e-12)


def test_only_what_is_known_beyond_the_hyperparameters_counts(table) -> None:
    """One measure is the hyperparameters' part of the target plus noise, another is only the rest."""
    hyperparameters, rest = table
    grid_part = 5 * hyperparameters.sum(axis=1)
    target = grid_part + rest
    alike = grid_part + np.random.default_rng(1).standard_normal(160)
    assert kendall_tau(alike, target).value > 0.5 > kendall_tau(rest, target).value
    of_grid, of_rest = partial_tau(np.stack([alike, rest]), target, hyperparameters)
    assert abs(of_grid.value) < 0.15
    assert of_rest.value > 0.6


@given(
    st.sampled_from([np.exp, np.cbrt, np.arctan, lambda values: 1000 * values - 5, lambda values: values**3]),
    st.sampled_from([np.exp, np.cbrt, np.arctan, lambda values: values / 7, lambda values: values**5]),
)
def test_increasing_transformations_change_nothing(table, of_prediction, of_target) -> None:
    hyperparameters, rest = table
    target, prediction = hyperparameters @ [3, -2] + rest, rest + hyperparameters[:, 0]
    (tau,) = partial_tau(prediction[None], target, hyperparameters)
    assert partial_tau(of_prediction(prediction)[None], of_target(target), hyperparameters) == [tau]


def test_the_order_of_the_models_changes_nothing(table) -> None:
    """Nor are seeds that a measure cannot tell apart ordered by rounding errors."""
    hyperparameters, rest = table
    predictions = np.stack([hyperparameters[:, 0] ** 2, rest + hyperparameters[:, 0]])
    expected = partial_tau(predictions, rest, hyperparameters)
    assert expected[0].prediction_ties >= 80 / (160 * 159 / 2)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(160)
        for tau, again in zip(
            expected, partial_tau(predictions[:, order], rest[order], hyperparameters[order]), strict=True
        ):
            assert again.value == pytest.approx(tau.value, abs=1e-3)


def test_both_are_residualized(table) -> None:
    """A prediction of the target itself has residuals of its own, equal to the target's."""
    hyperparameters, rest = table
    target = hyperparameters @ [3, -2] + rest
    same, opposite = partial_tau(np.stack([target, -target]), target, hyperparameters)
    assert (same.value, opposite.value) == (1, -1)


def test_a_constant_prediction_scores_zero_with_a_flag(table) -> None:
    hyperparameters, rest = table
    (tau,) = partial_tau(np.full((1, 160), 0.1), rest, hyperparameters)
    assert (tau.value, tau.flags) == (0, ("constant",))


def test_the_residuals_are_what_is_resampled(table) -> None:
    """A draw's partial tau is the tau of residuals that were computed once, on the whole table."""
    hyperparameters, rest = table
    target, prediction = hyperparameters @ [3, -2] + rest, rest + hyperparameters[:, 0]
    left = [beyond(values, hyperparameters) for values in (prediction, target)]
    weights = resample(160, CONFIGURATIONS, draws=20)
    (draws,) = bootstrap_tau(*residuals(prediction[None], target, hyperparameters), weights)
    for draw, counts in zip(draws, weights.T, strict=True):
        expected = scipy.stats.kendalltau(*(np.repeat(each, counts) for each in left)).statistic
        assert draw == pytest.approx(expected, abs=1e-12)


def expected_target(x: np.ndarray) -> np.ndarray:
    """What the hyperparameters [n, 6] say of the target: bends, an interaction, and a step; learning rates diverge."""
    return np.sin(4 * x[:, 0]) * (0.5 + x[:, 1]) + np.abs(x[:, 2] - 0.4) + 0.5 * (x[:, 3] > 0.5) - (x[:, 0] > 0.9)


# Functions of the hyperparameters alone: smooth, with bends, in steps, of one or of several.
FUNCTIONS = {
    "linear": lambda x: x @ [1, 2, 0, 0, -1, 0.5],
    "product": lambda x: x[:, 0] * x[:, 1],
    "bent": lambda x: -np.abs(x[:, 0] - 0.6),
    "step": lambda x: (x[:, 0] > 0.5).astype(float),
    "steps": lambda x: np.floor(5 * x[:, 0]) * np.floor(3 * x[:, 4]),
    "wave": lambda x: np.cos(5 * x[:, 1]) + x[:, 5],
}


def simulated(function, repeats: int, noise: float, models: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Partial taus [repeats], and whether their intervals contain 0."""
    taus, hold = [], []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        x = rng.random((models, 6))
        truth = expected_target(x)
        target = truth + 0.3 * truth.std() * rng.standard_normal(models)
        values = function(x)
        values = values + noise * values.std() * rng.standard_normal(models)
        prediction, rest = residuals(values[None], target, x)
        taus.append(kendall_tau(prediction[0], rest).value)
        central = interval(bootstrap_tau(prediction, rest, resample(models, draws=400, seed=seed))[0])
        hold.append(central.low <= 0 <= central.high)
    return np.array(taus), np.array(hold)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_of_the_hyperparameters_score_zero(function, noise: float) -> None:
    taus, hold = simulated(function, 8, noise)
    assert abs(taus.mean()) < 3 * taus.std() / math.sqrt(8) + 0.02
    assert hold.sum() >= 6


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_intervals_of_functions_of_the_hyperparameters_hold_zero(function, noise: float) -> None:
    taus, hold = simulated(function, 300, noise)
    assert abs(taus.mean()) < 0.02
    assert 0.91 <= hold.mean() <= 0.98


def test_a_function_that_resembles_the_expected_target_scores_above_zero() -> None:
    """Why methods that are fitted to the target have no partial tau."""
    for noise in (0.0, 0.3):
        taus, _ = simulated(expected_target, 5, noise)
        assert 0.1 < taus.mean() < 0.4


GRID = np.arange(4.0)[:, None]


@pytest.mark.parametrize(
    ("predictions", "target", "hyperparameters", "words"),
    [
        ([[1]], [1], [[1]], "the target is 1.0 for all 1 models"),
        ([[]], [], np.zeros((0, 1)), "0 configurations: what the hyperparameters predict needs at least 2"),
        ([[1, 2, 3, 4]], [5, 5, 5, 5], GRID, "target is 5.0 for all 4 models"),
        ([[1, 2, math.nan, 4]], [1, 2, 3, 5], GRID, "prediction: 1 of 4 values are NaN"),
        ([[1, 2, 3, 4]], [1, 2, 3, math.inf], GRID, "target: 1 of 4"),
        ([[1, 2, 3]], [1, 2, 3, 5], GRID, r"have shape \[E, 4\], got \[1, 3\]"),
        ([1, 2, 3, 4], [1, 2, 3, 5], GRID, r"have shape \[E, 4\], got \[4\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], GRID[:3], r"hyperparameters of 4 models have shape \[4, F\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], 0 * GRID, "1 configurations: what"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], np.nan * GRID, "hyperparameters, column 0: 4 of 4"),
    ],
)
def test_what_has_no_score_is_an_error(predictions, target, hyperparameters, words) -> None:
    with pytest.raises(ScoreError, match=words):
        partial_tau(np.array(predictions), np.array(target), np.array(hyperparameters))
