import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from baselines.predictors.boosting import PLAIN_WORDS
from benchmark.commands import main as cli
from benchmark.reports.table import score_table
from benchmark.reports.table_text import _letter, format_text, to_json
from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import bootstrap_tau, interval
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    gap = rng.random(40).round(2)
    return pd.DataFrame(
        {
            "model": [f"model-{i}" for i in range(40)],
            "hp.width": np.arange(40) // 4,
            "hp.optimizer": ["SGD", "Adam"] * 20,
            "gap": gap,
            "measure.good": gap + 0.1 * rng.random(40),
            "measure.twin": 2 * gap,
            "measure.random": rng.random(40),
        }
    )


@pytest.fixture
def write(tmp_path):
    def write(table, name="table.csv"):
        path = tmp_path / name
        table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def grid():
    """3 x 2 x 2 configurations with four seeds each."""
    rng = np.random.default_rng(1)
    rows = [row for row in product([1, 2, 4], ["adam", "sgd"], [0.0, 0.5]) for _ in range(4)]
    table = pd.DataFrame(rows, columns=["hp.width", "hp.optimizer", "hp.dropout"])
    table["seed"] = list(range(4)) * 12
    table["gap"] = 0.1 * table["hp.width"] + 0.2 * (table["hp.optimizer"] == "sgd") + 0.02 * rng.standard_normal(48)
    table["measure.good"] = table["gap"] + 0.02 * rng.standard_normal(48)
    table["measure.poor"] = table["gap"] + 0.5 * rng.standard_normal(48)
    return table


def command(capsys, *words):
    """What `gengap score` prints, as JSON where that was asked for."""
    assert cli.main(["score", *map(str, words)]) == 0
    out = capsys.readouterr().out
    return json.loads(out) if "--json" in words else out


