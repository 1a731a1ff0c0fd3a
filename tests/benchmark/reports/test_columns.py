import re

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


def test_rows_without_a_target_are_left_out_and_named(table, write_table):
    whole = table.drop(index=[4, 20])
    table.loc[[4, 20], "gap"] = None
    columns = read_columns(write_table(table), "gap", ["measure.*"], ["hp.*"])
    same = read_columns(write_table(whole, "whole.csv"), "gap", ["measure.*"], ["hp.*"])
    assert columns.notes == ("left out: rows 5 and 21 of 40, in which gap is empty",)
    assert (columns.target == same.target).all()
    assert (columns.predictions == same.predictions).all()
    assert (columns.hyperparameters == same.hyperparameters).all()
    table.loc[[1, 2, 3, 9], "gap"] = None
    table["measure.good"] = table["measure.good"].astype(object)
    table.loc[4, "measure.good"] = "of a row that is left out"
    (note,) = read_columns(write_table(table), "gap", ["measure.good"]).notes
    assert note == "left out: 6 rows (2, 3, 4, 5, 10, ...) of 40, in which gap is empty"
    table.loc[30, "measure.good"] = "high"
    with pytest.raises(InputError, match=r"row 31 of column measure\.good is .high"):
        read_columns(write_table(table), "gap", ["measure.good"])
    with pytest.raises(InputError, match="gap is empty in all 40 rows; name the column of the true values"):
        read_columns(write_table(table.assign(gap=None)), "gap", ["measure.twin"])


def test_a_number_is_one_value_in_all_its_spellings(grid, write_table):
    """Beside words, and in a Parquet column of words, as in a column of numbers."""
    grid["hp.rate"] = [0.5, 0.05, 12.0, 0.5] * 12
    spellings = {0.5: ["0.5", ".50", "5e-1", "+0.5"], 0.05: ["0.05", "5E-2"], 12.0: ["12", "12.", "1.2e1", "012"]}
    seen = dict.fromkeys(spellings, 0)
    words = []
    for value in grid["hp.rate"]:
        words.append(spellings[value][seen[value] % len(spellings[value])])
        seen[value] += 1
    given = {"target": "gap", "predictions": ["measure.*"], "hyperparameters": ["hp.*"], "seed": "seed"}
    expected = read_columns(write_table(grid), **given)
    found = read_columns(write_table(grid.assign(**{"hp.rate": words}), "words.parquet"), **given)
    assert found.configurations == expected.configurations
    assert (found.hyperparameters == expected.hyperparameters).all()
    for name in ("words.csv", "words.parquet"):
        found = read_columns(write_table(grid.assign(**{"hp.rate": [*words[:-1], "cosine"]}), name), **given)
        assert (found.hyperparameters[:-1] == expected.hyperparameters[:-1]).all()
        assert found.hyperparameters[-1, -1] == "cosine"


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_word_is_one_value_in_all_its_spellings(table, write_table, name):
    """Blanks around it, Unicode in two forms, the three spellings of a truth value; capitals are worth a note."""
    optimizers = ["n\u00e9sterov", "ne\u0301sterov ", "SGD", " SGD\t"] * 10
    flags = ["TRUE", "true", "False", "maybe"] * 10
    path = write_table(table.assign(**{"hp.optimizer": optimizers, "hp.flag": flags}), name)
    columns = read_columns(path, "gap", ["measure.good"], ["hp.optimizer", "hp.flag"])
    assert {*map(tuple, columns.hyperparameters)} == {
        ("n\u00e9sterov", "True"),
        ("SGD", "False"),
        ("SGD", "maybe"),
    }
    assert columns.notes == ()
    path = write_table(table.assign(**{"hp.optimizer": ["Adam", "adam"] * 20}), name)
    assert read_columns(path, "gap", ["measure.good"], ["hp.*"]).notes == (
        "hp.optimizer: 'Adam', 'adam' count as 2 values; if they are one, spell it in one way",
    )


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize(
    "value",
    ["2,048", "12,345,678.9", "1'024", "1 024", "1\u202f024", "1_024", "1.234.567", "1.024,5", "0,25", "3,5e-4", "inf"],
)
def test_what_looks_like_a_number_in_another_notation_is_refused(grid, write_table, name, value):
    grid["hp.size"] = ["64"] * 6 + [value] + ["auto"] * 41
    words = f"row 7 of hyperparameter hp.size is {value!r}, expected a finite number or a word; write numbers with a"
    with pytest.raises(InputError, match=re.escape(words)):
        read_columns(write_table(grid, name), "gap", ["measure.good"], ["hp.*"], seed="seed")


@pytest.mark.parametrize("value", ["0.9,0.999", "3x3", "[64,128]", "1.13.1", "10 ms", "1/3", "2026-11-28", "resnet50"])
def test_words_with_digits_are_words(grid, write_table, value):
    grid["hp.word"] = ["none", value] * 24
    assert value in read_columns(write_table(grid), "gap", ["measure.good"], ["hp.word"]).hyperparameters[:, 0]


def test_columns_are_found_in_either_form_of_unicode_and_with_blanks_around(table, write_table):
    table = table.rename(
        columns={"gap": "e\u0301cart", "measure.good": " mesur\u00e9.a", "measure.twin": "mesur\u00e9.b"}
    )
    path = write_table(table)
    columns = read_columns(path, "\u00e9cart", ["mesure\u0301.*"], ["hp.*"])
    assert (columns.target == table["e\u0301cart"]).all()
    assert columns.prediction_names == ("mesur\u00e9.a", "mesur\u00e9.b")
    assert read_columns(path, "e\u0301cart", ["mesure\u0301.a"]).prediction_names == ("mesur\u00e9.a",)


def test_one_model_given_twice(table, write_table):
    """Refused where some column distinguishes all other rows, and noted where rows may be equal by chance."""
    twice = pd.concat([table, table[10:13]])
    words = (
        "rows 11 and 41 are equal in all columns, so they are one model given twice .3 such rows of 43; model differs"
    )
    for path in (write_table(twice, "twice.csv"), write_table(twice.reset_index(drop=True), "twice.parquet")):
        with pytest.raises(InputError, match=words):
            read_columns(path, "gap", ["measure.good"])
    numbered = write_table(twice, "numbered.csv")
    twice.reset_index(drop=True).to_csv(numbered)
    with pytest.raises(InputError, match=words):
        read_columns(numbered, "gap", ["measure.good"])
    with pytest.raises(InputError, match=words.replace("model differs", r"measure\.good differs")):
        read_columns(write_table(twice.drop(columns="model")), "gap", ["measure.good"])
    coarse = pd.DataFrame({"gap": np.arange(40) % 5, "depth": np.arange(40) % 3})
    (note,) = read_columns(write_table(coarse), "gap", ["depth"]).notes
    assert note.startswith("rows 1 and 16 are equal in all columns, and 25 of 40 rows repeat another")
    assert read_columns(write_table(coarse.assign(run=np.arange(40))), "gap", ["depth"]).notes == ()
