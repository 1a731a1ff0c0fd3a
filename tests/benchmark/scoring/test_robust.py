import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmark.scoring import ScoreError, robust
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.grid import NoGrid
from benchmark.scoring.robust import bootstrap_robust, pair_weights, robust_sign_error


def brute_force(prediction, target, hyperparameters, test_examples):
    """Kept environments: error and a model of each of their configurations. The number of candidates."""
    runs = {}
    for model, row in enumerate(hyperparameters):
        runs.setdefault(tuple(row), []).append(model)
    errors, candidates = [], 0
    for one, other in combinations(runs, 2):
        if sum(a != b for a, b in zip(one, other, strict=True)) != 1:
            continue
        candidates += 1
        total = squares = wrong = 0.0
        for i, j in product(runs[one], runs[other]):
            difference = target[i] - target[j]
            h = max(0, 1 - 2 * math.exp(-2 * test_examples * (abs(difference) / 2) ** 2)) ** 2
            weight = max(0, h - 0.5)
            total += weight
            squares += weight**2
            wrong += weight * (1 - np.sign(prediction[i] - prediction[j]) * np.sign(difference)) / 2
        if squares and total**2 / squares >= 12 - 1e-9:
            errors.append((wrong / total, runs[one][0], runs[other][0]))
    return errors, candidates


@given(
    st.integers(0, 10**6),
    st.sampled_from([5, 50, 5000]),
    st.sampled_from([1, 40, 1 << 20]),
    st.integers(4, 6),
)
def test_equals_its_definition_environment_by_environment(seed, test_examples, chunk, most):
    rng = np.random.default_rng(seed)
    grid = np.array(list(product(range(3), range(2), [7])))
    hyperparameters = np.repeat(grid, rng.integers(1, most + 1, size=len(grid)), axis=0)
    hyperparameters = rng.permutation(hyperparameters)
    target = rng.integers(30, size=len(hyperparameters)) / 20 - 0.5
    prediction = rng.integers(6, size=len(target))
    assume(np.ptp(target) > 0)
    errors, candidates = brute_force(prediction, target, hyperparameters, test_examples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robust, "PAIR_CHUNK", chunk)
        patch.setattr(robust, "CHUNK", 4)
        if not errors:
            with pytest.raises(ScoreError, match="undefined: none of"):
                robust_sign_error(prediction[None], target, hyperparameters, test_examples)
            return
        score, again = robust_sign_error(np.stack([prediction] * 2), target, hyperparameters, test_examples)
        weights = resample(len(target), np.unique(hyperparameters, axis=0, return_inverse=True)[1], draws=9)
        means, percentiles = bootstrap_robust(
            np.stack([prediction] * 2), target, hyperparameters, test_examples, weights
        )
    assert score == again
    assert (score.environments, score.candidates) == (len(errors), candidates)
    # Every draw as a list in which an environment is repeated as often as both its configurations were drawn.
    for draw, counts in enumerate(weights.T.astype(int)):
        drawn = [error for error, i, j in errors for _ in range(counts[i] * counts[j])]
        expected = (np.mean(drawn), np.percentile(drawn, 90)) if drawn else (math.nan, math.nan)
        assert (means[1, draw], percentiles[1, draw]) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    errors = [error for error, _, _ in errors]
    expected = np.mean(errors), np.percentile(errors, 90), np.max(errors)
    assert (score.mean, score.p90, score.maximum) == pytest.approx(expected, abs=1e-12)


def test_weights_by_hand():
    # h = (1 - 2 exp(-2 n (d / 2)^2))^2 is at one half where exp(-n d^2 / 2) = (1 - sqrt(1/2)) / 2.
    threshold = math.sqrt(-2 / 100 * math.log((1 - math.sqrt(0.5)) / 2))
    weights = pair_weights(np.array([0, 0.99 * threshold, -0.3, 0.3, 5]), 100)
    h = (1 - 2 * math.exp(-2 * 100 * 0.15**2)) ** 2
    assert weights == pytest.approx([0, 0, h - 0.5, h - 0.5, 0.5])
    assert pair_weights(np.array([1.01 * threshold]), 100)[0] > 0


