import csv
import json
import math

import numpy as np
import pytest

from benchmark.scoring import scores
from benchmark.scoring.bootstrap import bootstrap_tau, interval, resample
from benchmark.scoring.conditional_mi import bootstrap_conditional_mi, conditional_mi
from benchmark.scoring.floors import NoiseFloor, random_measures
from benchmark.scoring.granulated import bootstrap_granulated, granulated_tau
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import partial_tau, residuals
from benchmark.scoring.pgdl import bootstrap_pgdl, pgdl_score
from benchmark.scoring.regression import bootstrap_mae, bootstrap_r2, linear_fit, mean_absolute_error
from benchmark.scoring.robust import bootstrap_robust, robust_sign_error
from benchmark.scoring.scorecard import scorecard
from benchmark.scoring.scores import NEEDS, SCORES
from benchmark.scoring.within import architecture_share, tau_within


def test_every_score_is_that_of_its_own_function(zoo, card):
    weights = resample(48, zoo.clusters, 30)
    table = zoo.predictions, zoo.target, zoo.hyperparameters
    sampling = zoo.predictions, zoo.target, weights
    robust = robust_sign_error(*table, zoo.examples)
    means, percentiles = bootstrap_robust(*table, zoo.examples, weights)
    expected = {
        "tau": ([kendall_tau(p, zoo.target).value for p in zoo.predictions], bootstrap_tau(*sampling)),
        "psi": ([s.value for s in granulated_tau(*table)], bootstrap_granulated(*table, weights)),
        "tau-within": (
            tau_within(zoo.predictions, zoo.target, zoo.architectures)[:, 0],
            tau_within(zoo.predictions, zoo.target, zoo.architectures, weights),
        ),
        "psi-within": (
            [s.value for s in granulated_tau(*table, np.array([1, 2]))],
            bootstrap_granulated(*table, weights, np.array([1, 2])),
        ),
        "k": ([s.value for s in conditional_mi(*table)], bootstrap_conditional_mi(*table, weights)),
        "pgdl": ([s.value for s in pgdl_score(*table)], bootstrap_pgdl(*table, weights)),
        "robust": ([s.mean for s in robust], means),
        "partial": (
            [s.value for s in partial_tau(*table)],
            bootstrap_tau(*residuals(*table), weights),
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
    details = {name: score.entries[0].detail for name, score in card.items()}
    assert details["tau"]["architecture_share"] == architecture_share(zoo.predictions[0], zoo.architectures)
    assert details["psi"]["psi"] == granulated_tau(*table)[0].psi
    assert details["k"]["hyperparameters"] == conditional_mi(*table)[0].hyperparameters
    assert details["pgdl"]["hyperparameters"] == pgdl_score(*table)[0].hyperparameters
    assert (details["robust"]["p90"], details["robust"]["maximum"]) == (robust[0].p90, robust[0].maximum)
    assert details["robust"]["p90_high"] == interval(percentiles[0]).high


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
    noise = random_measures(zoo.clusters, measures=20)
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


def test_large_tables_take_fewer_draws_of_the_expensive_scores(zoo, card, monkeypatch):
    monkeypatch.setattr(scores, "MANY_MODELS", 47)
    monkeypatch.setattr(scores, "FEWER_DRAWS", 7)
    predictions = zoo.predictions.copy()
    predictions[1, :4] = np.nan
    fewer = zoo.scorecard(predictions)
    for name in SCORES:
        length = 7 if name in ("k", "pgdl") else 30
        assert fewer[name].draws.shape == (3, length)
        np.testing.assert_array_equal(fewer[name].draws[0], card[name].draws[0, :length])


def test_the_competition_table(gengap_tables):
    """Strings for hyperparameters, one of them one-valued, and no seeds."""
    with (gengap_tables / "pgdl_task1_measures.csv").open() as file:
        rows = list(csv.DictReader(file))
    official = json.loads((gengap_tables / "pgdl_task1_official_scores.json").read_text())["score"]
    measures = np.array([[float(row[f"measure.{name}"]) for row in rows] for name in official])
    gap = np.array([float(row["gen_gap"]) for row in rows])
    hyperparameters = np.array([[row[name] for name in row if name.startswith("hp.")] for row in rows])
    card = scorecard(measures, gap, hyperparameters, None, 10_000, draws=40, random_measures=20)
    values = [entry.value for entry in card["pgdl"].entries]
    assert dict(zip(official, values, strict=True)) == pytest.approx(official, abs=1e-9, rel=0)
    wcv = card["pgdl"].entries[list(official).index("WCV")]
    assert wcv.flipped != pytest.approx(official["WCV"], abs=1e-3)
    assert wcv.low is not None
    assert wcv.high is not None
    assert wcv.low < official["WCV"] < wcv.high
    assert {name for name, score in card.items() if score.undefined} == {"robust", "tau-within", "psi-within"}
    assert card["robust"].undefined.startswith("none of 336 pairs of configurations has an effective sample size")


def test_the_noise_floor_of_r2_is_on_all_models():
    rng = np.random.default_rng(8)
    target = rng.random(60)
    noise = random_measures(np.arange(60), 500)
    truth = np.percentile([np.corrcoef(measure, target)[0, 1] ** 2 for measure in noise], [50, 95])
    floor = scorecard(rng.random((1, 60)), target, scores=["r2"])["r2"].floor
    np.testing.assert_allclose([floor.median, floor.p95], truth)


def test_a_hyperparameter_that_every_model_has_another_value_of_is_not_conditioned_on():
    rng = np.random.default_rng(9)
    target, own = rng.random(48), np.arange(48.0)
    axes = np.array([(i % 2, i // 2 % 3) for i in range(48)])
    predictions = target + rng.random((2, 48))
    with_it, without = (
        scorecard(predictions, target, given, clusters=own, scores=["k"], draws=20, random_measures=0)["k"]
        for given in (np.column_stack([axes, rng.permutation(own)]), axes)
    )
    # All sets that hold it determine the order of the target.
    assert with_it.undefined is None or with_it.undefined.startswith("no grid")
    if with_it.undefined is None:
        np.testing.assert_array_equal(with_it.draws, without.draws)


def test_percentages_leave_undefined_what_needs_fractions(zoo):
    percent = scorecard(
        zoo.predictions, 100 * zoo.target, zoo.hyperparameters, test_examples=zoo.examples, draws=30, random_measures=20
    )
    for name, score in percent.items():
        if name in ("robust", "mae"):
            assert score.undefined.endswith("are not accuracies or gaps as fractions; divide percentages by 100")
            assert score.floor is None
        elif name not in ("partial", "tau-within", "psi-within"):
            assert score.undefined is None


def test_a_row_is_named_by_its_key_and_needs_what_can_be_given():
    for name, definition in SCORES.items():
        assert definition.name == name
        assert set(definition.needs) <= set(NEEDS)
    assert len({definition.title for definition in SCORES.values()}) == len(SCORES)


def test_what_a_row_promises_of_its_detail_is_there(card):
    for name, definition in SCORES.items():
        detail = card[name].entries[0].detail
        assert ("hyperparameters" in detail) == definition.conditioned
        assert definition.beside is None or definition.beside.key in detail