def refused(capsys, *words):
    """Its one line of complaint."""
    assert cli.main(["score", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gengap: error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_scores_every_column_that_matches(table, write, name):
    scored = score_table(write(table, name), "gap", ["measure.*"], ["hp.*"])
    assert [scored.predictions[e] for e in scored.order] == ["measure.twin", "measure.good", "measure.random"]
    assert (scored.models, scored.configurations) == (40, 20)
    assert list(scored.card) == ["tau"]
    clusters = table.groupby(["hp.width", "hp.optimizer"], sort=False).ngroup().to_numpy()
    for column, entry in zip(scored.predictions, scored.card["tau"].entries, strict=True):
        prediction, target = table[column].to_numpy(), table["gap"].to_numpy()
        draws = interval(bootstrap_tau(prediction[None], target, clusters)[0])
        assert (entry.value, entry.low, entry.high) == (kendall_tau(prediction, target).value, draws.low, draws.high)
    assert [scored.rankings["tau"].places[e] for e in scored.order] == ["best", "behind", "behind"]
    assert scored.tie_ceiling < 1


def test_without_hyperparameters_every_row_is_a_configuration(table, write):
    assert score_table(write(table), "gap", ["measure.good"]).configurations == 40


def test_an_empty_hyperparameter_is_a_value_of_its_own(table, write):
    """Of the grid, and of what the regressor of partial tau sees."""
    table["hp.dropout"] = [0.5, None] * 20
    scored = score_table(write(table), "gap", ["measure.good"], ["hp.width", "hp.dropout"], scores="psi,k,partial")
    assert scored.configurations == 20
    assert scored.card["psi"].entries[0].detail["cells"] == (2, 10)
    assert scored.card["partial"].entries[0].value is not None


def test_columns_come_once_and_a_wildcard_never_means_the_target_or_the_seed(table, grid, write):
    path = write(table.drop(columns=["model", "hp.optimizer"]))
    scored = score_table(path, "gap", ["measure.good", "*"])
    assert sorted(scored.predictions) == ["hp.width", "measure.good", "measure.random", "measure.twin"]
    path = write(grid.rename(columns={"seed": "hp.seed"}), "grid.csv")
    assert score_table(path, "gap", ["measure.*"], ["hp.*"], seed="hp.seed").configurations == 12


def test_those_with_gaps_are_compared_on_the_models_that_all_ranked_have(table, write):
    """Better only because it skips the model it would have put last: no reason to rank it first alone."""
    table["measure.skips"] = table["measure.twin"]
    table.loc[table["gap"].idxmin(), "measure.twin"] = 99.0
    table.loc[table["gap"].idxmin(), "measure.skips"] = None
    scored = score_table(write(table), "gap", ["measure.skips", "measure.twin", "measure.random"], scores="tau,psi")
    assert scored.coverage == (39 / 40, 1, 1)
    ranking = scored.rankings["tau"]
    assert ranking.places == ("best", "tie", "behind")
    assert ranking.ranks == ((1, 2), (1, 2), (3, 3))
    assert (ranking.best_two, ranking.models_needed) == ((0, 1), None)
    assert set(scored.rankings["psi"].places) == {"unranked"}


def test_a_terminal_sees_progress_and_nobody_else(table, write, capsys, monkeypatch):
    options = ["--target", "gap", "--prediction", "measure.*", "--scores", "tau,r2"]
    assert cli.main(["score", str(write(table)), *options]) == 0
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["score", str(write(table)), *options]) == 0
    said = terminal.getvalue()
    assert "tau:   0%" in said
    assert "R²:" in said
    assert "/6 [" in said
    assert said.endswith("\r"), "the bar is gone before the scores are printed"


def test_a_score_that_is_named_twice_is_one(table, write):
    assert list(score_table(write(table), "gap", ["measure.good"], scores="r2, tau,r2").card) == ["r2", "tau"]


def test_all_scores_are_all_that_need_no_common_scale(grid, write):
    assert "mae" not in score_table(write(grid), "gap", ["measure.good"], ["hp.*"], scores="all").card


def test_all_scores(grid, write, capsys):
    options = ["--target", "gap", "--prediction", "measure.*", "--hyperparameters", "hp.*", "--seed", "seed"]
    path = write(grid)
    report = command(capsys, path, *options, "--scores", ",".join(SCORES), "--test-examples", 10_000, "--json")
    assert (report["configurations"], report["test_examples"], report["regressor"]) == (12, 10_000, PLAIN_WORDS)
    assert list(report["scores"]) == list(SCORES)
    for name, score in report["scores"].items():
        assert score["undefined"] is None
        assert score["lower_is_better"] == (name in ("robust", "mae"))
        assert set(score["noise_floor"]) == {"median", "p95"}
        if name != "partial":  # there is hardly a gap beyond the hyperparameters
            assert score["best_two"] == ["measure.good", "measure.poor"]
            assert score["models_needed"] > 1
    good = report["rows"][0]["scores"]
    assert good["tau"]["place"] == "best"
    assert report["rows"][1]["scores"]["robust"]["place"] == "behind"
    assert good["robust"]["ranks"] == [1, 1]
    assert set(good["psi"]["psi"]) == {"hp.width", "hp.optimizer", "hp.dropout"}
    assert set(good["k"]["hyperparameters"]) <= set(good["psi"]["psi"])
    assert {"adjusted_r2", "fold_r2"} <= set(good["r2"])
    assert good["mae"]["flipped"] is None


def test_text(table, write):
    table.loc[:9, "measure.random"] = None
    table["measure.same"] = 1.0
    table["measure.none"] = None
    text = format_text(score_table(write(table), "gap", ["measure.*"]), 110)
    rows = [line.split() for line in text.splitlines()]
    cells = {words[0]: words[1:3] for words in rows if words and words[0] in ("twin", "good", "same", "random", "none")}
    assert cells["twin"] == ["100.0%", "*1.000"]
    assert (cells["random"][0], cells["random"][1][0]) == ("75.0%", "-")
    assert cells["none"] == ["0.0%", "-undefined"]
    assert "constant, so that nothing is ordered: same" in text
    assert "tau of none: undefined: defined for 0 models, of at least 3" in text
    assert "* best, = statistical tie with it" in text


def test_all_scores_fit_the_screen(grid, write):
    scored = score_table(write(grid), "gap", ["measure.*"], ["hp.*"], scores="all")
    for width, blocks in ((90, 3), (110, 2), (220, 1)):
        text = format_text(scored, width)
        assert max(map(len, text.splitlines())) <= width
        assert text.count("good") == blocks
        assert text.count("undefined: no number of test examples was given (--test-examples N)") == 1
        assert "a width, b optimizer, c dropout" in text
    assert "leave out their own score" not in text
    assert "Noise floors are on all models" not in text


def test_ranks_and_the_fit_out_of_fold_stand_beside_the_intervals(table, write):
    table["measure.none"] = None
    scored = score_table(write(table), "gap", ["measure.*"], ["hp.*"], scores="tau,r2")
    text = format_text(scored, 120)
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(("twin", "good", "random", "none"))}
    assert "tau (ranks)" in text
    assert "R² (ranks, fold R²)" in text
    assert re.search(r"\*1\.000 \[ *1\.000, +1\.000\] 1 +\*1\.000 \[1\.000, 1\.000\] 1 +1\.000$", rows["twin"])
    assert re.search(r"\] 3 .*\] 3 +-\.\d{3}$", rows["random"])
    assert re.search(r"-undefined +- +-undefined +- +-$", rows["none"])