def test_by_hand():
    """Three configurations of four seeds in a row: three environments of 16 pairs, far apart and so of equal weight."""
    hyperparameters = np.repeat([[0], [1], [2]], 4, axis=0)
    target = np.repeat([0.1, 0.5, 0.9], 4)
    prediction = np.array([1, 1, 1, 1, 2, 2, 2, 0, 3, 3, 3, 2])
    # 0-1: the seed with 0 is wrong against four; 0-2: none; 1-2: three ties with the seed of 2.
    errors = [4 / 16, 0, 1.5 / 16]
    score, constant, opposite = robust_sign_error(
        np.stack([prediction, 0 * prediction, -prediction]), target, hyperparameters, 100_000
    )
    assert score.mean == pytest.approx(np.mean(errors))
    assert score.p90 == pytest.approx(1.5 / 16 + 0.8 * (4 - 1.5) / 16)
    assert score.maximum == 4 / 16
    assert (score.environments, score.candidates) == (3, 3)
    assert (constant.mean, constant.p90, constant.maximum) == (0.5, 0.5, 0.5)
    assert (opposite.mean, opposite.maximum) == (pytest.approx(1 - np.mean(errors)), 1)


def test_environments_need_twelve_effective_pairs():
    """3 x 4 pairs of equal weight are just enough, 3 x 3 are not, nor 4 x 4 where half have no weight."""
    hyperparameters = np.repeat([[0], [1], [2]], [3, 4, 3], axis=0)
    target = np.repeat([0.1, 0.5, 0.9], [3, 4, 3])
    score = robust_sign_error(target[None], target, hyperparameters, 10_000)[0]
    assert (score.environments, score.candidates) == (2, 3)
    ends = np.r_[0:3, 7:10]
    with pytest.raises(ScoreError, match=r"none of 1 pairs of configurations .* the largest is 9;"):
        robust_sign_error(target[None, ends], target[ends], hyperparameters[ends], 10_000)
    target = np.array([0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.1, 0.1])
    with pytest.raises(ScoreError, match="the largest is 8;"):
        robust_sign_error(target[None], target, np.repeat([[0], [1]], 4, axis=0), 10_000)


@pytest.mark.parametrize(
    ("predictions", "target", "hyperparameters", "examples", "words"),
    [
        ([[1]], [1], [[0]], 100, "there are 1 models; give at least 2"),
        ([[1, math.nan]], [1, 2], [[0], [1]], 100, "prediction 0: 1 of 2 values are NaN or infinite"),
        ([[1, 2]], [1, math.inf], [[0], [1]], 100, "target: 1 of 2"),
        ([[1, 2]], [3, 3], [[0], [1]], 100, "target is 3.0 for all 2 models"),
        ([[1, 2]], [1, 2], [[4], [4]], 100, "no grid; all hyperparameters have one value"),
        ([[1, 2]], [1, 2], [[0], [1]], 0, "measured on 0 test examples; give at least 1"),
        ([[1, 2]], [0.1, 0.9], [[0], [1]], 100, "the largest is 1; it takes 4 seeds each"),
        ([[1, 2]], [0.5, -26.7], [[0], [1]], 100, "up to 26.7 in size are not .* fractions; divide percentages by 100"),
    ],
)
def test_what_has_no_score_is_an_error(predictions, target, hyperparameters, examples, words):
    with pytest.raises(ScoreError, match=words):
        robust_sign_error(np.array(predictions, dtype=float), np.array(target), np.array(hyperparameters), examples)


def test_sampled_hyperparameters_have_none():
    predictions = np.random.default_rng(0).random((3, 50))
    with pytest.raises(NoGrid, match="undefined: no grid"):
        robust_sign_error(predictions[:1], predictions[0], predictions[1:].T, 1000)
