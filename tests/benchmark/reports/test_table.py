import numpy as np
import pandas as pd
import pytest

from benchmark.reports.table import score_table
from benchmark.reports.table_json import to_json
from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import bootstrap_tau, interval, resample
from benchmark.scoring.kendall import kendall_tau
from zoo_builder.errors import InputError


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_scores_every_column_that_matches(table, write_table, name):
    scored = score_table(write_table(table, name), "gap", ["measure.*"], ["hp.*"])
    assert [scored.predictions[e] for e in scored.order] == ["measure.twin", "measure.good", "measure.random"]
    assert (scored.models, scored.configurations) == (40, 20)
    assert list(scored.card) == ["tau"]
    clusters = table.groupby(["hp.width", "hp.optimizer"], sort=False).ngroup().to_numpy()
    for column, entry in zip(scored.predictions, scored.card["tau"].entries, strict=True):
        prediction, target = table[column].to_numpy(), table["gap"].to_numpy()
        draws = interval(bootstrap_tau(prediction[None], target, resample(40, clusters))[0])
        assert (entry.value, entry.low, entry.high) == (kendall_tau(prediction, target).value, draws.low, draws.high)
    assert [scored.place("tau", e) for e in scored.order] == ["best", "behind", "behind"]
    assert scored.tie_ceiling < 1


def test_without_hyperparameters_every_row_is_a_configuration(table, write_table):
    assert score_table(write_table(table), "gap", ["measure.good"]).configurations == 40


def test_an_empty_hyperparameter_is_a_value_of_its_own(table, write_table):
    """Of the grid, and of what the regressor of partial tau sees."""
    table["hp.dropout"] = [0.5, None] * 20
    scored = score_table(
        write_table(table), "gap", ["measure.good"], ["hp.width", "hp.dropout"], scores="psi,k,partial"
    )
    assert scored.configurations == 20
    assert scored.card["psi"].entries[0].detail["cells"] == (2, 10)
    assert scored.card["partial"].entries[0].value is not None


def test_those_with_gaps_are_compared_on_the_models_that_both_define(table, write_table):
    """Better only because it skips the model it would have put last: no reason to rank it first alone."""
    table["measure.skips"] = table["measure.twin"]
    table.loc[table["gap"].idxmin(), "measure.twin"] = 99.0
    table.loc[table["gap"].idxmin(), "measure.skips"] = None
    scored = score_table(
        write_table(table), "gap", ["measure.skips", "measure.twin", "measure.random"], scores="tau,psi"
    )
    assert scored.coverage == (39 / 40, 1, 1)
    ranking = scored.rankings["tau"]
    assert [scored.place("tau", e) for e in range(3)] == ["best", "tie", "behind"]
    assert [scored.ranks("tau", e) for e in range(3)] == [(1, 2), (1, 2), (3, 3)]
    assert (ranking.best_two, ranking.models_needed) == ((0, 1), None)
    assert {scored.place("psi", e) for e in range(3)} == {"unranked"}
    assert {scored.ranks("psi", e) for e in range(3)} == {None}


def test_a_score_that_is_named_twice_is_one(table, write_table):
    assert list(score_table(write_table(table), "gap", ["measure.good"], scores="r2, tau,r2").card) == ["r2", "tau"]


def test_all_scores_are_all_that_need_no_common_scale(grid, write_table):
    assert "mae" not in score_table(write_table(grid), "gap", ["measure.good"], ["hp.*"], scores="all").card


def test_the_order_is_that_of_the_first_score_with_the_unranked_last(table, write_table):
    """The least error comes first; one that is defined for too few models is listed below all ranked ones."""
    table["measure.most"] = table["gap"].where(table.index >= 4)
    table["measure.none"] = None
    scored = score_table(write_table(table), "gap", ["measure.*"], scores="mae,tau")
    names = [scored.predictions[e].removeprefix("measure.") for e in scored.order]
    assert names == ["good", "random", "twin", "most", "none"]
    assert [scored.place("mae", e) for e in scored.order[-2:]] == ["unranked", "unranked"]
    assert scored.constant == ()


