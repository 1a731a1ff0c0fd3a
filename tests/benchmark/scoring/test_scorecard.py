import csv
import json
import math
from itertools import product

import numpy as np
import pytest

from benchmark.scoring import ScoreError, scorecard, scores
from benchmark.scoring.bootstrap import bootstrap_tau, interval, resample
from benchmark.scoring.conditional_mi import bootstrap_conditional_mi, conditional_mi
from benchmark.scoring.floors import NoiseFloor, random_measures
from benchmark.scoring.granulated import bootstrap_granulated, granulated_tau
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import partial_tau, residuals
from benchmark.scoring.pgdl import bootstrap_pgdl, pgdl_score
from benchmark.scoring.regression import bootstrap_mae, bootstrap_r2, linear_fit, mean_absolute_error
from benchmark.scoring.robust import bootstrap_robust, robust_sign_error
from benchmark.scoring.scores import SCORES

EXAMPLES = 20_000


def linear(features, values, new):
    design, new = (np.column_stack([np.ones(len(each)), each]) for each in (features, new))
    return new @ np.linalg.lstsq(design, values, rcond=None)[0]


class Zoo:
    """A grid of 3 x 2 x 2 with four seeds, its gap, and three predictions."""

    def __init__(self):
        rng = np.random.default_rng(0)
        grid = np.array(list(product([1, 2, 4], [0.0, 0.5], [0, 1])))
        self.hyperparameters = np.repeat(grid, 4, axis=0)
        self.clusters = np.repeat(np.arange(12), 4)
        self.target = 0.2 + self.hyperparameters @ [0.1, 0.2, 0.3] / 3 + 0.05 * rng.standard_normal(48)
        self.predictions = self.target + np.array([[0.05], [0.2], [0.5]]) * rng.standard_normal((3, 48))

    def scorecard(self, predictions=None, **options):
        options = {
            "hyperparameters": self.hyperparameters,
            "test_examples": EXAMPLES,
            "regressor": linear,
            "draws": 30,
            "random_measures": 20,
            **options,
        }
        predictions = self.predictions if predictions is None else predictions
        return scorecard.scorecard(predictions, self.target, **options)


@pytest.fixture(scope="module")
def zoo():
    return Zoo()


@pytest.fixture(scope="module")
def card(zoo):
    return zoo.scorecard()


def test_every_score_is_that_of_its_own_function(zoo, card):
    weights = resample(48, zoo.clusters, 30)
    table = zoo.predictions, zoo.target, zoo.hyperparameters
    sampling = zoo.predictions, zoo.target, zoo.clusters, 30
    robust = robust_sign_error(*table, EXAMPLES)
    means, percentiles = bootstrap_robust(*table, EXAMPLES, weights)
    expected = {
        "tau": ([kendall_tau(p, zoo.target).value for p in zoo.predictions], bootstrap_tau(*sampling)),
        "psi": ([s.value for s in granulated_tau(*table)], bootstrap_granulated(*table, weights)),
        "k": ([s.value for s in conditional_mi(*table)], bootstrap_conditional_mi(*table, weights)),
        "pgdl": ([s.value for s in pgdl_score(*table)], bootstrap_pgdl(*table, weights)),
        "robust": ([s.mean for s in robust], means),
        "partial": (
            [s.value for s in partial_tau(*table, linear)],
            bootstrap_tau(*residuals(*table, linear), zoo.clusters, 30),
        ),
        "r2": ([linear_fit(p[:, None], zoo.target, zoo.clusters).r2 for p in zoo.predictions], bootstrap_r2(*sampling)),
        "mae": ([mean_absolute_error(p, zoo.target) for p in zoo.predictions], bootstrap_mae(*sampling)),
    }
    assert list(card) == list(SCORES) == list(expected)
    for name, (values, draws) in expected.items():
        score = card[name]
        assert score.definition.name == name
        np.testing.assert_array_equal(score.draws, draws)
        for entry, value, draw in zip(score.entries, values, draws, strict=True):
            assert (entry.value, entry.low, entry.high) == (value, interval(draw).low, interval(draw).high)
            assert (entry.coverage, entry.undefined) == (1, None)
    assert score.undefined is None
    details = [score.entries[0].detail for score in card.values()]
    assert details[1]["psi"] == granulated_tau(*table)[0].psi
    assert details[2]["hyperparameters"] == conditional_mi(*table)[0].hyperparameters
    assert details[3]["hyperparameters"] == pgdl_score(*table)[0].hyperparameters
    assert (details[4]["p90"], details[4]["maximum"]) == (robust[0].p90, robust[0].maximum)
    assert details[4]["p90_high"] == interval(percentiles[0]).high


