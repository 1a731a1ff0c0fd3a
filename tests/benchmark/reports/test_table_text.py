import re
from dataclasses import replace

from benchmark.reports.table import score_table
from benchmark.reports.table_json import to_json
from benchmark.reports.table_text import format_text, letter_of


def test_text(table, write_table):
    table.loc[:9, "measure.random"] = None
    table["measure.same"] = 1.0
    table["measure.none"] = None
    text = format_text(score_table(write_table(table), "gap", ["measure.*"]), 110)
    rows = [line.split() for line in text.splitlines()]
    cells = {words[0]: words[1:4] for words in rows if words and words[0] in ("twin", "good", "same", "random", "none")}
    assert cells["twin"] == ["100", "%", "*1.000"]
    assert (cells["random"][0], cells["random"][2][0]) == ("75.0", "!")
    assert cells["none"] == ["0.0", "%", "!undefined"]
    assert "! unranked (defined for fewer than 95 % of the models)" in " ".join(text.split())
    assert "constant, so it orders nothing: same" in text
    assert "tau of none: undefined: defined for 0 models, of at least 3" in text
    assert "* best, = statistical tie with the best" in text


def test_all_scores_fit_the_screen(grid, write_table):
    scored = score_table(write_table(grid), "gap", ["measure.*"], ["hp.*"], scores="all")
    for width, blocks in ((90, 3), (110, 2), (220, 1)):
        text = format_text(scored, width)
        assert max(map(len, text.splitlines())) <= width
        assert text.count("good") == blocks
        assert text.count("undefined: no number of test examples was given") == 1
        assert "a width, b optimizer, c dropout" in text
    assert "can exclude the score itself" not in text
    assert "Noise floors are computed on all models" not in text


def test_ranks_and_the_fit_out_of_fold_stand_beside_the_intervals(table, write_table):
    table["measure.none"] = None
    scored = score_table(write_table(table), "gap", ["measure.*"], ["hp.*"], scores="tau,r2")
    text = format_text(scored, 120)
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(("twin", "good", "random", "none"))}
    assert "tau (ranks)" in text
    assert "R² (ranks, fold R²)" in text
    assert re.search(r"\*1\.000 \[ *1\.000, +1\.000\] 1 +\*1\.000 \[1\.000, 1\.000\] 1 +1\.000$", rows["twin"])
    assert re.search(r"\] 3 .*\] 3 +-\.\d{3}$", rows["random"])
    assert re.search(r"!undefined +n/a +!undefined +n/a +n/a$", rows["none"])


def test_an_interval_that_leaves_out_its_score_and_floors_of_other_models_are_explained(table, write_table):
    table.loc[:3, "measure.random"] = None
    scored = score_table(write_table(table), "gap", ["measure.*"], scores="tau,r2")
    assert "Noise floors are computed on all models; for methods that are defined" in format_text(scored, 200)
    first, *others = scored.card["r2"].entries
    outside = replace(scored.card["r2"], entries=(replace(first, value=0.1, low=0.2), *others))
    text = format_text(replace(scored, card=scored.card | {"r2": outside}), 200)
    assert (
        "Intervals of R² can exclude the score itself: draws hold fewer distinct models, which biases the score."
        in text
    )


def test_more_hyperparameters_than_letters():
    letters = [letter_of(number) for number in range(80)]
    assert letters[25:28] == ["z", "a1", "b1"]
    assert re.findall(r"[a-z]\d*", "".join(letters)) == letters
    assert len(set(letters)) == 80


def test_a_reason_stands_once_though_predictions_are_defined_for_different_models(grid, write_table):
    grid.loc[:2, "measure.poor"] = None
    scored = score_table(write_table(grid), "gap", ["measure.*"], ["hp.*"], scores="tau,robust")
    assert format_text(scored, 110).count("undefined") == 1
    assert to_json(scored)["scores"]["robust"]["undefined"] == "no number of test examples was given"


def test_names_do_not_command_a_terminal(write_table, table):
    table["measure.\x1b[31m\u202e"] = table["measure.good"]
    text = format_text(score_table(write_table(table), "gap", ["measure.*"]), 110)
    assert text.isprintable() or set(text) - {letter for letter in text if letter.isprintable()} == {"\n"}


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


def test_no_mark_reads_as_a_sign(grid, write_table):
    """A minus stands before a digit or a point, and only a number below 0 has one."""
    grid["measure.up"] = grid["gap"].where(grid.index < 20)
    grid["measure.down"] = -grid["measure.up"]
    grid["measure.none"] = None
    scored = score_table(write_table(grid), "gap", ["measure.*"], ["hp.*"], scores="tau,k,r2", seed="seed")
    text = format_text(scored, 200)
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(("good", "up", "down", "none"))}
    values = {name: re.findall(r"[*=! ]( *-?[\d.]+) \[", row) for name, row in rows.items()}
    assert {name: len(found) for name, found in values.items()} == {"good": 3, "up": 3, "down": 3, "none": 0}
    assert float(values["up"][0]) == -float(values["down"][0]) > 0
    assert float(values["up"][2]) == float(values["down"][2]) > 0
    assert "-" not in re.sub(r"\d-\d|-1?\.\d{3}", "", "".join(rows.values()))


def test_notes_on_the_table_are_printed(table, write_table):
    table.loc[5, "gap"] = None
    text = format_text(score_table(write_table(table), "gap", ["measure.*"]), 110)
    assert "gap of 39 models in 39 configurations" in text
    assert "left out: row 6 of 40, in which gap is empty" in text