def test_an_interval_that_leaves_out_its_score_and_floors_of_other_models_are_explained(table, write):
    table.loc[:3, "measure.random"] = None
    scored = score_table(write(table), "gap", ["measure.*"], scores="tau,r2")
    assert "Noise floors are on all models: on the fewer that some are defined for" in format_text(scored, 200)
    first, *others = scored.card["r2"].entries
    outside = replace(scored.card["r2"], entries=(replace(first, value=0.1, low=0.2), *others))
    text = format_text(replace(scored, card=scored.card | {"r2": outside}), 200)
    assert "Intervals of R² can leave out their own score: draws of fewer different models bias it." in text


def test_more_hyperparameters_than_letters():
    letters = [_letter(number) for number in range(80)]
    assert letters[25:28] == ["z", "a1", "b1"]
    assert re.findall(r"[a-z]\d*", "".join(letters)) == letters
    assert len(set(letters)) == 80


def test_a_reason_stands_once_though_predictions_are_defined_for_different_models(grid, write):
    grid.loc[:2, "measure.poor"] = None
    scored = score_table(write(grid), "gap", ["measure.*"], ["hp.*"], scores="tau,robust")
    assert format_text(scored, 110).count("undefined") == 1
    assert to_json(scored)["scores"]["robust"]["undefined"].endswith("(--test-examples N)")


@pytest.mark.parametrize("scores", ["tau,psi,k,pgdl", "psi,k,tau"])
def test_constant_hyperparameters_leave_psi_and_k_undefined_and_tau_as_it_is(table, write, scores, capsys):
    path = write(table.assign(**{"hp.width": 1, "hp.optimizer": "SGD"}))
    options = [path, "--target", "gap", "--prediction", "measure.*", "--scores", scores]
    text = command(capsys, *options, "--hyperparameters", "hp.*")
    assert text.count("undefined: no grid; all hyperparameters have one value") == 1
    with_none, without = (command(capsys, *options, *given, "--json") for given in (["--hyperparameters", "hp.*"], []))
    assert with_none["scores"]["psi"]["undefined"] == "no grid; all hyperparameters have one value"
    taus = [[row["scores"]["tau"] for row in report["rows"]] for report in (with_none, without)]
    assert taus[0] == taus[1]
    assert {row["scores"]["psi"]["value"] for row in with_none["rows"]} == {None}
    assert without["scores"]["k"]["undefined"].endswith("were given (--hyperparameters COLUMN)")


def test_half_precision_is_read(tmp_path, table):
    path = tmp_path / "half.parquet"
    table.astype({"gap": "float16", "measure.good": "float16", "hp.width": "float16"}).to_parquet(path)
    assert score_table(path, "gap", ["measure.good"], ["hp.*"]).models == 40


def test_whole_numbers_that_a_float_cannot_tell_apart_are_refused(tmp_path, table):
    path = tmp_path / "large.parquet"
    table.assign(large=2**60 + np.arange(40)).to_parquet(path)
    with pytest.raises(InputError, match="column large has whole numbers that differ beyond the 53 bits of a float"):
        score_table(path, "gap", ["large"])


def test_a_column_given_twice_is_named(tmp_path, table):
    path = tmp_path / "twice.csv"
    table[["gap", "measure.good", "measure.good"]].to_csv(path, index=False)
    with pytest.raises(InputError, match=r"column 'measure.good' appears more than once"):
        score_table(path, "gap", ["measure.*"])


def test_names_do_not_command_a_terminal(write, table):
    table["measure.\x1b[31m\u202e"] = table["measure.good"]
    text = format_text(score_table(write(table), "gap", ["measure.*"]), 110)
    assert text.isprintable() or set(text) - {letter for letter in text if letter.isprintable()} == {"\n"}


