import math

import numpy as np
import pytest

from benchmark.scoring.floors import NoiseFloor, random_measures
from benchmark.scoring.kendall import kendall_tau


def test_floor_of_tau_has_the_spread_that_theory_gives():
    """Without ties tau of independent rankings has variance 2 (2n + 5) / (9 n (n - 1)) and is close to normal."""
    n = 100
    target = np.random.default_rng(0).random(n)
    sigma = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    taus = np.array([kendall_tau(measure, target).value for measure in random_measures(np.arange(n), measures=2000)])
    floor = NoiseFloor.of(taus)
    assert floor.median == pytest.approx(0, abs=0.1 * sigma)
    assert floor.p95 == pytest.approx(1.645 * sigma, rel=0.1)
    assert NoiseFloor.of(abs(taus)).p95 == pytest.approx(1.96 * sigma, rel=0.1)


def test_random_measures_are_fixed_by_their_seed():
    groups = np.arange(10)
    measures = random_measures(groups)
    np.testing.assert_array_equal(measures, random_measures(groups))
    assert (measures != random_measures(groups, seed=1)).all()


def test_seeds_share_the_value_of_a_random_measure():
    """Where the target hangs together in the same way, tau is that of 30 configurations and not of 120 models."""
    groups = np.repeat([f"configuration {number}" for number in range(30)], 4)
    target = np.repeat(np.random.default_rng(0).random(30), 4)
    taus = [kendall_tau(measure, target).value for measure in random_measures(groups, measures=2000)]
    assert NoiseFloor.of(taus).p95 == pytest.approx(1.645 * math.sqrt(2 * 65 / (9 * 30 * 29)), rel=0.1)


def test_less_is_better():
    scores = np.arange(101)
    assert NoiseFloor.of(scores) == NoiseFloor(50, 95)
    assert NoiseFloor.of(scores, lower_is_better=True) == NoiseFloor(50, 5)
