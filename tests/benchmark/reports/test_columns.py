import numpy as np
import pandas as pd
import pytest

from benchmark.reports.columns import read_columns
from zoo_builder.errors import InputError


def test_columns_come_once_and_a_wildcard_never_means_the_target_or_the_seed(table, grid, write_table):
    path = write_table(table.drop(columns=["model", "hp.optimizer"]))
    columns = read_columns(path, "gap", ["measure.good", "*"])
    assert sorted(columns.prediction_names) == ["hp.width", "measure.good", "measure.random", "measure.twin"]
    path = write_table(grid.rename(columns={"seed": "hp.seed"}), "grid.csv")
    assert read_columns(path, "gap", ["measure.*"], ["hp.*"], seed="hp.seed").configurations == 12


def test_half_precision_is_read(tmp_path, table):
    path = tmp_path / "half.parquet"
    table.astype({"gap": "float16", "measure.good": "float16", "hp.width": "float16"}).to_parquet(path)
    assert len(read_columns(path, "gap", ["measure.good"], ["hp.*"]).target) == 40


def test_whole_numbers_that_a_float_cannot_tell_apart_are_refused(tmp_path, table):
    path = tmp_path / "large.parquet"
    table.assign(large=2**60 + np.arange(40)).to_parquet(path)
    with pytest.raises(InputError, match="column large has whole numbers that differ beyond the 53 bits of a float"):
        read_columns(path, "gap", ["large"])


def test_a_column_given_twice_is_named(tmp_path, table):
    path = tmp_path / "twice.csv"
    table[["gap", "measure.good", "measure.good"]].to_csv(path, index=False)
    with pytest.raises(InputError, match=r"column 'measure.good' appears more than once"):
        read_columns(path, "gap", ["measure.*"])


def test_one_run_given_twice(grid, write_table):
    given = {"target": "gap", "predictions": ["measure.*"], "hyperparameters": ["hp.*"]}
    twice = write_table(pd.concat([grid, grid[6:7]]), "twice.csv")
    words = "rows 7 and 49 are equal in all hyperparameters and in {}, so they are one run given twice; leave one out"
    with pytest.raises(InputError, match=words.format("gap, measure.good, measure.poor")):
        read_columns(twice, **given)
    with pytest.raises(InputError, match=words.format("seed")):
        read_columns(twice, **given, seed="seed")
    # Two seeds that came out alike, which the measures cannot tell apart, are two runs where the table says so.
    grid.loc[7, ["gap", "measure.good", "measure.poor"]] = grid.loc[6, ["gap", "measure.good", "measure.poor"]]
    alike = write_table(grid, "alike.csv")
    with pytest.raises(InputError, match=r"rows 7 and 8 .* name the column that distinguishes runs as `seed`"):
        read_columns(alike, **given)
    assert len(read_columns(alike, **given, seed="seed").target) == 48


def test_hyperparameters_are_numbers_or_words(grid, write_table):
    grid["hp.list"] = [[1.0]] * 48
    with pytest.raises(InputError, match=r"row 1 of hyperparameter hp.list is .*expected a finite number or a word"):
        read_columns(write_table(grid, "table.parquet"), "gap", ["measure.good"], ["hp.*"])


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_hyperparameter_is_refused(grid, write_table, name, value):
    """It would be a value of the grid for some scores, and no number for the regressor of another."""
    grid.loc[4, "hp.dropout"] = value
    words = f"row 5 of hyperparameter hp.dropout is {value}, expected a finite number or a word; leave it empty where"
    with pytest.raises(InputError, match=words):
        read_columns(write_table(grid, name), "gap", ["measure.good"], ["hp.*"])


def test_dates_and_lists_are_not_numbers(table, write_table):
    table["measure.date"] = pd.Timestamp("2026-01-01")
    table["measure.list"] = [[1.0]] * 40
    path = write_table(table, "table.parquet")
    for column in ("measure.date", "measure.list"):
        with pytest.raises(InputError, match=f"row 1 of column {column} is"):
            read_columns(path, "gap", [column])


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
        read_columns(path, "a", ["b"])


def test_a_truncated_parquet_file(table, write_table):
    path = write_table(table, "table.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read_columns(path, "gap", ["measure.good"])
