import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.scoring import ScoreError, bootstrap
from benchmark.scoring.bootstrap import Interval, bootstrap_tau, interval, resample
from benchmark.scoring.kendall import kendall_tau


def loop(prediction, target, clusters, draws, seed):
    """Every draw written out as arrays in which a model is repeated as often as it was drawn."""
    taus = []
    for counts in resample(len(target), clusters, draws, seed).T:
        counts = np.where(np.isnan(prediction), 0, counts)
        resampled = np.repeat(prediction, counts), np.repeat(target, counts)
        defined = len(resampled[1]) > 1 and np.ptp(resampled[1]) > 0
        taus.append(kendall_tau(*resampled).value if defined else math.nan)
    return np.array(taus)


# In base 4 small tables have several levels, ragged last chunks and groups included.
@pytest.fixture(params=[4, 64], ids="base {}".format)
def radix(request, monkeypatch):
    monkeypatch.setattr(bootstrap, "RADIX", request.param)


@pytest.mark.parametrize("levels", [3, 12, 10**9])
@pytest.mark.parametrize("n", [2, 5, 8, 37, 90])
@pytest.mark.usefixtures("radix")
def test_equals_a_loop_over_resamples(n, levels):
    rng = np.random.default_rng(n * levels)
    target = rng.integers(levels, size=n).astype(float)
    prediction = rng.integers(levels, size=n).astype(float)
    clusters = rng.integers(n, size=n)
    clusters[:2] = [n, n + 1]
    draws = bootstrap_tau(prediction[None], target, resample(n, clusters, draws=40, seed=1))
    np.testing.assert_allclose(draws[0], loop(prediction, target, clusters, 40, 1), atol=1e-12)


@pytest.mark.parametrize("ties", [True, False])
def test_equals_a_loop_over_resamples_for_many_models(ties):
    rng = np.random.default_rng(0)
    target, noise = rng.random((2, 5000)).round(2 if ties else 17)
    draws = bootstrap_tau((target + noise)[None], target, resample(5000, draws=5, seed=3))
    np.testing.assert_allclose(draws[0], loop(target + noise, target, np.arange(5000), 5, 3), atol=1e-12)


rows = st.tuples(st.sampled_from([0.0, 1.0, 2.0, math.nan]), st.integers(0, 2), st.integers(0, 3))


@settings(max_examples=50)
@given(st.lists(rows, min_size=2, max_size=14))
def test_equals_a_loop_over_resamples_where_models_are_undefined(table):
    prediction, target, clusters = np.array(table).T
    if len(np.unique(clusters)) < 2:
        return
    draws = bootstrap_tau(prediction[None], target, resample(len(target), clusters, draws=10))
    np.testing.assert_allclose(draws[0], loop(prediction, target, clusters, 10, 0), atol=1e-12)


def test_runs_of_a_configuration_are_drawn_together():
    clusters = np.array(["b", "a", "b", "c", "a", "b"])
    weights = resample(6, clusters, draws=300).astype(int)
    assert (weights[clusters == "a"] == weights[1]).all()
    assert (weights[clusters == "b"] == weights[0]).all()
    np.testing.assert_array_equal(weights[[1, 0, 3]].sum(axis=0), 3)  # as many configurations as there are
    assert weights.mean(axis=1) == pytest.approx(1, abs=0.15)


def test_draws_do_not_depend_on_the_chunks_they_are_computed_in(monkeypatch):
    rng = np.random.default_rng(5)
    predictions, target = rng.random((2, 30)), rng.random(30)
    weights = resample(30, draws=50, seed=7)
    whole = bootstrap_tau(predictions, target, weights)
    monkeypatch.setattr(bootstrap, "CHUNK", 7)
    np.testing.assert_array_equal(bootstrap_tau(predictions, target, weights), whole)


def test_the_seed_fixes_the_draws():
    np.testing.assert_array_equal(resample(30, draws=50, seed=7), resample(30, draws=50, seed=7))
    assert not np.array_equal(resample(30, draws=50, seed=8), resample(30, draws=50, seed=7))


def test_methods_share_the_draws():
    rng = np.random.default_rng(6)
    target = rng.random(40)
    good = target + 0.2 * rng.random(40)
    draws = bootstrap_tau(np.stack([good, 3 * good + 1, -good]), target, resample(len(target), draws=200))
    assert (draws[0] == draws[1]).all()
    np.testing.assert_allclose(draws[0], -draws[2], atol=1e-12)
    assert 0 in interval(draws[0] - draws[1])  # a statistical tie
    assert 0 not in interval(draws[0] - draws[2])


