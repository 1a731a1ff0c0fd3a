import numpy as np
import pytest
import scipy.stats

from benchmark.scoring import ScoreError, precision
from benchmark.scoring.precision import tau_to_exact


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.2, 0.5, 1.0, 3.0])
def test_it_is_the_tau_to_values_without_error(spread):
    """Errors of different sizes: the mean of ten repeats against scipy's tau to the true values."""
    differences = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        true, errors = rng.standard_normal(300), spread * rng.uniform(0.5, 1.5, 300)
        values = true + errors * rng.standard_normal(300)
        differences.append(tau_to_exact(values, errors) - scipy.stats.kendalltau(true, values).statistic)
    assert np.mean(differences) == pytest.approx(0, abs=0.006 if spread < 0.5 else 0.03)


def test_a_pair_by_hand():
    """The values' variance is 25, so t^2 = 2 (25 - 12.5) = 25 = s^2, r = 1/2, and Phi(10 sqrt(1/2) / 5) = .92135."""
    assert tau_to_exact(np.array([0, 10.0]), np.array([3.0, 4])) == pytest.approx(2 * 0.92135039647 - 1)


def test_values_that_are_known_keep_their_order_and_their_ties():
    assert tau_to_exact(np.array([1.0, 1, 2]), np.zeros(3)) == 1
    assert tau_to_exact(np.array([1.0, 1]), np.array([0, 0.1])) == 0


def test_parts_of_the_pairs_give_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    values, errors = rng.standard_normal(50), rng.uniform(0, 0.5, 50)
    whole = tau_to_exact(values, errors)
    monkeypatch.setattr(precision, "_PAIRS_AT_A_TIME", 120)
    assert tau_to_exact(values, errors) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "errors", "words"),
    [
        ([1.0, 1], [0.0, 0], "no two values differ or have errors"),
        ([1.0, 2], [0.0], "expected .2,., from 0 on"),
        ([1.0, 2], [0.0, -1], "from 0 on"),
        ([1.0, np.nan], [0.0, 0], "values"),
    ],
)
def test_bad_input_is_refused(values, errors, words):
    with pytest.raises(ScoreError, match=words):
        tau_to_exact(np.array(values), np.array(errors))
