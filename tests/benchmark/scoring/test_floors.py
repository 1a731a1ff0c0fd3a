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
    taus = np.array([kendall_tau(measure, target).value for measure in random_measures(n, measures=2000)])
    floor = NoiseFloor.of(taus)
    assert floor.median == pytest.approx(0, abs=0.1 * sigma)
    assert floor.p95 == pytest.approx(1.645 * sigma, rel=0.1)
    assert NoiseFloor.of(abs(taus)).p95 == pytest.approx(1.96 * sigma, rel=0.1)


def test_random_measures_are_fixed_by_their_seed():
    measures = random_measures(10)
    np.testing.assert_array_equal(measures, random_measures(10))
    assert (measures != random_measures(10, seed=1)).all()


def test_less_is_better():
    scores = np.arange(101)
    assert NoiseFloor.of(scores) == NoiseFloor(50, 95)
    assert NoiseFloor.of(scores, lower_is_better=True) == NoiseFloor(50, 5)