def test_what_forms_no_grid_is_named(table, write):
    table["hp.rate"] = np.random.default_rng(3).random(40)
    scored = score_table(write(table), "gap", ["measure.good"], ["hp.rate", "hp.optimizer"], scores="psi")
    assert "no two configurations differ in hp.optimizer alone" in to_json(scored)["scores"]["psi"]["undefined"]


def test_too_few_configurations_for_any_draw_to_have_a_psi(write, capsys):
    """One configuration changed in each of 12 hyperparameters: a draw has a psi where it has all 13."""
    table = pd.DataFrame(np.vstack([np.zeros(12), np.eye(12)]), columns=[f"hp.{number}" for number in range(12)])
    table["gap"] = np.arange(13.0)
    table["mine"], table["other"] = table["gap"], -table["gap"]
    options = ["--target", "gap", "--prediction", "mine", "--prediction", "other", "--hyperparameters", "hp.*"]
    psi = command(capsys, write(table), *options, "--scores", "psi", "--json")["rows"][1]["scores"]["psi"]
    assert (psi["value"], psi["low"], psi["ranks"], psi["place"]) == (None, None, None, "unranked")
    assert psi["undefined"] == "it exists in 0 of 2000 bootstrap draws alone"
    assert "it exists in 0 of 2000 bootstrap draws alone" in command(capsys, write(table), *options, "--scores", "psi")


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
        (None, {"seed": "model"}, "--seed tells the runs of one configuration apart; name its --hyperparameters"),
        (None, {"predictions": ["model"]}, "row 1 of column model is 'model-0', expected a finite number"),
        (None, {"scores": "tau,pdgl"}, "no score 'pdgl' .did you mean 'pgdl'.*give all, or some of tau, psi, k"),
        (None, {"scores": "tau,all"}, "--scores tau,all: give all alone .all but mae., or names of tau, psi, k, pgdl"),
        (None, {"scores": ""}, "no score ''; give all, or some of tau"),
        (None, {"test_examples": 0}, "--test-examples is 0, expected a whole number of at least 1"),
        (set_cell(2, "measure.good", "high"), {}, "row 3 of column measure.good is 'high'"),
        (set_cell(4, "measure.good", float("inf")), {}, "row 5 of column measure.good is inf"),
        (set_cell(6, "gap", "?"), {}, "row 7 of column gap is '?'"),
        (set_cell(6, "gap", None), {}, "gap is empty in row 7"),
    ],
)
def test_bad_input(table, write, change, options, words):
    path = write(change(table) if change else table)
    given = {"target": "gap", "predictions": ["measure.good"], **options}
    with pytest.raises(InputError, match=words):
        score_table(path, **given)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table[:2], "2 models; a score needs at least 3"),
        (lambda table: table[:0], "0 models; a score needs at least 3"),
        (lambda table: table.assign(gap=0.25), "target is 0.25 for all 40 models, so there is no order to predict"),
    ],
)
def test_tables_that_have_no_score(table, write, change, words):
    with pytest.raises(ScoreError, match=words):
        score_table(write(change(table)), "gap", ["measure.good"])


def test_one_run_given_twice(grid, write):
    given = {"target": "gap", "predictions": ["measure.*"], "hyperparameters": ["hp.*"]}
    twice = write(pd.concat([grid, grid[6:7]]), "twice.csv")
    words = "rows 7 and 49 are equal in all hyperparameters and in {}, so they are one run given twice; leave one out"
    with pytest.raises(InputError, match=words.format("gap, measure.good, measure.poor")):
        score_table(twice, **given)
    with pytest.raises(InputError, match=words.format("seed")):
        score_table(twice, **given, seed="seed")
    # Two seeds that came out alike, which the measures cannot tell apart, are two runs where the table says so.
    grid.loc[7, ["gap", "measure.good", "measure.poor"]] = grid.loc[6, ["gap", "measure.good", "measure.poor"]]
    alike = write(grid, "alike.csv")
    with pytest.raises(InputError, match=r"rows 7 and 8 .* name the column that tells runs apart with --seed"):
        score_table(alike, **given)
    assert score_table(alike, **given, seed="seed").models == 48


