import math
from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmark.scoring import ScoreError, granulated
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.granulated import bootstrap_granulated, granulated_tau
from benchmark.scoring.grid import NoGrid


def brute_force(prediction, target, hyperparameters, copies=None):
    """psi per hyperparameter from dictionaries of cells; None where there is no cell with two configurations."""
    runs = {}
    copies = dict(zip(map(tuple, hyperparameters), copies if copies is not None else np.ones(len(target)), strict=True))
    for mu, g, row in zip(prediction, target, hyperparameters, strict=True):
        runs.setdefault(tuple(row), []).append((mu, g))
    means = {row: np.mean(values, axis=0) for row, values in runs.items()}
    psi = []
    for axis in range(hyperparameters.shape[1]):
        cells = {}
        for row, mean in means.items():
            cells.setdefault(row[:axis] + row[axis + 1 :], []).append((mean, int(copies[row])))
        taus = []
        for cell in cells.values():
            pairs = [(a, b) for (a, u), (b, v) in combinations(cell, 2) for _ in range(u * v)]
            signs = [np.prod(np.sign(np.round(a - b, 9))) for a, b in pairs]
            taus += [sum(signs) / len(pairs)] if pairs else []
        psi.append(np.mean(taus) if taus else None)
    return psi


models = st.tuples(st.integers(0, 4), st.integers(0, 4), *[st.integers(0, 2)] * 2, st.integers(0, 1))


@given(st.lists(models, min_size=2, max_size=20))
def test_equals_its_definition_cell_by_cell(table):
    table = np.array(table)
    prediction, target, hyperparameters = table[:, 0], table[:, 1], table[:, 2:]
    try:
        (score,) = granulated_tau(prediction[None], target, hyperparameters)
    except ScoreError:
        assume(False)
    else:
        expected = brute_force(prediction, target, hyperparameters)
        assert score.psi == pytest.approx(expected, abs=1e-12)
        assert score.value == pytest.approx(np.mean([psi for psi in expected if psi is not None]), abs=1e-12)
        assert all((cells > 0) == (psi is not None) for cells, psi in zip(score.cells, score.psi, strict=True))


