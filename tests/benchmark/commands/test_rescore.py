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
    for module, scores in ((tasks, ("tau",)), (rescoring, ("tau", "psi"))):
        monkeypatch.setattr(module, "TASKS", tuple(replace(task, scores=scores) for task in tasks.TASKS))
    gengap("run", "complexity", "path-norm", "--zoo", small_zoo.root, "--results", tmp_path)
    code, out, err = gengap("rescore", small_zoo.root, "--results", tmp_path)
    assert (code, out) == (0, f"1 new record in {tmp_path}\n")
    assert "small/complexity: 1 record scored\n  path-norm " in err
    code, out, _ = gengap("rescore", small_zoo.root, "--results", tmp_path, "--json")
    assert (code, json.loads(out), len(list(tmp_path.glob("*/*/*.json")))) == (0, [], 2)


def test_without_records_it_says_how_to_make_some(gengap, small_zoo: Zoo, tmp_path: Path) -> None:
    code, out, err = gengap("rescore", small_zoo.root, "--results", tmp_path)
    assert (code, out) == (2, "")
    assert "run methods with `gengap run`" in err
