import math

import numpy as np
import pytest
import scipy.stats
from sklearn.ensemble import GradientBoostingRegressor

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import bootstrap_tau, resample
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import partial_tau, residuals
from benchmark.scoring.regression import folds_of


def linear(features, values, new):
    design, new = (np.column_stack([np.ones(len(each)), each]) for each in (features, new))
    return new @ np.linalg.lstsq(design, values, rcond=None)[0]


def mean(features, values, new):
    return np.full(len(new), values.mean())


def boosted(features, values, new):
    return GradientBoostingRegressor(n_estimators=50, random_state=0).fit(features, values).predict(new)


@pytest.fixture
def table():
    """Hyperparameters of 80 configurations with 2 seeds each, and what is left of the target beyond them."""
    rng = np.random.default_rng(0)
    return np.repeat(rng.random((80, 2)), 2, axis=0), rng.standard_normal(160)


def test_equals_a_loop_over_folds(table):
    hyperparameters, rest = table
    target = hyperparameters @ [3, -2] + rest
    prediction = rest + hyperparameters[:, 0]
    fold = folds_of(np.unique(hyperparameters, axis=0, return_inverse=True)[1], 5, seed=3)
    left = np.empty((2, 160))
    for number in range(5):
        test = fold == number
        for residual, values in zip(left, (prediction, target), strict=True):
            fitted = linear(hyperparameters[~test], values[~test], hyperparameters[test])
            residual[test] = values[test] - fitted
    expected = scipy.stats.kendalltau(*left).statistic
    (tau,) = partial_tau(prediction[None], target, hyperparameters, linear, folds=5, seed=3)
    assert tau.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("regressor", [linear, boosted])
def test_only_what_is_known_beyond_the_hyperparameters_counts(table, regressor):
    """One measure is the hyperparameters' part of the target plus noise, another is only the rest."""
    hyperparameters, rest = table
    grid_part = 5 * hyperparameters.sum(axis=1)
    target = grid_part + rest
    alike = grid_part + np.random.default_rng(1).standard_normal(160)
    assert kendall_tau(alike, target).value > 0.5 > kendall_tau(rest, target).value
    of_grid, of_rest = partial_tau(np.stack([alike, rest]), target, hyperparameters, regressor)
    assert abs(of_grid.value) < 0.15
    assert of_rest.value > 0.6


def test_both_are_residualized(table):
    """A prediction of the target itself has residuals of its own, equal to the target's."""
    hyperparameters, rest = table
    target = hyperparameters @ [3, -2] + rest
    same, opposite = partial_tau(np.stack([target, -target]), target, hyperparameters, linear)
    assert (same.value, opposite.value) == (1, -1)


@pytest.mark.parametrize("known", [np.array([0.0, 0.0]), np.array([0.3, -7.0])], ids=["constant", "linear"])
def test_a_prediction_that_is_explained_in_full_scores_zero_with_a_flag(table, known):
    hyperparameters, rest = table
    (tau,) = partial_tau((hyperparameters @ known + 0.1)[None], rest, hyperparameters, linear)
    assert (tau.value, tau.flags) == (0, ("constant",))


def test_the_residuals_are_what_is_resampled(table):
    """A draw's partial tau is the tau of residuals that were computed once, on the whole table."""
    hyperparameters, rest = table
    target, prediction = hyperparameters @ [3, -2] + rest, rest + hyperparameters[:, 0]
    fold = folds_of(np.unique(hyperparameters, axis=0, return_inverse=True)[1], seed=0)
    left = np.empty((2, 160))
    for test in (fold == number for number in range(10)):
        for residual, values in zip(left, (prediction, target), strict=True):
            residual[test] = values[test] - linear(hyperparameters[~test], values[~test], hyperparameters[test])
    clusters = np.repeat(np.arange(80), 2)
    (draws,) = bootstrap_tau(
        *residuals(prediction[None], target, hyperparameters, linear), resample(len(target), clusters, draws=20)
    )
    for draw, counts in zip(draws, resample(160, clusters, draws=20).T, strict=True):
        expected = scipy.stats.kendalltau(*(np.repeat(each, counts) for each in left)).statistic
        assert draw == pytest.approx(expected, abs=1e-12)


def test_a_constant_regressor_without_a_fold_effect_leaves_tau(table):
    hyperparameters, rest = table
    (tau,) = partial_tau(-rest[None], rest, hyperparameters, lambda f, v, new: np.zeros(len(new)))
    assert tau == kendall_tau(-rest, rest)


GRID = np.arange(4.0)[:, None]


@pytest.mark.parametrize(
    ("predictions", "target", "hyperparameters", "regressor", "words"),
    [
        ([[1]], [1], [[1]], mean, "the target is 1.0 for all 1 models"),
        ([[]], [], np.zeros((0, 1)), mean, "0 configurations in 2 folds"),
        ([[1, 2, 3, 4]], [5, 5, 5, 5], GRID, mean, "target is 5.0 for all 4 models"),
        ([[1, 2, math.nan, 4]], [1, 2, 3, 5], GRID, linear, "prediction: 1 of 4 values are NaN"),
        ([[1, 2, 3, 4]], [1, 2, 3, math.inf], GRID, linear, "target: 1 of 4"),
        ([[1, 2, 3]], [1, 2, 3, 5], GRID, linear, r"have shape \[E, 4\], got \[1, 3\]"),
        ([1, 2, 3, 4], [1, 2, 3, 5], GRID, linear, r"have shape \[E, 4\], got \[4\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], GRID[:3], linear, r"hyperparameters of 4 models have shape \[4, F\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], 0 * GRID, linear, "1 configurations in 2 folds"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], np.nan * GRID, linear, "hyperparameters, column 0: 4 of 4"),
        ([[1, 2, 3, 4]], [1, 2, 3, 4], GRID, linear, "explains the target completely"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], GRID, lambda f, v, new: v[:1], "returned 1 predictions for 2 models"),
        ([[1, 2, 3, 4]], [1, 2, 3, 5], GRID, lambda f, v, new: new[:, 0] * np.nan, "regressor's predictions: 2 of 2"),
    ],
)
def test_what_has_no_score_is_an_error(predictions, target, hyperparameters, regressor, words):
    with pytest.raises(ScoreError, match=words):
        partial_tau(np.array(predictions), np.array(target), np.array(hyperparameters), regressor, folds=2)
