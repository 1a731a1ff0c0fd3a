import math
from collections import Counter
from itertools import combinations, permutations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmark.scoring import ScoreError, pairs
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.conditional_mi import bootstrap_conditional_mi, conditional_mi
from benchmark.scoring.grid import NoGrid


def brute_force(prediction, target, hyperparameters, copies=None):
    """I/H of each set that has entropy, from H(V_mu, U) + H(V_g, U) - H(V_mu, V_g, U) - H(U) over a list of pairs."""
    n, k = hyperparameters.shape
    copies = np.ones(n, dtype=int) if copies is None else copies.astype(int)
    varied = [axis for axis in range(k) if len(set(hyperparameters[:, axis])) > 1]
    scores = {}
    for subset in [each for size in range(3) for each in combinations(varied, size)]:
        pairs = []
        for i, j in permutations(range(n), 2):
            cell = (*hyperparameters[i, list(subset)], *hyperparameters[j, list(subset)])
            pair = np.sign(prediction[i] - prediction[j]), np.sign(target[i] - target[j]), cell
            pairs += [pair] * (copies[i] * copies[j])

        def bits(*parts, pairs=pairs):
            return scipy.stats.entropy(list(Counter(tuple(pair[p] for p in parts) for pair in pairs).values()), base=2)

        uncertainty = bits(1, 2) - bits(2)
        if uncertainty > 1e-9:
            scores[subset] = (bits(0, 2) + bits(1, 2) - bits(0, 1, 2) - bits(2)) / uncertainty
    return scores


models = st.tuples(st.integers(0, 4), st.integers(0, 4), *[st.integers(0, 2)] * 2, st.integers(0, 1))


@given(st.lists(models, min_size=2, max_size=12))
def test_equals_its_definition_pair_by_pair(table):
    table = np.array(table)
    prediction, target, hyperparameters = table[:, 0], table[:, 1], table[:, 2:]
    try:
        (score,) = conditional_mi(prediction[None], target, hyperparameters)
    except ScoreError:
        assume(False)
    else:
        expected = brute_force(prediction, target, hyperparameters)
        assert score.value == pytest.approx(min(expected.values()), abs=1e-9)
        assert expected[score.hyperparameters] == pytest.approx(score.value, abs=1e-9)


@settings(max_examples=20)
@given(st.lists(models, min_size=2, max_size=12), st.sampled_from([1, 40, 1 << 21]), st.sampled_from([1, 64]))
def test_the_bootstrap_equals_a_loop_over_resamples(table, room, shared):
    """Each draw written out as a list of the pairs of different models, w_i w_j times each."""
    table = np.array(table)
    prediction, target, hyperparameters = table[:, 0], table[:, 1], table[:, 2:]
    weights = resample(len(table), draws=5, seed=1)
    try:
        conditional_mi(prediction[None], target, hyperparameters)
    except ScoreError:
        assume(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "CHUNK", 4)
        patch.setattr(pairs, "WEIGHT_CHUNK", room)
        patch.setattr(pairs, "_SHARED_GROUPS", shared)
        draws = bootstrap_conditional_mi(np.stack([0 * target, prediction]), target, hyperparameters, weights)
    for draw, counts in zip(draws.T, weights.T, strict=True):
        expected = brute_force(prediction, target, hyperparameters, counts)
        assert draw == pytest.approx([0, min(expected.values())] if expected else [math.nan] * 2, abs=1e-9, nan_ok=True)


def test_draws_of_many_models_are_counted_exactly():
    """Where sums are beyond the whole numbers of single precision: each model a thousand times over."""
    rng = np.random.default_rng(4)
    hyperparameters, prediction, target = rng.integers(3, size=(40, 3)), rng.integers(20, size=40), rng.random(40)
    weights = resample(40, draws=20).astype(int)
    few, many = (
        bootstrap_conditional_mi(prediction[None], target, hyperparameters, times * weights) for times in (1, 1000)
    )
    np.testing.assert_allclose(few, many, rtol=1e-9)


