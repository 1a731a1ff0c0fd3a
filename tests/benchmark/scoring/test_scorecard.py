import math
import time

import numpy as np
import pytest

from benchmark.scoring import ScoreError, scorecard
from benchmark.scoring.bootstrap import bootstrap_tau, resample
from benchmark.scoring.floors import NoiseFloor, random_measures
from benchmark.scoring.granulated import bootstrap_granulated
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import partial_tau
from benchmark.scoring.pgdl import pgdl_score
from benchmark.scoring.robust import robust_sign_error
from benchmark.scoring.scores import SCORES


def test_scores_asked_for_come_in_their_order(zoo, card):
    some = zoo.scorecard(scores=("psi", "tau"))
    assert list(some) == ["psi", "tau"]
    assert some["psi"].entries == card["psi"].entries


def test_a_method_is_scored_where_it_is_defined(zoo, card):
    predictions = np.vstack([zoo.predictions, zoo.predictions[0]])
    predictions[1, :4] = np.nan  # one configuration: the rest is a grid still
    predictions[2, 4:] = np.nan  # all but one configuration
    predictions[3, 2:] = np.nan
    given = zoo.scorecard(predictions)
    rest = slice(4, None)
    table = zoo.predictions[1:2, rest], zoo.target[rest], zoo.hyperparameters[rest]
    weights = resample(48, zoo.clusters, 30)[rest]
    for name, score in given.items():
        assert score.entries[0] == card[name].entries[0]
        assert score.floor == card[name].floor
        np.testing.assert_array_equal(score.draws[0], card[name].draws[0])
        assert [entry.coverage for entry in score.entries[1:]] == [44 / 48, 4 / 48, 2 / 48]
        assert np.isnan(score.draws[3]).all()
        assert score.undefined is None
    assert given["pgdl"].entries[1].value == pgdl_score(*table)[0].value
    assert given["robust"].entries[1].value == robust_sign_error(*table, zoo.examples)[0].mean
    assert given["partial"].entries[1].value == partial_tau(*table)[0].value
    np.testing.assert_array_equal(given["psi"].draws[1], bootstrap_granulated(*table, weights)[0])
    np.testing.assert_array_equal(
        given["tau"].draws[1], bootstrap_tau(predictions[1:2], zoo.target, resample(48, zoo.clusters, 30))[0]
    )
    one = given["psi"].entries[2]
    assert (one.value, one.low, one.high, one.flipped, one.detail) == (None, None, None, None, {})
    assert one.undefined == "no grid; all hyperparameters have one value (on the 4 of 48 models it is defined for)"
    assert given["tau"].entries[2].value is not None
    assert given["tau"].entries[3].undefined.startswith("defined for 2 models, of at least 3")


def test_without_a_grid_the_others_stay(zoo):
    sampled = np.random.default_rng(1).random((48, 2))
    card = zoo.scorecard(hyperparameters=sampled)
    for name, score in card.items():
        if name in ("psi", "psi-within", "k", "pgdl", "robust"):
            assert score.undefined.startswith("no grid; no two configurations differ in hyperparameter 0 alone")
            assert score.floor is None
            assert score.draws.shape == (3, 30)
        else:
            assert score.undefined is None
    equal = zoo.scorecard(hyperparameters=np.ones((48, 2)))
    assert equal["k"].undefined == "no grid; all hyperparameters have one value"
    assert equal["tau"].entries[0].low < equal["tau"].entries[0].value < equal["tau"].entries[0].high


def test_what_was_not_given_is_the_reason(zoo):
    card = zoo.scorecard(hyperparameters=None, test_examples=None)
    reasons = {name: score.undefined for name, score in card.items() if score.undefined}
    assert reasons == dict.fromkeys(
        ["psi", "psi-within", "k", "pgdl", "robust", "partial"], "no hyperparameters were given"
    )
    card = zoo.scorecard(test_examples=None)
    reasons = {name: score.undefined for name, score in card.items() if score.undefined}
    assert reasons == {"robust": "no number of test examples was given"}


def test_progress_is_told_for_every_method_of_every_score(zoo, card, monkeypatch):
    monkeypatch.setattr(scorecard, "METHOD_CHUNK", 2)
    predictions = np.vstack([zoo.predictions, zoo.predictions])
    predictions[1, :4] = np.nan
    told = []
    again = zoo.scorecard(predictions, progress=lambda name, done: told.append((name, done)))
    assert list(dict(told)) == list(SCORES)
    for name in SCORES:
        done = [number for each, number in told if each == name]
        assert (done[0], sum(done), max(done)) == (0, 6, 2)
        assert again[name].entries[0] == again[name].entries[3] == card[name].entries[0]


