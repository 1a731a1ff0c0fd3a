import math

import numpy as np
import pytest

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import bootstrap_tau, interval, resample
from benchmark.scoring.comparison import models_needed, rank_intervals
from benchmark.scoring.kendall import kendall_tau


def taus(predictions, target):
    return np.array([kendall_tau(prediction, target).value for prediction in predictions])


def test_ranks_by_hand(ranks_of_scores):
    """Two methods that swap places from draw to draw, far above a third that always scores the same."""
    draws = np.array([[8.0, 9.0, 10.0, 9.0], [9.0, 8.0, 9.0, 10.0], [1.0, 1.0, 1.0, 1.0]])
    assert ranks_of_scores(np.array([9.0, 9.1, 1.0]), draws) == [(1, 2), (1, 2), (3, 3)]
    third = np.array([[0], [0], [1]])
    # In each draw one of the two is 1 off its mean, in standard errors sqrt(2): the third is told apart from there on.
    assert ranks_of_scores(np.array([9.0, 9.0, 8.01]), draws + third * 7.01) == [(1, 3), (1, 3), (1, 3)]
    assert ranks_of_scores(np.array([9.0, 9.0, 7.99]), draws + third * 6.99) == [(1, 2), (1, 2), (3, 3)]


def test_equal_methods_share_all_ranks_and_a_fixed_difference_separates(ranks_of_scores):
    draw = np.random.default_rng(0).random(50)
    assert ranks_of_scores(np.array([0.5, 0.5, 0.4]), np.stack([draw, draw, draw - 0.1])) == [(1, 2), (1, 2), (3, 3)]
    assert ranks_of_scores(np.array([0.5]), draw[None]) == [(1, 1)]
    assert ranks_of_scores(np.array([]), np.zeros((0, 50))) == []


def test_draws_and_differences_that_are_nan(ranks_of_scores):
    draws = np.array([[1, 2, 3, math.nan], [0, 1, 2, 3]]).astype(float)
    assert ranks_of_scores(np.array([2.0, 1.0]), draws) == [(1, 1), (2, 2)]
    # 0 beats 1, and 2 has nothing in common with either.
    differences, draws = np.array([1, math.nan, math.nan]), np.array([[1, 1.1], [math.nan] * 2, [math.nan] * 2])
    assert rank_intervals(3, differences, draws) == [(1, 2), (2, 3), (1, 3)]
    assert rank_intervals(2, np.array([math.nan]), np.full((1, 3), math.nan)) == [(1, 2), (1, 2)]


def test_rank_intervals_hold_all_true_ranks_at_once(ranks_of_scores):
    """Six methods, three of them equal, in 300 repeats: at a true rate of 95 %, 30 failures are 4 sigma off."""
    rng = np.random.default_rng(0)
    noise = np.array([0.3, 0.8, 1.0, 1.0, 1.0, 4.0])
    better = (noise[:, None] > noise).sum(axis=1)
    tied = (noise[:, None] == noise).sum(axis=1)
    failures = informative = 0
    for repeat in range(300):
        target = rng.standard_normal(150)
        predictions = target + noise[:, None] * rng.standard_normal((6, 150))
        intervals = ranks_of_scores(
            taus(predictions, target), bootstrap_tau(predictions, target, resample(150, draws=300, seed=repeat))
        )
        failures += any(low > 1 + b or high < b + t for (low, high), b, t in zip(intervals, better, tied, strict=True))
        informative += intervals[0][1] < 6 and intervals[5] == (6, 6)
    assert failures <= 30
    assert informative >= 270


@pytest.mark.parametrize("shapes", [((2,), (3, 5)), ((3,), (2, 5)), ((3,), (3,))])
def test_shapes_that_do_not_fit(shapes):
    with pytest.raises(ScoreError, match="3 methods have 3 differences"):
        rank_intervals(3, *map(np.zeros, shapes))


def test_too_few_draws(ranks_of_scores):
    with pytest.raises(ScoreError, match="1 draws in which all differences are defined"):
        ranks_of_scores(np.array([1.0, 2.0]), np.array([[1.0, math.nan], [1.0, 2.0]]))
    with pytest.raises(ScoreError, match="of 1 draws"):
        models_needed(0.1, np.array([0.1, math.nan]), 100)


def test_models_needed_by_hand():
    draws = np.array([-1.0, 1.0, -1.0, 1.0])  # a standard error of 1
    assert models_needed(0.5, draws, 100) == math.ceil(100 * (2 * (1.959964 + 0.841621)) ** 2)
    assert models_needed(-0.5, draws, 100, power=0.5) == math.ceil(100 * (2 * 1.959964) ** 2)
    assert models_needed(0, draws, 100) is None
    assert models_needed(0.3, 0 * draws, 100) == 2


def test_at_the_number_it_says_four_of_five_repeats_separate():
    """From a first table of twice as many models as needed, so that its difference is close to the truth."""
    rng = np.random.default_rng(1)
    noise = np.array([[0.7], [1.0]])

    def table(n):
        target = rng.standard_normal(n)
        return target + noise * rng.standard_normal((2, n)), target

    # The true difference of two normal methods, from a correlation of 1 / sqrt(1 + noise^2).
    good, bad = 2 / math.pi * np.arcsin(1 / np.sqrt(1 + noise[:, 0] ** 2))
    first = bootstrap_tau(*table(400), resample(400, draws=1000))
    needed = models_needed(good - bad, first[0] - first[1], 400)
    assert needed in range(100, 400)
    separated = 0
    for repeat in range(300):
        draws = bootstrap_tau(*table(needed), resample(needed, draws=300, seed=repeat))
        separated += interval(draws[0] - draws[1]).low > 0
    assert separated / 300 == pytest.approx(0.8, abs=0.1)  # 3 sigma are 7 points, and the pilot's error moves it too
