import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import tasks
from benchmark.tasks import find_task
from zoo_builder.recipes.recipe import load_recipe


@pytest.mark.parametrize(
    "names", [["LEADERBOARD.md"], ["results"], ["zoo", "cifar10-gs"], ["digits", "LEADERBOARD.md"], ["thesis.tex"]]
)
def test_a_demo_writes_into_no_other_folder(refused, tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine") if "." in name else (tmp_path / name).mkdir()
    error = refused("demo", "--out", tmp_path)
    assert re.search(rf"{tmp_path} is not empty and not a demo \(it holds \S+\): choose another --out", error)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(names)


@pytest.mark.system
def test_the_demo_leaves_a_zoo_records_a_leaderboard_and_a_report(
    gengap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fifth of its models, one epoch, and the task that has the fewest methods."""
    small = load_recipe("digits").cut(models=48, epochs=1)
    monkeypatch.setattr("zoo_builder.recipes.recipe.load_recipe", lambda name: small)
    monkeypatch.setattr(tasks, "TASKS", (replace(find_task("unlabeled-accuracy", "digits"), scores=("tau",)),))
    code, out, err = gengap("demo", "--out", tmp_path, "--workers", 1, "--json")
    assert code == 0, err
    said = json.loads(out)
    assert {record["status"] for record in said["records"]} == {"ok"}
    assert "disagreement" in {record["method"] for record in said["records"]}
    assert "digits/unlabeled-accuracy" in (tmp_path / "LEADERBOARD.md").read_text()
    assert "plotly.js" in Path(said["report"]).read_text()
    assert (tmp_path / "zoo" / "zoo.json").is_file()
    assert len(list((tmp_path / "results").glob("*/*/*.json"))) == len(said["records"])
