import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.score_table import add_arguments, format_text, run, score_table
from benchmark.scoring.bootstrap import bootstrap_tau, interval
from benchmark.scoring.kendall import kendall_tau
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


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_scores_every_column_that_matches(table, write, name):
    scored = score_table(write(table, name), "gap", ["measure.*"], ["hp.*"])
    assert list(scored.standings) == ["measure.twin", "measure.good", "measure.random"]
    assert (scored.models, scored.configurations) == (40, 20)
    clusters = table.groupby(["hp.width", "hp.optimizer"], sort=False).ngroup().to_numpy()
    for column, standing in scored.standings.items():
        prediction, target = table[column].to_numpy(), table["gap"].to_numpy()
        assert standing.tau == kendall_tau(prediction, target)
        assert standing.interval == interval(bootstrap_tau(prediction[None], target, clusters)[0])
    assert [standing.place for standing in scored.standings.values()] == ["best", "behind", "behind"]
    assert scored.tie_ceiling < 1
    assert scored.noise_floor.p95 > 0


def test_without_hyperparameters_every_row_is_a_configuration(table, write):
    assert score_table(write(table), "gap", ["measure.good"]).configurations == 40


def test_an_empty_hyperparameter_is_a_value_of_its_own(table, write):
    table["hp.dropout"] = [0.5, None] * 20
    assert score_table(write(table), "gap", ["measure.good"], ["hp.dropout"]).configurations == 2


def test_columns_come_once_and_a_wildcard_never_means_the_target(table, write):
    path = write(table.drop(columns=["model", "hp.optimizer"]))
    scored = score_table(path, "gap", ["measure.good", "*"])
    assert sorted(scored.standings) == ["hp.width", "measure.good", "measure.random", "measure.twin"]


def test_text(table, write):
    table.loc[:9, "measure.random"] = None
    table["measure.same"] = 1.0
    table["measure.none"] = None
    text = format_text(score_table(write(table), "gap", ["measure.*"]))
    marked = {line[2:].split()[0]: line[0] for line in text.splitlines() if "measure." in line}
    assert marked == {
        "measure.twin": "*",
        "measure.good": " ",
        "measure.same": " ",
        "measure.random": "-",
        "measure.none": "-",
    }
    assert "75.0%" in text
    assert "constant" in text
    assert "undefined" in text
    assert max(map(len, text.splitlines())) <= 120


def arguments(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(list(map(str, words)))


def test_command_prints_text_or_json(table, write, capsys):
    path = write(table)
    options = [path, "--target", "gap", "--prediction", "measure.good", "--prediction", "*.twin"]
    assert run(arguments(*options, "--hyperparameters", "hp.*")) == 0
    assert "40 models in 20 configurations" in capsys.readouterr().out
    assert run(arguments(*options, "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "gap"
    assert set(report["reference"]) == {"tie_ceiling", "tie_fraction", "noise_floor"}
    best, other = report["rows"]
    assert (best["prediction"], best["place"], best["coverage"], best["flags"]) == ("measure.twin", "best", 1.0, [])
    assert best["scores"]["tau"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert other["scores"]["tau"]["low"] < other["scores"]["tau"]["value"] < other["scores"]["tau"]["high"]


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
        (None, {"predictions": ["model"]}, "row 1 of column model is 'model-0', expected a finite number"),
        (set_cell(2, "measure.good", "high"), {}, "row 3 of column measure.good is 'high'"),
        (set_cell(4, "measure.good", float("inf")), {}, "row 5 of column measure.good is inf"),
        (set_cell(6, "gap", "?"), {}, "row 7 of column gap is '?'"),
        (set_cell(6, "gap", None), {}, "gap is empty in row 7"),
        (lambda table: table[:2], {}, "has 2 rows; a score needs at least 3"),
        (lambda table: table[:0], {}, "has 0 rows"),
        (lambda table: table.assign(gap=0.25), {}, "gap is 0.25 in all 40 rows"),
        (lambda table: table.assign(**{"hp.width": 1}), {"hyperparameters": ["hp.width"]}, "equal in hp.width"),
    ],
)
def test_bad_tables(table, write, change, options, words):
    path = write(change(table) if change else table)
    given = {"target": "gap", "predictions": ["measure.good"], **options}
    with pytest.raises(InputError, match=words):
        score_table(path, **given)


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
    program = "import sys, benchmark.score_table; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "pandas", "numpy", "scipy"} & set(loaded)


@pytest.mark.skipif(
    "GENGAP_TABLES" not in os.environ, reason="GENGAP_TABLES names no folder with the competition's tables"
)
def test_the_competition_table(capsys):
    path = Path(os.environ["GENGAP_TABLES"]) / "pgdl_task1_measures.csv"
    options = ["--target", "gen_gap", "--prediction", "measure.*", "--hyperparameters", "hp.*"]
    run(arguments(path, *options))
    lines = [line for line in capsys.readouterr().out.splitlines() if " measure." in line]
    assert len(lines) >= 13
    run(arguments(path, *options, "--json"))
    rows = json.loads(capsys.readouterr().out)["rows"]
    table = pd.read_csv(path)
    for row in rows:
        expected = kendall_tau(table[row["prediction"]].to_numpy(), table["gen_gap"].to_numpy()).value
        assert row["scores"]["tau"]["value"] == expected