def set_cell(row, column, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (None, {"target": "gapp"}, "no column 'gapp' .did you mean 'gap'.*it has: model, hp.width"),
        (None, {"predictions": ["measure.goo"]}, "no column 'measure.goo' .did you mean 'measure.good'"),
        (None, {"predictions": ["measures.*"]}, "no column matches 'measures.*'; it has: model, "),
        (None, {"hyperparameters": ["hq.*"]}, "no column matches 'hq"),
        (None, {"hyperparameters": ["hp.*"], "seed": "sed"}, "no column 'sed'"),
        (None, {"seed": "model"}, "`seed` distinguishes the runs of one configuration: name the `hyperparameters`"),
        (
            None,
            {"hyperparameters": ["hp.*"], "architecture": ["model"]},
            "and model is none of the `hyperparameters`: add",
        ),
        (None, {"predictions": ["model"]}, "row 1 of column model is 'model-0', expected a finite number"),
        (
            None,
            {"scores": "tau,pdgl"},
            "no score 'pdgl' .did you mean 'pgdl'.*give all, or some of tau, psi, tau-within",
        ),
        (None, {"scores": "tau,all"}, "scores are 'tau,all': give only all, or some of tau, psi, tau-within"),
        (None, {"scores": ""}, "no score ''; give all, or some of tau"),
        (None, {"test_examples": 0}, "test_examples is 0, expected a whole number of at least 1"),
        (set_cell(2, "measure.good", "high"), {}, "row 3 of column measure.good is 'high'"),
        (set_cell(4, "measure.good", float("inf")), {}, "row 5 of column measure.good is inf"),
        (set_cell(6, "gap", "?"), {}, "row 7 of column gap is '?'"),
    ],
)
def test_bad_input(table, write_table, change, options, words):
    path = write_table(change(table) if change else table)
    given = {"target": "gap", "predictions": ["measure.good"], **options}
    with pytest.raises(InputError, match=words):
        score_table(path, **given)


def test_what_is_nearly_a_function_of_the_architecture_is_compared_with_such_functions(write_table):
    """Three widths have few orders: random functions of the width reach further than other random measures."""
    rng = np.random.default_rng(0)
    width, rate = np.repeat([8, 16, 32], 20), np.tile(np.arange(20), 3)
    frame = {"gap": 0.01 * width + 0.002 * rate, "hp.width": width, "hp.rate": rate}
    frame |= {"measure.wide": width + 0.01 * rng.standard_normal(60), "measure.other": rng.standard_normal(60)}
    path = write_table(pd.DataFrame(frame))
    given = {"target": "gap", "predictions": ["measure.*"], "hyperparameters": ["hp.*"], "scores": "tau,tau-within"}
    scored = score_table(path, architecture=["hp.width"], **given)
    assert scored.nearly.keys() == {0}
    assert scored.nearly[0] == pytest.approx(0.9, abs=0.05)
    assert scored.card["tau"].floor is not None
    assert scored.architecture_floors.keys() == {"tau"}
    floor = scored.architecture_floors["tau"]
    assert floor.p95 > 2 * scored.card["tau"].floor.p95
    (sentence,) = (text for text in scored.caveats if text.startswith("Nearly a function of the architecture"))
    assert f"wide {scored.nearly[0]:.0%}".replace("%", " %") in sentence
    assert f"no better than tau {floor.p95:.3f}" in sentence
    assert to_json(scored)["scores"]["tau"]["architecture_floor"] == vars(floor)
    assert to_json(scored)["scores"]["tau-within"]["architecture_floor"] is None
    assert (score_table(path, **given).nearly, score_table(path, **given).architecture_floors) == ({}, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table[:2], "2 models; a score needs at least 3"),
        (lambda table: table[:0], "0 models; a score needs at least 3"),
        (lambda table: table.assign(gap=0.25), "target is 0.25 for all 40 models, so there is no order to predict"),
    ],
)
def test_tables_that_have_no_score(table, write_table, change, words):
    with pytest.raises(ScoreError, match=words):
        score_table(write_table(change(table)), "gap", ["measure.good"])
