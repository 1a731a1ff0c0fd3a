import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import tasks
from benchmark.records import read_records
from zoo_builder.store.zoo import Zoo


@pytest.fixture(autouse=True)
def quick_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task with tau as its only score: the others take seconds."""
    monkeypatch.setattr(tasks, "TASKS", tuple(replace(task, scores=("tau",)) for task in tasks.TASKS))


@pytest.fixture
def run(gengap, small_zoo: Zoo, tmp_path: Path):
    """Runs methods on a task of the small zoo and returns the exit code, stdout and stderr."""
    return lambda *arguments: gengap("run", *arguments, "--zoo", small_zoo.root, "--results", tmp_path / "results")


@pytest.fixture
def mine(tmp_path: Path):
    """Writes a measure ``mine(context)`` to a file of the name and returns its reference."""

    def write(body: str, name: str = "mine") -> str:
        file = tmp_path / f"{name}.py"
        file.write_text(f"def mine(context):\n    {body}\n")
        return f"{file}:mine"

    return write


def test_every_method_gets_a_line_and_a_record(run, tmp_path: Path) -> None:
    code, out, err = run("generalization-gap", "weight-norm", "oracle-0.5-sd")
    assert (code, out) == (0, f"records are in {tmp_path / 'results'}\n")
    assert "small/generalization-gap: 2 methods\n" in err
    assert re.search(r"  weight-norm +[\d.]+ s  tau +-?[.\d]+ \[", err)
    assert len(list((tmp_path / "results").glob("small/generalization-gap/*.json"))) == 2


def test_a_method_that_fails_is_an_error_with_its_log(run, mine) -> None:
    code, _, err = run("generalization-gap", mine("raise RuntimeError('no idea')"))
    assert code == 2
    assert "gengap: error: mine failed on small/generalization-gap: the measure failed: RuntimeError: no idea" in err
    assert "raise RuntimeError('no idea')" in err


def test_a_method_that_takes_too_long_timed_out(run, mine) -> None:
    code, _, err = run("complexity", mine("import time; time.sleep(100)"), "--timeout", 1)
    assert code == 2
    assert "gengap: error: mine timed out on small/complexity: took longer than 1 s" in err


def test_values_that_a_measure_lost_are_a_warning(run, mine) -> None:
    code, _, err = run("complexity", mine("return context.weights.sum(1).log()"))
    assert code == 0
    assert "gengap: warning: mine failed for some models of small/complexity:\n    mine: the measure failed: it" in err


def test_a_refused_method_does_not_keep_others_from_running(run, mine, tmp_path: Path) -> None:
    """One that cannot be loaded, and one of two that have the same name."""
    (tmp_path / "broken.py").write_text("import elephants\n")
    same = [mine("return context.weights.sum(1)", name) for name in ("a", "b")]
    code, out, err = run("complexity", f"{tmp_path}/broken.py:Mine", *same, "--json")
    assert code == 2
    assert [record["method"] for record in json.loads(out)] == ["mine"]
    assert err.count("broken.py:Mine cannot be loaded: ModuleNotFoundError: No module named 'elephants'") == 1
    assert re.search(r"b.py:mine is called 'mine' like .*a.py:mine: give it another `name`", err)
    assert err.index("b.py:mine is called") < err.index("the other methods run\n") < err.index("complexity: 1 method\n")
    assert err.endswith("gengap: error: 2 methods did not run, see the errors at the start\n")
    assert "complexity: 1 method\n" in err


def test_fast_measures_run_and_those_that_do_not_fit_are_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.evaluation.measuring.FAST", ("free",))
    code, out, err = run("generalization-gap", "fast", "--json")
    assert (code, len(json.loads(out)) > 1) == (0, True)
    assert "left out of fast, because generalization-gap does not take them: steps-to-cross-entropy, " in err
    assert "left out: measures per training image, whose number varies here; per-image adds them" in err
    assert "-per-image" not in out
    assert "error" not in err


def test_namesakes_are_told_before_they_run_and_shown_apart(run, mine, tmp_path: Path) -> None:
    assert "another" not in run("complexity", mine("return context.weights.sum(1)", "a"))[2]
    code, _, err = run("complexity", mine("return -context.weights.sum(1)", "b"))
    assert code == 0
    said = f"another 'mine' has records here, {tmp_path}/a.py:mine: boards show both; give this one another `name`"
    assert said in err
    first, second = sorted(read_records(tmp_path / "results"), key=lambda record: record.time)
    assert (first.label, second.label) == ("mine", f"mine ({(second.code or '')[:8]})")
    assert [first.source, second.source] == [f"{tmp_path}/a.py:mine", f"{tmp_path}/b.py:mine"]


def test_a_failure_names_the_score_that_is_still_shown(run, mine, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    reference = mine(f"import os; return 1 / 0 if os.path.exists({str(flag)!r}) else context.weights.sum(1)")
    assert run("complexity", reference, "--trust")[0] == 0
    flag.touch()
    code, _, err = run("complexity", reference, "--trust")
    assert code == 2
    assert "boards go on showing the score that mine had on small/complexity at 20" in err


def test_on_all_tasks_a_method_runs_on_those_that_take_it(run, refused, small_zoo: Zoo) -> None:
    code, out, err = run("all", "parameter-count", "--json")
    assert code == 0
    assert [record["task"] for record in json.loads(out)] == ["small/generalization-gap", "small/complexity"]
    assert "does not fit" not in err
    error = refused("run", "test-accuracy", "parameter-count", "--zoo", small_zoo.root)
    assert "parameter-count does not fit test-accuracy: a measure predicts the generalization gap" in error
