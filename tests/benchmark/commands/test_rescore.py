"""`gengap rescore`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import tasks
from benchmark.evaluation import rescoring
from zoo_builder.store.zoo import Zoo


def test_it_writes_new_records_and_says_so(
    gengap, small_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tuple(replace(task, scores=("tau",)) for task in tasks.TASKS)
    monkeypatch.setattr(tasks, "TASKS", quick)
    monkeypatch.setattr(rescoring, "TASKS", quick)
    gengap("run", "complexity", "path-norm", "--zoo", small_zoo.root, "--results", tmp_path)
    code, out, err = gengap("rescore", small_zoo.root, "--results", tmp_path)
    assert (code, out) == (0, f"1 new record in {tmp_path}\n")
    assert "  path-norm " in err
    code, out, _ = gengap("rescore", small_zoo.root, "--results", tmp_path, "--json")
    (record,) = json.loads(out)
    assert (code, record["method"], len(list(tmp_path.glob("*/*/*.json")))) == (0, "path-norm", 3)


def test_without_records_it_says_how_to_make_some(gengap, small_zoo: Zoo, tmp_path: Path) -> None:
    code, out, err = gengap("rescore", small_zoo.root, "--results", tmp_path)
    assert (code, out) == (2, "")
    assert "run methods with `gengap run`" in err