@given(st.lists(models, min_size=2, max_size=20), st.sampled_from([3, 64]))
def test_the_bootstrap_equals_a_loop_over_resamples(table, chunk):
    """Each draw as lists of pairs of configurations, in which a pair is repeated as often as both were drawn."""
    table = np.array(table)
    prediction, target, hyperparameters = table[:, 0], table[:, 1], table[:, 2:]
    clusters = np.unique(hyperparameters, axis=0, return_inverse=True)[1]
    try:
        (score,) = granulated_tau(prediction[None], target, hyperparameters)
    except ScoreError:
        assume(False)
    weights = resample(len(table), clusters, draws=7, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(granulated, "CHUNK", chunk)
        draws = bootstrap_granulated(np.stack([prediction, -prediction]), target, hyperparameters, weights)
    once = bootstrap_granulated(prediction[None], target, hyperparameters, np.ones((len(table), 1), dtype=int))
    assert once == pytest.approx(score.value, abs=1e-12)
    varied = [axis for axis, psi in enumerate(score.psi) if psi is not None]
    for draw, counts in zip(draws.T, weights.T, strict=True):
        psi = brute_force(prediction, target, hyperparameters, counts)
        expected = math.nan if any(psi[axis] is None for axis in varied) else np.mean([psi[axis] for axis in varied])
        assert draw == pytest.approx([expected, -expected], abs=1e-12, nan_ok=True)


def test_a_draw_without_a_pair_along_a_hyperparameter_has_no_psi():
    weights = np.array([[1, 2], [1, 0], [1, 1]])
    (draws,) = bootstrap_granulated(np.arange(3)[None], np.arange(3), np.array([[0, 0], [1, 0], [0, 1]]), weights)
    assert draws[0] == 1
    assert math.isnan(draws[1])


def test_runs_of_a_configuration_are_drawn_together():
    with pytest.raises(ScoreError, match="weights differ between the runs"):
        bootstrap_granulated(np.arange(3)[None], np.arange(3), np.array([[0], [0], [1]]), np.array([[1], [2], [1]]))


def test_one_hyperparameter_without_ties_is_the_tau_of_scipy():
    prediction, target = np.random.default_rng(0).random((2, 30))
    (score,) = granulated_tau(prediction[None], target, np.arange(30)[:, None])
    assert score.value == pytest.approx(scipy.stats.kendalltau(prediction, target).statistic, abs=1e-12)
    assert score.cells == (1,)


def test_by_hand():
    """Along the first hyperparameter the columns of three are ordered 3 of 3, and 2 of 3 rightly; along the second two
    of the three pairs are ordered rightly and one is tied."""
    hyperparameters = np.array(list(product("abc", "xy")))
    target = np.array([[1, 2], [3, 4], [5, 6]]).ravel()
    prediction = np.array([[1, 2], [3, 6], [5, 5]]).ravel()
    (score,) = granulated_tau(prediction[None], target, hyperparameters)
    assert score.psi == pytest.approx(((1 + 1 / 3) / 2, 2 / 3))
    assert score.value == pytest.approx(2 / 3)
    assert score.cells == (2, 3)


def test_one_valued_hyperparameters_have_no_psi_and_cells_of_one_configuration_none_either():
    hyperparameters = np.array([[0, 7, 0], [1, 7, 0], [1, 7, 1]])
    (score,) = granulated_tau(np.array([[1, 2, 3]]), np.array([1, 2, 0]), hyperparameters)
    assert score.psi == (1, None, -1)
    assert (score.value, score.cells) == (0, (1, 0, 1))


def test_seeds_are_averaged_first():
    """Run by run most pairs are ordered wrongly; the means of the configurations are ordered rightly."""
    hyperparameters = np.repeat([[0], [1]], 3, axis=0)
    target = np.array([5, 5, 0, 4, 4, 4])
    (score,) = granulated_tau(np.array([[0, 0, 0, 1, 1, 1]]), target, hyperparameters)
    assert score.value == 1


def test_means_that_differ_by_rounding_are_tied():
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    hyperparameters = np.repeat([[0], [1], [2]], 3, axis=0)
    prediction = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.1, 1, 1, 1])
    (score,) = granulated_tau(prediction[None], np.repeat([0, 1, 2], 3), hyperparameters)
    assert score.value == pytest.approx(2 / 3)


def test_negation_turns_the_sign_and_a_constant_prediction_is_zero():
    rng = np.random.default_rng(1)
    hyperparameters = rng.integers(3, size=(60, 3))
    prediction, target = rng.random((2, 60))
    plus, minus, constant = granulated_tau(np.stack([prediction, -prediction, np.ones(60)]), target, hyperparameters)
    np.testing.assert_allclose(minus.psi, -np.array(plus.psi), atol=1e-15)
    assert (constant.value, constant.psi) == (0, (0, 0, 0))


@pytest.mark.parametrize(
    ("predictions", "target", "hyperparameters", "words"),
    [
        ([[1]], [1], [[0]], "there are 1 models; give at least 2"),
        ([[1, np.nan]], [1, 2], [[0], [1]], "prediction 0: 1 of 2 values are NaN or infinite"),
        ([[1, 2]], [1, np.inf], [[0], [1]], "target: 1 of 2"),
        ([[1, 2]], [3, 3], [[0], [1]], "target is 3.0 for all 2 models"),
        ([[1, 2, 3, 4]], [0, 1, 1, 0], [[0], [0], [1], [1]], "mean target over seeds is 0.5 for all 2 configurations"),
        ([[1, 2]], [1, 2], [[4], [4]], "no grid; all hyperparameters have one value"),
        ([[1, 2]], [1, 2], np.zeros((2, 0)), "no grid; all hyperparameters have one value"),
    ],
)
def test_what_has_no_score_is_an_error(predictions, target, hyperparameters, words):
    with pytest.raises(ScoreError, match=words):
        granulated_tau(np.array(predictions, dtype=float), np.array(target), np.array(hyperparameters))


def test_sampled_hyperparameters_have_none():
    predictions = np.random.default_rng(0).random((3, 50))
    with pytest.raises(NoGrid, match="undefined: no grid; no two configurations differ in hyperparameter 0 alone"):
        granulated_tau(predictions[:1], predictions[0], predictions[1:].T)