def test_a_constant_prediction_is_zero_in_every_draw():
    draws = bootstrap_tau(np.ones((1, 20)), np.arange(20), resample(20, draws=50))
    assert (draws == 0).all()


def test_interval_by_hand():
    draws = np.append(np.arange(101.0), math.nan)
    middle = interval(draws)
    assert (middle.low, middle.high) == pytest.approx((2.5, 97.5))
    assert 3 in middle
    assert 98 not in middle
    assert interval(draws, level=0.5) == Interval(25, 75)
    assert interval(np.array([math.nan])) == Interval(-math.inf, math.inf)


@pytest.mark.parametrize("seeds", [1, 4])
def test_intervals_cover_the_truth(seeds):
    """95 % intervals for tau .5 of normal models; in 400 repeats the coverage is within 3.3 points (3 sigma)."""
    rng = np.random.default_rng(seeds)
    repeats, configurations, tau = 400, 60, 0.5
    rho = math.sin(math.pi / 2 * tau)
    clusters = np.repeat(np.arange(configurations), seeds)
    covered = 0
    for repeat in range(repeats):
        # Seeds of a configuration share most of target and noise; each model alone has the same distribution.
        own, shared = rng.standard_normal((2, 2, configurations * seeds))
        target, noise = 0.6 * own + 0.8 * shared[:, clusters * seeds]
        prediction = rho * target + math.sqrt(1 - rho**2) * noise
        covered += tau in interval(
            bootstrap_tau(prediction[None], target, resample(len(target), clusters, 400, seed=repeat))[0]
        )
    assert covered / repeats == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize(
    ("predictions", "target", "clusters", "words"),
    [
        ([[1, 2, 3]], [1, 2, 3], [0, 0, 0], "3 models of one configuration"),
        ([[1, 2, 3]], [1, 2, 3], [0, 1], "2 cluster labels for 3 models"),
        ([1, 2, 3], [1, 2, 3], None, r"have shape \[E, 3\], got \[3\]"),
        ([[1, 2]], [1, 2, 3], None, r"have shape \[E, 3\], got \[1, 2\]"),
        ([[1, 2, 3], [1, np.inf, 3]], [1, 2, 3], None, "prediction 1 is infinite at position 1"),
        ([[1, 2, 3]], [1, np.nan, 3], None, "target: 1 of 3 values are NaN"),
    ],
)
def test_bad_input(predictions, target, clusters, words):
    with pytest.raises(ScoreError, match=words):
        bootstrap_tau(np.array(predictions, dtype=float), np.array(target), resample(len(target), clusters))


@pytest.mark.parametrize("weights", [np.ones((2, 5), dtype=int), np.ones(3, dtype=int), np.ones((3, 5))])
def test_weights_that_do_not_fit(weights):
    with pytest.raises(ScoreError, match=r"weights of 3 models are whole numbers of shape \[3, draws\]"):
        bootstrap_tau(np.ones((1, 3)), np.arange(3), weights)


# Simulated zoos of normal models: two methods have the same correlation with the target, and so the same, known tau.
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
        first, second = bootstrap_tau(predictions, target, resample(len(target), clusters, draws, seed=repeat))
        covered += tau in interval(first)
        beats += 0 not in interval(first - second)
    return covered / repeats, beats / repeats


@pytest.mark.parametrize("tau", [0.0, 0.5, 0.8])
def test_intervals_hold_the_truth_and_equal_methods_are_ties(tau):
    covered, beats = simulate(tau, seeds=1, repeats=250, draws=400)
    assert covered == pytest.approx(0.95, abs=0.041)  # 3 standard errors
    assert beats <= 0.065 + 0.041


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("tau", [0.0, 0.3, 0.6, 0.8])
def test_intervals_hold_the_truth_and_equal_methods_are_ties_in_2000_repeats(tau, seeds):
    """At a true 95.5 % and 5 % the bounds are 3 standard errors away; 1,000 repeats cross them by chance."""
    covered, beats = simulate(tau, seeds, repeats=2000, draws=1000)
    print(f"tau {tau}, {seeds} seeds: covered {covered:.1%}, false beats {beats:.1%}")  # shown by pytest -rP
    assert 0.93 <= covered <= 0.97
    assert beats <= 0.065
