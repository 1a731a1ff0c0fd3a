import math

import numpy as np
import pytest
import scipy.stats

from benchmark.scoring import ScoreError
from benchmark.scoring.reliability import ceiling_of_halves, reliability

MODELS, EXAMPLES = 800, 1000


def measured(true, rng, difficulty=0.0):
    """Correctness [n, examples] of models with these ``true`` accuracies; difficult examples are so for all models."""
    threshold = scipy.stats.norm.ppf(true) * math.sqrt(1 + difficulty**2)
    shared = difficulty * rng.standard_normal(EXAMPLES)
    return rng.standard_normal((len(true), EXAMPLES)) + shared < threshold[:, None]


@pytest.mark.parametrize("difficulty", [0.0, 1.5])
@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_it_is_the_tau_of_the_true_values(spread, difficulty):
    """Test noise of .0145 and less. The mean of six repeats, whose standard errors are .03 and .008 each."""
    errors = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        true = 0.7 + spread * rng.standard_normal(MODELS)
        correct = measured(true, rng, difficulty)
        found = reliability(correct)
        assert found.halves < found.ceiling
        errors.append(found.ceiling - scipy.stats.kendalltau(true, correct.mean(axis=1)).statistic)
    assert np.mean(errors) == pytest.approx(0, abs=0.035 if spread == 0.01 else 0.015)


def test_of_a_gap():
    """The spread of train accuracies belongs to the target, and only the test set adds noise."""
    rng = np.random.default_rng(0)
    true = 0.7 + 0.005 * rng.standard_normal(MODELS)
    train = true + 0.1 + 0.02 * rng.standard_normal(MODELS)
    correct = measured(true, rng)
    reached = scipy.stats.kendalltau(train - true, train - correct.mean(axis=1)).statistic
    assert reliability(correct, train).ceiling == pytest.approx(reached, abs=0.03)
    assert reliability(correct, train).ceiling > reliability(correct).ceiling + 0.2


def measured_gap(true_train, true_test, sizes, rng):
    """Train accuracies on samples of these sizes, and correctness on the test set."""
    return rng.binomial(sizes, true_train) / sizes, measured(true_test, rng)


def test_without_any_gap_all_is_noise():
    """Half of the models are trained on 500 examples, and half on 5,000."""
    rng = np.random.default_rng(0)
    true, sizes = 0.3 + 0.1 * rng.random(MODELS), np.tile([500, 5000], MODELS // 2)
    train, correct = measured_gap(true, true, sizes, rng)
    found = reliability(correct, train, sizes)
    assert found.noise_share == pytest.approx(1, abs=0.05)
    # The ceiling is about the test set alone: the luck of the training sample can be read.
    assert found.ceiling == reliability(correct, train).ceiling > 0.4
    assert reliability(correct, train).noise_share < 0.7


@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_of_a_gap_between_two_samples(spread):
    errors, shares = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        true, sizes = 0.5 + 0.1 * rng.random(MODELS), rng.choice([500, 2000, 5000], MODELS)
        gap = 0.05 + spread * rng.standard_normal(MODELS)
        train, correct = measured_gap(true + gap, true, sizes, rng)
        observed = train - correct.mean(axis=1)
        found = reliability(correct, train, sizes)
        errors.append(found.ceiling - scipy.stats.kendalltau(train - true, observed).statistic)
        shares.append(found.noise_share - (observed - gap).var() / observed.var())
    assert np.mean(errors) == pytest.approx(0, abs=0.035)
    assert np.mean(shares) == pytest.approx(0, abs=0.07)  # three standard errors of the mean at .01


def test_models_that_differ_in_nothing_but_noise():
    assert reliability(np.eye(3, 4, dtype=bool)).noise_share == 1


def test_of_true_values_that_are_not_normal():
    rng = np.random.default_rng(1)
    true = 0.6 + 0.01 * rng.exponential(size=MODELS)
    correct = measured(true, rng)
    reached = scipy.stats.kendalltau(true, correct.mean(axis=1)).statistic
    assert reliability(correct).ceiling == pytest.approx(reached, abs=0.05)


def test_pure_noise_has_a_ceiling_near_zero():
    correct = measured(np.full(MODELS, 0.7), np.random.default_rng(2))
    assert reliability(correct).ceiling < 0.2  # a square root: halves with a tau of .01 make .11


def test_models_without_noise_are_perfectly_reliable():
    """Every example alike: both halves order the models rightly, whatever the split."""
    correct = np.repeat(np.arange(10)[:, None] > np.arange(9), 40, axis=1)
    found = reliability(correct.astype(np.uint8))
    assert found.halves > 0.9
    assert found.ceiling > 0.98


def test_a_split_by_hand():
    """Two examples are two halves: in one the models are ordered 0 < 1, and so in the other, or not."""
    assert reliability(np.array([[0, 0], [1, 1]])) == reliability(np.array([[0, 0], [1, 1]]), seed=1)
    assert reliability(np.array([[0, 0], [1, 1]])).ceiling == 1
    opposed = reliability(np.array([[0, 1], [1, 0], [1, 1]]))
    # Halves (0, 1, 1) and (1, 0, 1) differ by -1, 1 and 0, and their means are 1/2, 1/2 and 1.
    assert opposed.noise_share == pytest.approx(min(1, (2 / 3 / 4) / (1 / 18)))
    assert (opposed.halves, opposed.ceiling) == (pytest.approx(-0.5), 0)


def test_conversion_by_hand():
    # r = sin(30 degrees) = 1/2, R = 1 / 1.5, sqrt(R) = .8165 = sin(54.74 degrees)
    assert ceiling_of_halves(1 / 3) == pytest.approx(54.7356 / 90, abs=1e-6)
    assert [ceiling_of_halves(tau) for tau in (-0.3, 0, 1)] == [0, 0, 1]


def test_the_seed_fixes_the_splits_however_models_are_chunked(monkeypatch):
    correct = np.random.default_rng(3).random((30, 41)) < np.linspace(0.4, 0.9, 30)[:, None]
    whole = reliability(correct, seed=4)
    monkeypatch.setattr("benchmark.scoring.reliability.MODEL_CHUNK", 7)
    assert reliability(correct, seed=4) == whole
    assert reliability(correct, seed=5) != whole


@pytest.mark.parametrize(
    ("correct", "options", "words"),
    [
        ([1, 0], {}, r"has shape \[n, examples\], got \[2\]"),
        ([[1], [0]], {}, "1 test examples in 20 splits"),
        ([[1, 0], [0, 1]], {"splits": 0}, "2 test examples in 0 splits"),
        ([[2, 0], [0, 1]], {}, "is 0 or 1"),
        ([[0.5, 0], [0, 1]], {}, "is 0 or 1"),
        ([[1, 0]], {}, "there are 1 models"),
        ([[1, 1], [1, 1]], {}, "for all 2 models"),
        ([[1, 0], [0, 1]], {"train_accuracy": [1]}, "1 train accuracies for 2 models"),
        ([[1, 0], [0, 1]], {"train_accuracy": [1, math.nan]}, "train accuracy: 1 of 2 values are NaN"),
        ([[1, 0], [0, 1]], {"train_accuracy": [1, 1], "train_examples": [5]}, "1 numbers of train examples for 2"),
        ([[1, 0], [0, 1]], {"train_accuracy": [1, 1], "train_examples": [5, 0]}, "at least 1 per model"),
    ],
)
def test_bad_input(correct, options, words):
    with pytest.raises(ScoreError, match=words):
        reliability(np.array(correct), **options)