def test_hyperparameters_are_numbers_or_words(grid, write):
    grid["hp.list"] = [[1.0]] * 48
    with pytest.raises(InputError, match=r"row 1 of hyperparameter hp.list is .*expected a finite number or a word"):
        score_table(write(grid, "table.parquet"), "gap", ["measure.good"], ["hp.*"])


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_hyperparameter_is_refused(grid, write, name, value):
    """It would be a value of the grid for some scores, and no number for the regressor of another."""
    grid.loc[4, "hp.dropout"] = value
    words = f"row 5 of hyperparameter hp.dropout is {value}, expected a finite number or a word; leave it empty where"
    with pytest.raises(InputError, match=words):
        score_table(write(grid, name), "gap", ["measure.good"], ["hp.*"])


def test_errors_are_one_line_and_nothing_is_written(grid, write, capsys, tmp_path, monkeypatch):
    options = [write(grid), "--target", "gap", "--prediction"]
    page = tmp_path / "page.html"
    assert "no column matches 'none.*'" in refused(capsys, *options, "none.*", "--html", page)
    options += ["measure.*", "--html"]
    assert "there is no score 'kk'" in refused(capsys, *options, page, "--scores", "kk")
    assert f"{tmp_path}/none is no folder" in refused(capsys, *options, tmp_path / "none" / "page.html")
    assert "table.csv is no folder" in refused(capsys, *options, tmp_path / "table.csv" / "page.html")
    assert f"--html {tmp_path} is a folder" in refused(capsys, *options, tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # permissions do not bind the superuser
    assert f"{tmp_path} is no folder that can be written to" in refused(capsys, *options, page)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_dates_and_lists_are_not_numbers(table, write):
    table["measure.date"] = pd.Timestamp("2026-01-01")
    table["measure.list"] = [[1.0]] * 40
    path = write(table, "table.parquet")
    for column in ("measure.date", "measure.list"):
        with pytest.raises(InputError, match=f"row 1 of column {column} is"):
            score_table(path, "gap", [column])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.csv", None, "cannot be read as csv"),
        ("missing.parquet", None, "cannot be read as parquet"),
        ("table.xlsx", b"", "a table is a .csv or a .parquet file"),
        ("empty.csv", b"", "cannot be read as csv"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as csv"),
        ("binary.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as csv"),
        ("garbage.parquet", b"PAR1 and no more", "cannot be read as parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        score_table(path, "a", ["b"])


def test_a_truncated_parquet_file(table, write):
    path = write(table, "table.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as parquet"):
        score_table(path, "gap", ["measure.good"])


def test_the_module_is_light_to_import():
    program = "import sys, benchmark.commands.score; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "pandas", "numpy", "scipy"} & set(loaded)


def test_the_competition_table(gengap_tables, capsys, tmp_path):
    path = gengap_tables / "pgdl_task1_measures.csv"
    official = json.loads((gengap_tables / "pgdl_task1_official_scores.json").read_text())["score"]
    options = ["--target", "gen_gap", "--prediction", "measure.*", "--hyperparameters", "hp.*", "--scores", "tau,pgdl"]
    report = command(capsys, path, *options, "--json")
    rows = {row["prediction"].removeprefix("measure."): row["scores"] for row in report["rows"]}
    assert {name: rows[name]["pgdl"]["value"] for name in official} == pytest.approx(official, abs=1e-9, rel=0)
    table = pd.read_csv(path)
    turned = tmp_path / "turned.csv"
    table.assign(**{"measure.WCV": -table["measure.WCV"]}).to_csv(turned, index=False)
    options[3] = "measure.WCV"
    (opposite,) = command(capsys, turned, *options, "--json")["rows"]
    wcv, opposite = rows["WCV"], opposite["scores"]
    assert opposite["tau"]["value"] == -wcv["tau"]["value"]
    assert abs(opposite["pgdl"]["value"] - wcv["pgdl"]["value"]) > 0.01
    assert opposite["pgdl"]["value"] == wcv["pgdl"]["flipped"]


def test_all_scores_of_the_competition_fit_one_screen(gengap_tables):
    scored = score_table(
        gengap_tables / "pgdl_task1_measures.csv",
        "gen_gap",
        ["measure.*"],
        ["hp.*"],
        scores="all",
        test_examples=10_000,
    )
    lines = format_text(scored, 120).splitlines()
    assert len(lines) <= 55
    assert max(map(len, lines)) <= 120
