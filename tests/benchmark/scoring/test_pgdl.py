import csv
import json
import math
from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmark.scoring import ScoreError, pairs
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.grid import NoGrid
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.pgdl import bootstrap_pgdl, pgdl_score


def brute_force(prediction, target, hyperparameters):
    """The minimum over sets, each from one counter of outcomes per cell; None where all sets are 0/0."""
    n, k = hyperparameters.shape
    scores = []
    for first, second in combinations(range(k), 2):
        cells = {}
        for i, j in product(range(n), repeat=2):
            cell = tuple(hyperparameters[[i, i, j, j], [first, second, first, second]])
            outcome = bool(prediction[i] > prediction[j]), bool(target[i] > target[j])
            cells.setdefault(cell, Counter())[outcome] += 1
        information = entropies = 0
        for cell in cells.values():
            pairs = cell.total()
            shares = {outcome: count / pairs for outcome, count in cell.items()}
            mu = {v: sum(p for (a, _), p in shares.items() if a == v) for v in (False, True)}
            g = {v: sum(p for (_, b), p in shares.items() if b == v) for v in (False, True)}
            information += sum(p * math.log2(p / (mu[a] * g[b])) for (a, b), p in shares.items())
            entropies += scipy.stats.entropy(list(g.values()), base=2)
        if entropies > 0:
            scores.append(information / entropies)
    return min(scores) if scores else None


models = st.tuples(st.integers(0, 4), st.integers(0, 4), *[st.integers(0, 2)] * 2, st.integers(0, 1))


@given(st.lists(models, min_size=2, max_size=14))
def test_equals_its_definition_pair_by_pair(table):
    table = np.array(table)
    prediction, target, hyperparameters = table[:, 0], table[:, 1], table[:, 2:]
    try:
        score = pgdl_score(prediction[None], target, hyperparameters)[0]
    except NoGrid as error:
        assume("no cell" in str(error))
        assert brute_force(prediction, target, hyperparameters) is None
    except ScoreError:
        assume(False)
    else:
        assert score.value == pytest.approx(brute_force(prediction, target, hyperparameters), abs=1e-12)


@settings(max_examples=20)
@given(st.lists(models, min_size=2, max_size=14), st.sampled_from([1, 40, 1 << 21]), st.sampled_from([1, 64]))
def test_the_bootstrap_equals_a_loop_over_resamples(table, room, shared):
    """Each draw written out as a table in which a model is repeated as often as it was drawn."""
    table = np.array(table)
    weights = resample(len(table), draws=5, seed=1)
    try:
        pgdl_score(table[None, :, 0], table[:, 1], table[:, 2:])
    except ScoreError:
        assume(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "CHUNK", 4)
        patch.setattr(pairs, "WEIGHT_CHUNK", room)
        patch.setattr(pairs, "_SHARED_GROUPS", shared)
        draws = bootstrap_pgdl(np.stack([table[:, 0], -table[:, 0]]), table[:, 1], table[:, 2:], weights)
    for draw, counts in zip(draws.T, weights.T, strict=True):
        prediction, target, *hyperparameters = np.repeat(table, counts, axis=0).T
        for value, sign in zip(draw, (1, -1), strict=True):
            expected = brute_force(sign * prediction, target, np.stack(hyperparameters, axis=1))
            assert value == pytest.approx(math.nan if expected is None else expected, abs=1e-12, nan_ok=True)


def test_by_hand():
    """A factorial grid of two by two: every cell of two models is one ordered pair and has no entropy."""
    hyperparameters = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    target = np.array([1, 2, 3, 4])
    with pytest.raises(NoGrid, match="no cell has entropy"):
        pgdl_score(target[None], target, hyperparameters)
    # With a one-valued third, sets (0, 2) and (1, 2) condition on one hyperparameter alone, in cells of four pairs.
    # Given hyperparameter 0: two cells a = b, with "greater" once in four; two with 4 and with 0 of 4 greater, which
    # have no entropy. Given hyperparameter 1: cells (0, 0) and (1, 1) once in four, (0, 1) once, (1, 0) three times.
    hyperparameters = np.column_stack([hyperparameters, np.zeros(4)])
    prediction = np.array([1, 2, 4, 3])
    score = pgdl_score(np.stack([prediction, target]), target, hyperparameters)
    # Given 0, cell (0, 0) is ordered rightly; cell (1, 1) has one pair (-, +), one (+, -) and two (-, -).
    once = scipy.stats.entropy([1, 3])
    wrong = 2 * once - scipy.stats.entropy([1, 1, 2])
    assert score[0].value == pytest.approx((once + wrong) / (2 * once), abs=1e-15)
    assert score[0].hyperparameters == (0, 2)
    assert (score[1].value, score[1].hyperparameters) == (pytest.approx(1), (0, 2))