def test_by_hand():
    """Six ordered pairs of three models with one tie in the prediction: of the target's two symbols, the prediction
    leaves them even where it is tied (2 of 6 pairs) and settles them elsewhere. Given the only hyperparameter every
    cell but one has a single pair; the one of models 0 and 1, in both orders, is settled."""
    hyperparameters = np.array([[0], [0], [1]])
    (score,) = conditional_mi(np.array([[1, 2, 2]]), np.array([1, 2, 3]), hyperparameters)
    assert (score.value, score.hyperparameters) == (pytest.approx(1 - 2 / 6), ())
    (score,) = conditional_mi(np.array([[1, 1, 2]]), np.array([1, 2, 3]), hyperparameters)
    assert (score.value, score.hyperparameters) == (0, (0,))


def test_a_measure_that_only_knows_two_hyperparameters_is_zero_given_both():
    hyperparameters = np.array(list(product(range(3), repeat=4)))
    target = hyperparameters @ [27, 9, 3, 1] + 0.0
    prediction = hyperparameters @ [0, 3, 0, 1]
    score, perfect = conditional_mi(np.stack([prediction, target]), target, hyperparameters)
    assert (score.value, score.hyperparameters) == (pytest.approx(0, abs=1e-15), (1, 3))
    assert perfect.value == pytest.approx(1)


def test_the_sign_does_not_matter_and_a_constant_prediction_is_zero():
    rng = np.random.default_rng(2)
    hyperparameters = rng.integers(2, size=(200, 4))
    target = rng.integers(50, size=200)
    prediction = target + rng.integers(50, size=200)
    plus, minus, constant = conditional_mi(np.stack([prediction, -prediction, 0 * target]), target, hyperparameters)
    assert plus.value == pytest.approx(minus.value, abs=1e-15)
    assert plus.value > 0.01
    assert (constant.value, constant.hyperparameters) == (0, ())


def test_without_conditions_it_is_a_function_of_the_share_of_discordant_pairs():
    """Without ties and with a one-valued hyperparameter beside an uninformative one: 1 - H(share) bits."""
    prediction, target = np.random.default_rng(3).random((2, 40))
    prediction += target
    (score,) = conditional_mi(prediction[None], target, np.column_stack([np.arange(40), np.zeros(40)]))
    share = (1 + scipy.stats.kendalltau(prediction, target).statistic) / 2
    assert score.value == pytest.approx(1 - scipy.stats.entropy([share, 1 - share], base=2), abs=1e-12)
    assert score.hyperparameters == ()


@pytest.mark.parametrize(
    ("predictions", "target", "hyperparameters", "words"),
    [
        ([[1]], [1], [[0]], "there are 1 models; give at least 2"),
        ([[1, math.nan]], [1, 2], [[0], [1]], "prediction 0: 1 of 2 values are NaN or infinite"),
        ([[1, 2]], [1, math.inf], [[0], [1]], "target: 1 of 2"),
        ([[1, 2]], [3, 3], [[0], [1]], "target is 3.0 for all 2 models"),
        ([[1, 2]], [1, 2], [[4], [4]], "no grid; all hyperparameters have one value"),
    ],
)
def test_what_has_no_score_is_an_error(predictions, target, hyperparameters, words):
    with pytest.raises(ScoreError, match=words):
        conditional_mi(np.array(predictions, dtype=float), np.array(target), np.array(hyperparameters))


def test_sampled_hyperparameters_have_none():
    predictions = np.random.default_rng(0).random((3, 50))
    with pytest.raises(NoGrid, match="undefined: no grid"):
        conditional_mi(predictions[:1], predictions[0], predictions[1:].T)


@pytest.mark.parametrize("weights", [np.ones((2, 5)), np.ones((3, 5), dtype=int), np.ones(2, dtype=int)])
def test_weights_are_counts_per_model_and_draw(weights):
    with pytest.raises(ScoreError, match=r"weights of 2 models are whole numbers of shape \[2, draws\]"):
        bootstrap_conditional_mi(np.array([[1, 2]]), np.array([1, 2]), np.array([[0], [1]]), weights)
