import json
from dataclasses import replace
from pathlib import Path

from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.selection import find_methods
from benchmark.tasks import find_task
from zoo_builder.store.zoo import Zoo


def test_a_leaderboard_is_printed_written_and_checked(gengap, small_zoo: Zoo, tmp_path: Path) -> None:
    results, zoo = tmp_path / "results", small_zoo.root
    task = replace(find_task("generalization-gap", small_zoo.name), scores=("tau",))
    evaluate(task, find_methods(["weight-norm", "oracle-0.02"], task), small_zoo, results)
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
    records = json.loads(gengap("leaderboard", results, "--json")[1])
    assert {record["method"] for record in records} == {"weight-norm", "oracle-0.02"}