def test_ties_count_as_not_greater():
    hyperparameters = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]])
    target = np.array([0.0, 1.0, 1.0, 1.0])
    high, low = pgdl_score(np.stack([target, -target]), target, hyperparameters)
    assert high.value == pytest.approx(1)
    assert low.value < 0.5


def test_a_constant_prediction_is_zero():
    hyperparameters = np.array(list(product(range(3), repeat=3)))
    target = np.random.default_rng(0).random(27)
    assert pgdl_score(np.ones((1, 27)), target, hyperparameters)[0].value == 0


def test_more_models_than_a_chunk_of_pairs():
    rng = np.random.default_rng(0)
    hyperparameters = rng.integers(2, size=(300, 3))
    prediction, target = rng.integers(40, size=(2, 300))
    score = pgdl_score(prediction[None], target, hyperparameters)[0]
    assert score.value == pytest.approx(brute_force(prediction, target, hyperparameters), abs=1e-12)


@pytest.fixture(scope="module")
def competition(gengap_tables):
    """Measures by name, the gap and the hyperparameters of the 96 models, and the official scores."""
    with (gengap_tables / "pgdl_task1_measures.csv").open() as file:
        rows = list(csv.DictReader(file))
    official = json.loads((gengap_tables / "pgdl_task1_official_scores.json").read_text())["score"]
    measures = {name: np.array([float(row[f"measure.{name}"]) for row in rows]) for name in official}
    gap = np.array([float(row["gen_gap"]) for row in rows])
    hyperparameters = np.array([[row[name] for name in row if name.startswith("hp.")] for row in rows])
    return measures, gap, hyperparameters, official


def test_equals_the_13_official_scores(competition):
    measures, gap, hyperparameters, official = competition
    assert len(official) == 13
    scores = pgdl_score(np.stack(list(measures.values())), gap, hyperparameters)
    assert dict(zip(measures, [s.value for s in scores], strict=True)) == pytest.approx(official, abs=1e-9, rel=0)


def test_the_sign_of_a_measure_matters_to_the_score_and_not_to_the_size_of_tau(competition):
    measures, gap, hyperparameters, official = competition
    wcv = measures["WCV"]
    plus, minus = pgdl_score(np.stack([wcv, -wcv]), gap, hyperparameters)
    assert plus.value == pytest.approx(official["WCV"], abs=1e-9)
    assert abs(plus.value - minus.value) > 1e-3
    assert abs(kendall_tau(wcv, gap).value) == abs(kendall_tau(-wcv, gap).value) > 0


GRID = [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("predictions", "target", "hyperparameters", "words"),
    [
        ([[1]], [1], [[0, 0]], "there are 1 models; give at least 2"),
        ([[]], [], np.zeros((0, 2)), "there are 0 models"),
        ([[1, 2, 3, 4]], [5, 5, 5, 5], GRID, "target is 5.0 for all 4 models"),
        ([[1, 2, 3, 4], [1, 2, np.nan, 4]], [1, 2, 3, 4], GRID, "prediction 1: 1 of 4 values are NaN or infinite"),
        ([[1, 2, 3, np.inf]], [1, 2, 3, 4], GRID, "prediction 0: 1 of 4 values .* first is inf at position 3"),
        ([[1, 2, 3, 4]], [1, 2, 3, np.nan], GRID, "target: 1 of 4"),
        ([1, 2, 3, 4], [1, 2, 3, 4], GRID, r"have shape \[E, 4\], got \[4\]"),
        ([[1, 2, 3]], [1, 2, 3, 4], GRID, r"have shape \[E, 4\], got \[1, 3\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 4], GRID[:3], r"hyperparameters of 4 models have shape \[4, K\], got \[3, 2\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 4], [0, 1, 0, 1], r"got \[4\]"),
        ([[1, 2, 3, 4]], [1, 2, 3, 4], [[0, 0], [0, np.nan], [1, 0], [1, 1]], "hyperparameter 1 is NaN at position 1"),
        ([[1, 2, 3, 4]], [1, 2, 3, 4], [[0], [1], [2], [3]], "on two hyperparameters, and there is one"),
        ([[1, 2, 3, 4]], [1, 2, 3, 4], [[0, 0]] * 4, "no grid; all hyperparameters have one value"),
        (
            [[1, 2, 3, 4]],
            [1, 2, 3, 4],
            [[0, 5], [1, 6], [2, 7], [3, 8]],
            "no grid; no two .* differ in hyperparameter 0",
        ),
    ],
)
def test_what_has_no_score_is_an_error(predictions, target, hyperparameters, words):
    with pytest.raises(ScoreError, match=words):
        pgdl_score(np.array(predictions, dtype=float), np.array(target), np.array(hyperparameters))
