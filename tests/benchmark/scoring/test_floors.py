import math

import numpy as np
import pytest

from benchmark.scoring.floors import NoiseFloor, noise_floor, random_measures
from benchmark.scoring.kendall import kendall_tau


def test_floor_of_tau_has_the_spread_that_theory_gives():
    """Without ties tau of independent rankings has variance 2 (2n + 5) / (9 n (n - 1)) and is close to normal."""
    n = 100
    target = np.random.default_rng(0).random(n)
    sigma = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    floor = noise_floor(lambda measure: kendall_tau(measure, target).value, n, measures=2000)
    assert floor.median == pytest.approx(0, abs=0.1 * sigma)
    assert floor.p95 == pytest.approx(1.645 * sigma, rel=0.1)
    two_sided = noise_floor(lambda measure: abs(kendall_tau(measure, target).value), n, measures=2000)
    assert two_sided.p95 == pytest.approx(1.96 * sigma, rel=0.1)


def test_floor_is_fixed_by_its_seed():
    floor = noise_floor(np.sum, 10)
    assert noise_floor(np.sum, 10) == floor
    assert noise_floor(np.sum, 10, seed=1) != floor


def test_all_measures_at_once_are_the_same_measures():
    together = NoiseFloor.of(random_measures(10).sum(axis=1))
    assert together == noise_floor(np.sum, 10)


def test_less_is_better():
    scores = np.arange(101)
    assert NoiseFloor.of(scores) == NoiseFloor(50, 95)
    assert NoiseFloor.of(scores, lower_is_better=True) == NoiseFloor(50, 5)
