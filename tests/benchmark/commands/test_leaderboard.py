import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.selection import find_methods
from benchmark.reports.board_markdown import render_markdown
from benchmark.tasks import find_task
from zoo_builder.store.zoo import Zoo


def test_a_leaderboard_is_printed_written_and_checked(gengap, small_zoo: Zoo, tmp_path: Path) -> None:
    results, zoo = tmp_path / "results", small_zoo.root
    task = replace(find_task("generalization-gap", small_zoo.name), scores=("tau",))
    evaluate(task, find_methods(["weight-norm", "oracle-0.5-sd"], task), small_zoo, results)
    text = gengap("leaderboard", results)[1]
    assert "## small/generalization-gap" in text
    board, page = tmp_path / "LEADERBOARD.md", tmp_path / "page.html"
    assert gengap("leaderboard", results, "--markdown", board, "--html", page, "--zoo", zoo)[0] == 0
    assert board.read_text() == text
    assert page.read_text().count("plotly.js v") == 1
    assert gengap("leaderboard", results, "--check", board)[0] == 0
    board.write_text(text + "edited")
    code, _, err = gengap("leaderboard", results, "--check", board)
    assert code == 1
    assert f"{board} does not match the records: run `gengap leaderboard {results} --markdown {board}`" in err
    assert "](" not in text, "no link leads anywhere from a terminal"
    records = json.loads(gengap("leaderboard", results, "--json")[1])
    assert {record["method"] for record in records} == {"weight-norm", "oracle-0.5-sd"}


def test_foreign_and_damaged_files_take_one_line_each_and_no_board(gengap, small, tmp_path: Path) -> None:
    target = np.linspace(0, 1, 8)
    names = [f"{i}" for i in range(8)]
    small(tmp_path, {"good": target, "lost": target, "cut": target}, target, names)
    for name in ("model", "trainer"):
        file = tmp_path / "notes" / "deep" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("[" * 100_000)
    next(tmp_path.glob("*/*/lost--*.parquet")).unlink()
    (cut,) = tmp_path.glob("*/*/cut--*.json")
    cut.write_text(cut.read_text()[:100])
    code, out, err = gengap("leaderboard", tmp_path)
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"left out: {cut} cannot be read as a record: ")
    assert lines[1].startswith("passed over 2 files (notes/deep/model.json, notes/deep/trainer.json) in ")
    assert lines[2].startswith("left out: the score of lost on cifar10-gs/test-accuracy: ")
    assert "delete" not in err
    assert "| 1 | 1–1 | good | 1.000 |" in out
    assert "- lost (not read): " in out


def test_a_zoo_of_no_board_is_named(gengap, small, small_zoo: Zoo, tmp_path: Path) -> None:
    target = np.linspace(0, 1, 8)
    small(tmp_path, {"good": target}, target, [f"{i}" for i in range(8)])
    code, _, err = gengap("leaderboard", tmp_path, "--html", tmp_path / "page.html", "--zoo", small_zoo.root)
    assert code == 0
    assert f"{small_zoo.root} is not plotted: no record is of its weights" in err


def test_links_are_written_where_they_lead_somewhere(small, tmp_path: Path) -> None:
    target = np.linspace(0, 1, 8)
    found = small(tmp_path, {"good": target}, target, [f"{i}" for i in range(8)])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "scores.md").touch()
    (tmp_path / "results").mkdir()
    assert "[docs/scores.md](../docs/scores.md)" in render_markdown(found, tmp_path / "results")
    assert "](" not in render_markdown(found, tmp_path)


def test_what_passes_for_a_built_in_method_is_on_no_board_and_nothing_controls_the_terminal(
    gengap, small, tmp_path
) -> None:
    target, names = np.linspace(0, 1, 8), [f"{i}" for i in range(8)]
    about = {"formula": "\x1b[31m", "flags": ["\x1b]0;owned\x07\u202e"]}
    small(tmp_path, {"random": target, "Rand0m": target, "honest": target}, target, names, **about)
    small(tmp_path, {"path-norm": target}, target, names, source="mine.py:Mine", code="c" * 64)
    code, out, err = gengap("leaderboard", tmp_path)
    assert code == 0
    assert "| random |" in out
    assert "| honest |" in out
    assert "Rand0m" not in out
    assert "path-norm" not in out
    assert "its method 'Rand0m' looks like the built-in 'random'" in err
    assert "its method 'path-norm' looks like the built-in 'path-norm'" in err
    for text in (out, err, gengap("leaderboard", tmp_path, "--json")[1]):
        assert not set(text) & set("\x1b\x07\u202e")
