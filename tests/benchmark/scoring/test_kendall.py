import math
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmark.scoring import ScoreError
from benchmark.scoring.kendall import inversions, kendall_tau, tie_ceiling, tie_fraction


def brute_force(prediction, target):
    """Tau-b and the tied shares, pair by pair from the definition."""
    pairs = list(combinations(range(len(target)), 2))
    signs = [(np.sign(prediction[i] - prediction[j]), np.sign(target[i] - target[j])) for i, j in pairs]
    tied_prediction = sum(p == 0 for p, _ in signs)
    tied_target = sum(g == 0 for _, g in signs)
    scale = math.sqrt((len(pairs) - tied_prediction) * (len(pairs) - tied_target))
    tau = sum(p * g for p, g in signs) / scale if scale else 0.0
    return tau, tied_prediction / len(pairs), tied_target / len(pairs)


# Few distinct values, so that most tables have ties in prediction, target, and both.
tables = st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 4)), min_size=2, max_size=12)


@given(tables)
def test_equals_its_definition_pair_by_pair(table):
    prediction, target = np.array(table, dtype=float).T
    if np.ptp(target) == 0:
        with pytest.raises(ScoreError):
            kendall_tau(prediction, target)
        return
    tau = kendall_tau(prediction, target)
    assert (tau.value, tau.prediction_ties, tau.target_ties) == pytest.approx(
        brute_force(prediction, target), abs=1e-12
    )
    assert tau.flags == (("constant",) if np.ptp(prediction) == 0 else ())
    assert kendall_tau(-prediction, target).value == pytest.approx(-tau.value, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 63, 64, 65, 1000, 30_000])
@pytest.mark.parametrize("levels", [2, 50, 10**9])
def test_equals_scipy(n, levels):
    rng = np.random.default_rng(n + levels)
    target = rng.integers(levels, size=n)
    target[:2] = [0, 1]
    prediction = target // 2 + rng.integers(levels, size=n)
    prediction[:2] = [0, 1]
    expected = scipy.stats.kendalltau(prediction, target, variant="b").statistic
    assert kendall_tau(prediction, target).value == pytest.approx(expected, abs=1e-12)


@given(st.permutations(range(20)))
def test_inversions_by_counting(ranks):
    assert inversions(np.array(ranks)) == sum(a > b for a, b in combinations(ranks, 2))


def test_by_hand():
    # Of the six pairs the prediction orders (0,1), (0,2), (0,3) rightly and (1,3) wrongly; it is tied on (2,3), and the
    # target on (1,2).
    tau = kendall_tau(np.array([1, 3, 2, 2]), np.array([1, 2, 2, 4]))
    assert tau.value == pytest.approx((3 - 1) / math.sqrt(5 * 5), abs=1e-15)
    assert (tau.prediction_ties, tau.target_ties) == (1 / 6, 1 / 6)


def test_the_extremes_are_exact():
    target = np.random.default_rng(0).integers(1000, size=100_000)
    assert kendall_tau(target, target).value == 1.0
    assert kendall_tau(-target, target).value == -1.0


def test_a_constant_prediction_scores_zero_with_a_flag():
    tau = kendall_tau(np.full(5, 0.3), np.arange(5))
    assert (tau.value, tau.prediction_ties, tau.flags) == (0.0, 1.0, ("constant",))


def test_tie_ceiling_is_what_a_prediction_without_ties_can_reach():
    target = np.repeat([0.1, 0.5, 0.6], [7, 2, 1])
    assert tie_fraction(target) == pytest.approx((21 + 1) / 45)
    best_without_ties = target + 1e-3 * np.arange(10)
    assert kendall_tau(best_without_ties, target).value == pytest.approx(tie_ceiling(target), abs=1e-12)
    assert kendall_tau(target, target).value == 1.0  # tied where the target is: above the ceiling


@pytest.mark.parametrize(
    ("prediction", "target", "words"),
    [
        ([1.0], [2.0], "there are 1 models; give at least 2"),
        ([], [], "there are 0 models"),
        ([1, 2, 3], [4, 4, 4], "target is 4.0 for all 3 models"),
        ([1, np.nan, 3], [1, 2, 3], "prediction: 1 of 3 values are NaN or infinite, the first is nan at position 1"),
        ([1, 2, 3], [1, 2, np.inf], "target: 1 of 3 values are NaN or infinite, the first is inf at position 2"),
        ([1, 2, 3], [1, 2], "3 predictions for 2 targets"),
        ([[1, 2]], [1, 2], "one value per model, got an array of shape"),
    ],
)
def test_what_has_no_tau_is_an_error(prediction, target, words):
    with pytest.raises(ScoreError, match=words):
        kendall_tau(np.array(prediction), np.array(target))


def test_ties_of_one_model_are_an_error():
    with pytest.raises(ScoreError, match="at least 2"):
        tie_fraction(np.array([1.0]))