def test_no_methods(zoo):
    card = zoo.scorecard(np.zeros((0, 48)), scores=["tau", "k"])
    assert all(score.entries == () and score.draws.shape == (0, 30) and score.floor for score in card.values())


@pytest.mark.parametrize(
    ("predictions", "target", "options", "words"),
    [
        (np.zeros((1, 3)), [1, 2, 3], {"scores": ["taub"]}, "no score 'taub'; the scores are tau, psi, tau-within"),
        (np.zeros((1, 2)), [1, 2], {}, "2 models; a score needs at least 3"),
        (np.zeros((1, 3)), [1, 1, 1], {}, "target is 1.0 for all 3 models"),
        (np.zeros((1, 3)), [1, 2, math.nan], {}, "target: 1 of 3 values are NaN"),
        (np.zeros(3), [1, 2, 3], {}, r"have shape \[E, 3\], got \[3\]"),
        ([[1, 2, math.inf]], [1, 2, 3], {}, "prediction 0 is infinite at position 2"),
        (np.zeros((1, 3)), [1, 2, 3], {"clusters": [1, 1, 1]}, "3 models of one configuration"),
        (np.zeros((1, 3)), [1, 2, 3], {"hyperparameters": [[1], [2]]}, r"have shape \[3, K\], got \[2, 1\]"),
        (np.zeros((1, 3)), [1, 2, 3], {"hyperparameters": [[1], [2], [math.nan]]}, "hyperparameter 0 is NaN"),
    ],
)
def test_bad_input(predictions, target, options, words):
    with pytest.raises(ScoreError, match=words):
        scorecard.scorecard(np.array(predictions), np.array(target), **options)


def test_numbers_too_large_to_be_summed_are_undefined():
    target = np.random.default_rng(10).random(20)
    huge = np.linspace(1e306, 1.7e308, 20)[None]
    card = scorecard.scorecard(huge, target, scores=["mae"], draws=20, random_measures=0)
    assert card["mae"].undefined == "the predictions are too large to be squared or summed"


@pytest.mark.parametrize(
    ("value", "flipped", "differs"),
    [
        (0.3, -0.3, False),
        (0.3, 0.3, False),
        (0.3, 0.7, False),
        (0.3, 0.31, True),
        (0.3, None, False),
        (None, None, False),
    ],
)
def test_a_flip_differs_where_it_does_not_follow_from_the_score(value, flipped, differs):
    assert scorecard.Entry(value, None, None, flipped, 1.0, {}).flip_differs == differs


def test_vast_populations_use_fewer_draws_and_show_each_method(monkeypatch):
    """The first of the usual draws, and the first of the usual random measures."""
    rng = np.random.default_rng(3)
    target = rng.standard_normal(30)
    given = np.stack([target + rng.standard_normal(30) for _ in range(3)]), target
    usual = scorecard.scorecard(*given, scores=["tau"])["tau"]
    monkeypatch.setattr(scorecard, "VAST", 29)
    seen = []
    vast = scorecard.scorecard(*given, scores=["tau"], progress=lambda name, done: seen.append((name, done)))["tau"]
    np.testing.assert_array_equal(vast.draws, usual.draws[:, :200])
    assert [entry.value for entry in vast.entries] == [entry.value for entry in usual.entries]
    noise = random_measures(np.arange(30))[:200]
    assert vast.floor == NoiseFloor.of([kendall_tau(measure, target).value for measure in noise])
    assert seen == [("tau", 0), ("tau", 1), ("tau", 1), ("tau", 1)]


@pytest.mark.slow
def test_a_hundred_thousand_models_take_seconds():
    rng = np.random.default_rng(4)
    target = rng.standard_normal(100_000)
    predictions = np.stack([target + rng.standard_normal(100_000) for _ in range(3)])
    started = time.process_time()
    card = scorecard.scorecard(predictions, target, clusters=np.arange(100_000) // 2, scores=["tau", "r2"])
    assert time.process_time() - started < 40
    expected = np.arcsin(0.5**0.5) * 2 / np.pi  # of a bivariate normal with this correlation
    for entry, draws in zip(card["tau"].entries, card["tau"].draws, strict=True):
        assert entry.value == pytest.approx(expected, abs=0.005)
        assert draws.std() == pytest.approx(0.0015, rel=0.3)
