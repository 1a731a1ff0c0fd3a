"""Whether 95 % intervals hold the truth in 95 % of simulated zoos, and equal methods are statistical ties.

A zoo of 150 normal models: two methods have the same correlation with the target, and so the same tau, which is known.
The long version has 2,000 repeats: at a true 95.5 % and 5 % its bounds are 3 standard errors away. (1,000 repeats cross
them by chance in some of eight cases.)
"""

import math

import numpy as np
import pytest

from benchmark.scoring.bootstrap import bootstrap_tau, interval

MODELS = 150


def simulate(tau, seeds, repeats, draws):
    """Shares of repeats in which the interval holds ``tau``, and in which one of two equal methods beats the other."""
    rng = np.random.default_rng([int(100 * tau), seeds])
    rho = math.sin(math.pi / 2 * tau)
    clusters = np.repeat(np.arange(MODELS), seeds)
    covered = beats = 0
    for repeat in range(repeats):
        # Seeds of a configuration share half of the variance of target and noise; each model has the same distribution.
        own, shared = rng.standard_normal((2, 3, MODELS * seeds))
        target, *noise = own if seeds == 1 else math.sqrt(0.5) * (own + shared[:, clusters])
        predictions = rho * target + math.sqrt(1 - rho**2) * np.stack(noise)
        first, second = bootstrap_tau(predictions, target, clusters, draws, seed=repeat)
        covered += tau in interval(first)
        beats += 0 not in interval(first - second)
    return covered / repeats, beats / repeats


@pytest.mark.parametrize("tau", [0.0, 0.5, 0.8])
def test_intervals_and_ties(tau):
    covered, beats = simulate(tau, seeds=1, repeats=250, draws=400)
    assert covered == pytest.approx(0.95, abs=0.041)  # 3 standard errors
    assert beats <= 0.065 + 0.041


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("tau", [0.0, 0.3, 0.6, 0.8])
def test_intervals_and_ties_in_2000_repeats(tau, seeds):
    covered, beats = simulate(tau, seeds, repeats=2000, draws=1000)
    print(f"tau {tau}, {seeds} seeds: covered {covered:.1%}, false beats {beats:.1%}")  # shown by pytest -rP
    assert 0.93 <= covered <= 0.97
    assert beats <= 0.065