def test_the_flip_is_the_score_of_the_negated_prediction(zoo, card):
    opposite = zoo.scorecard(-zoo.predictions)
    for name in SCORES:
        for entry, turned in zip(card[name].entries, opposite[name].entries, strict=True):
            if name == "mae":
                assert entry.flipped is None
            else:
                assert entry.flipped == pytest.approx(turned.value, abs=1e-12)
                assert turned.flipped == pytest.approx(entry.value, abs=1e-12)


def test_floors(zoo, card):
    noise = random_measures(48, measures=20)
    assert card["tau"].floor == NoiseFloor.of([kendall_tau(measure, zoo.target).value for measure in noise])
    assert card["k"].floor == NoiseFloor.of(
        [score.value for score in conditional_mi(noise, zoo.target, zoo.hyperparameters)]
    )
    for name, score in card.items():
        assert score.definition.lower_is_better == (name in ("robust", "mae"))
        assert (score.floor.p95 < score.floor.median) == score.definition.lower_is_better
        assert (score.entries[0].value < score.floor.p95) == score.definition.lower_is_better
    # Two independent draws of the targets are further apart than their standard deviation.
    assert card["mae"].floor.median == pytest.approx(100 * 2 / math.sqrt(math.pi) * zoo.target.std(), rel=0.15)


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
    assert given["robust"].entries[1].value == robust_sign_error(*table, EXAMPLES)[0].mean
    assert given["partial"].entries[1].value == partial_tau(*table, linear)[0].value
    np.testing.assert_array_equal(given["psi"].draws[1], bootstrap_granulated(*table, weights)[0])
    np.testing.assert_array_equal(
        given["tau"].draws[1], bootstrap_tau(predictions[1:2], zoo.target, zoo.clusters, 30)[0]
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
        if name in ("psi", "k", "pgdl", "robust"):
            assert score.undefined.startswith("no grid; no two configurations differ in hyperparameter 0 alone")
            assert score.floor is None
            assert score.draws.shape == (3, 30)
        else:
            assert score.undefined is None
    equal = zoo.scorecard(hyperparameters=np.ones((48, 2)))
    assert equal["k"].undefined == "no grid; all hyperparameters have one value"
    assert equal["tau"].entries[0].low < equal["tau"].entries[0].value < equal["tau"].entries[0].high


def test_what_was_not_given_is_the_reason(zoo):
    card = zoo.scorecard(hyperparameters=None, regressor=None, test_examples=None)
    reasons = {name: score.undefined for name, score in card.items() if score.undefined}
    assert reasons == dict.fromkeys(["psi", "k", "pgdl", "robust", "partial"], "no hyperparameters were given")
    card = zoo.scorecard(regressor=None, test_examples=None)
    reasons = {name: score.undefined for name, score in card.items() if score.undefined}
    assert reasons == {"robust": "no number of test examples was given", "partial": "no regressor was given"}


def test_a_regressor_sees_numbers_as_they_are_and_one_column_for_each_other_value(zoo):
    seen = []

    def regressor(features, values, new):
        seen.append(np.vstack([features, new]))
        return linear(features, values, new)

    mixed = np.array([row for row in product([1, 2, 4, 8, 16, 32], ["adam", "sgd"]) for _ in range(4)], dtype=object)
    zoo.scorecard(hyperparameters=mixed, regressor=regressor, scores=["partial"])
    assert {tuple(row) for row in seen[0]} == {(2**v, *one_hot) for v in range(6) for one_hot in ((1, 0), (0, 1))}


def test_large_tables_take_fewer_draws_of_the_dear_scores(zoo, card, monkeypatch):
    monkeypatch.setattr(scores, "MANY_MODELS", 47)
    monkeypatch.setattr(scores, "FEWER_DRAWS", 7)
    predictions = zoo.predictions.copy()
    predictions[1, :4] = np.nan
    fewer = zoo.scorecard(predictions)
    for name in SCORES:
        length = 7 if name in ("k", "pgdl") else 30
        assert fewer[name].draws.shape == (3, length)
        np.testing.assert_array_equal(fewer[name].draws[0], card[name].draws[0, :length])


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
        (np.zeros((1, 3)), [1, 2, 3], {"scores": ["taub"]}, "no score 'taub'; the scores are tau, psi, k, pgdl"),
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


def test_the_competition_table(gengap_tables):
    """Strings for hyperparameters, one of them one-valued, and no seeds."""
    with (gengap_tables / "pgdl_task1_measures.csv").open() as file:
        rows = list(csv.DictReader(file))
    official = json.loads((gengap_tables / "pgdl_task1_official_scores.json").read_text())["score"]
    measures = np.array([[float(row[f"measure.{name}"]) for row in rows] for name in official])
    gap = np.array([float(row["gen_gap"]) for row in rows])
    hyperparameters = np.array([[row[name] for name in row if name.startswith("hp.")] for row in rows])
    card = scorecard.scorecard(measures, gap, hyperparameters, None, 10_000, linear, draws=40, random_measures=20)
    values = [entry.value for entry in card["pgdl"].entries]
    assert dict(zip(official, values, strict=True)) == pytest.approx(official, abs=1e-9, rel=0)
    wcv = card["pgdl"].entries[list(official).index("WCV")]
    assert wcv.flipped != pytest.approx(official["WCV"], abs=1e-3)
    assert wcv.low is not None
    assert wcv.high is not None
    assert wcv.low < official["WCV"] < wcv.high
    assert {name for name, score in card.items() if score.undefined} == {"robust"}
    assert card["robust"].undefined.startswith("none of 336 pairs of configurations has an effective sample size")


def test_the_noise_floor_of_r2_is_on_all_models():
    rng = np.random.default_rng(8)
    target = rng.random(60)
    noise = random_measures(60, 500, 0)
    truth = np.percentile([np.corrcoef(measure, target)[0, 1] ** 2 for measure in noise], [50, 95])
    floor = scorecard.scorecard(rng.random((1, 60)), target, scores=["r2"])["r2"].floor
    np.testing.assert_allclose([floor.median, floor.p95], truth)


def test_a_hyperparameter_that_every_model_has_another_value_of_is_not_conditioned_on():
    rng = np.random.default_rng(9)
    target, own = rng.random(48), np.arange(48.0)
    axes = np.array([(i % 2, i // 2 % 3) for i in range(48)])
    predictions = target + rng.random((2, 48))
    with_it, without = (
        scorecard.scorecard(predictions, target, given, clusters=own, scores=["k"], draws=20, random_measures=0)["k"]
        for given in (np.column_stack([axes, rng.permutation(own)]), axes)
    )
    # All sets that hold it determine the order of the target.
    assert with_it.undefined is None or with_it.undefined.startswith("no grid")
    if with_it.undefined is None:
        np.testing.assert_array_equal(with_it.draws, without.draws)


def test_percentages_leave_undefined_what_thinks_in_fractions(zoo):
    percent = scorecard.scorecard(
        zoo.predictions, 100 * zoo.target, zoo.hyperparameters, test_examples=EXAMPLES, draws=30, random_measures=20
    )
    for name, score in percent.items():
        if name in ("robust", "mae"):
            assert score.undefined.endswith("are no accuracies or gaps as fractions; divide percentages by 100")
            assert score.floor is None
        elif name != "partial":
            assert score.undefined is None


def test_numbers_too_large_to_be_summed_are_undefined():
    target = np.random.default_rng(10).random(20)
    huge = np.linspace(1e306, 1.7e308, 20)[None]
    card = scorecard.scorecard(huge, target, scores=["mae"], draws=20, random_measures=0)
    assert card["mae"].undefined == "the predictions are too large to be squared or summed"
