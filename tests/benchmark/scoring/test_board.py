import numpy as np
import pytest

from benchmark.scoring.board import standings
from benchmark.scoring.bootstrap import bootstrap_tau, interval
from benchmark.scoring.kendall import kendall_tau


@pytest.fixture
def target():
    return np.random.default_rng(0).standard_normal(80)


def noisy(target, noise, seed):
    return target + noise * np.random.default_rng(seed).standard_normal(len(target))


def test_places(target):
    predictions = np.stack([noisy(target, 2.0, 1), noisy(target, 0.30, 2), noisy(target, 0.32, 3), np.zeros(80)])
    board = standings(predictions, target)
    assert [standing.place for standing in board] == ["behind", "best", "tie", "behind"]
    for prediction, standing in zip(predictions, board, strict=True):
        assert standing.tau == kendall_tau(prediction, target)
        assert standing.interval == interval(bootstrap_tau(prediction[None], target)[0])
        assert standing.coverage == 1
    assert board[3].tau
    assert board[3].tau.flags == ("constant",)


def test_below_95_percent_coverage_is_unranked_however_good(target):
    predictions = np.stack([noisy(target, 0.1, 1), noisy(target, 1.0, 2), noisy(target, 1.0, 2)])
    predictions[0, :5] = np.nan  # 75 of 80 are 93.75 %
    predictions[1, :4] = np.nan  # 76 of 80 are 95 %
    board = standings(predictions, target)
    assert [standing.coverage for standing in board] == [0.9375, 0.95, 1]
    assert board[0].place == "unranked"
    assert board[0].tau == kendall_tau(predictions[0, 5:], target[5:])
    # One prediction twice: on the models that both define, there is no difference.
    assert {standing.place for standing in board[1:]} == {"best", "tie"}


def test_comparisons_are_on_the_models_both_define(target):
    """Better only because it skips the models it would have ordered worst: no reason to rank it first alone."""
    honest = target.copy()
    honest[:4] = -10 * np.sign(target[:4])
    picky = honest.copy()
    picky[:4] = np.nan
    board = standings(np.stack([honest, picky]), target)
    assert board[0].tau
    assert board[1].tau
    assert board[1].tau.value == 1 > board[0].tau.value
    assert [standing.place for standing in board] == ["tie", "best"]


def test_an_entrant_without_two_different_targets_has_no_tau(target):
    predictions = np.full((3, 80), np.nan)
    predictions[0] = target
    predictions[1, 7] = 1.0
    board = standings(predictions, target)
    assert [(s.tau, s.interval, s.place) for s in board[1:]] == [(None, None, "unranked")] * 2


def test_nobody_ranked(target):
    board = standings(np.full((1, 80), np.nan), target)
    assert [standing.place for standing in board] == ["unranked"]


def test_equal_entrants_rarely_beat_each_other():
    """200 repeats: at a true rate of 5 % or less, more than 20 false beats are 3 sigma away."""
    rng = np.random.default_rng(0)
    beats = 0
    for repeat in range(200):
        target, *noise = rng.standard_normal((3, 100))
        board = standings(target + np.stack(noise), target, draws=300, seed=repeat)
        beats += sorted(standing.place for standing in board) == ["behind", "best"]
    assert beats <= 20
