"""Records whose predictions are scored anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import tasks
from benchmark.evaluation import rescoring
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.rescoring import rescore
from benchmark.evaluation.selection import find_methods
from benchmark.records import Record, read_records, write
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


@pytest.fixture
def task(quick, monkeypatch: pytest.MonkeyPatch) -> tasks.Task:
    """With tau as its only score."""
    task = quick("complexity")
    monkeypatch.setattr(rescoring, "TASKS", (task,))
    return task


@pytest.fixture
def with_psi(task, scored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task has one score more than when it was ``scored``."""
    monkeypatch.setattr(rescoring, "TASKS", (replace(task, scores=("tau", "psi")),))


@pytest.fixture
def scored(small_zoo: Zoo, task, tmp_path: Path) -> list[Record]:
    methods = find_methods(["path-norm", "negative-margin", "training-accuracy"], task)
    evaluate(task, methods, small_zoo, tmp_path)
    return read_records(tmp_path)


def test_records_whose_scores_are_the_same_stay(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    lines: list[str] = []
    assert rescore(small_zoo, tmp_path, note=lines.append) == []
    assert sorted(tmp_path.rglob("*")) == before
    assert lines == ["small/complexity: 3 records scored"]


def test_a_score_that_the_task_did_not_have_is_added(small_zoo: Zoo, scored, with_psi, tmp_path: Path) -> None:
    told: list[Record] = []
    again = sorted(rescore(small_zoo, tmp_path, done=told.append), key=lambda record: record.method)
    assert sorted(told, key=lambda record: record.method) == again == read_records(tmp_path)
    for new, old in zip(again, scored, strict=True):
        assert old.path is not None
        assert old.path.is_file()
        assert "psi" in new.scores.keys() | new.undefined.keys()
        assert new.scores["tau"] == old.scores["tau"]
        run = {"created": old.created, "commit": old.commit, "package_version": old.package_version}
        assert new.environment == old.environment | {"run": run}
        taken = ("seconds", "peak_memory_mib", "log", "formula", "citation", "access", "kind", "control", "models")
        assert [getattr(new, name) for name in taken] == [getattr(old, name) for name in taken]
        pd.testing.assert_frame_equal(new.predictions(), old.predictions())
    assert rescore(small_zoo, tmp_path) == []


def test_a_users_method_keeps_its_code_and_its_box(small_zoo: Zoo, scored, with_psi, tmp_path: Path) -> None:
    old = scored[0]
    own = {"method": "mine", "source": "gone.py:mine", "code": "ab" * 32, "protection": "namespaces", "log": "a line"}
    write(replace(old, **own), old.predictions(), tmp_path)
    again = {record.method: record for record in rescore(small_zoo, tmp_path)}
    assert {name: getattr(again["mine"], name) for name in own} == own
    assert again["mine"].scores["tau"] == old.scores["tau"]


def test_remarks_and_errors_come_along(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    frame = scored[0].predictions().assign(reason="at the bound", error=1e-9)
    write(replace(scored[0], method="other"), frame, tmp_path)
    (other,) = (record for record in rescore(small_zoo, tmp_path) if record.method == "other")
    assert other.flags[-2:] == [
        f"{len(frame)} of {len(frame)} values: at the bound",
        "random draws: tau 1.00 to values without error",
    ]
    np.testing.assert_array_equal(other.predictions()["error"], 1e-9)


def test_records_that_cannot_be_scored_are_left_with_a_line(small_zoo: Zoo, scored, with_psi, tmp_path: Path) -> None:
    frame = scored[0].predictions()
    write(replace(scored[0], method="other", weights_hash="0" * 64), frame, tmp_path)
    write(replace(scored[0], method="older", task_version=1), frame, tmp_path)
    split = write(replace(scored[0], method="split", split_hash="0" * 64), frame, tmp_path)
    failed = {"status": "failed", "reason": "why", "scores": {}, "coverage": 0.0}
    write(replace(scored[1], **failed, created="2100-01-01T00:00:00+00:00"), None, tmp_path)
    lost = write(replace(scored[0], method="lost"), frame, tmp_path)
    lost.with_suffix(".parquet").unlink()
    write(replace(scored[0], method="infinite"), frame.assign(prediction=np.inf), tmp_path)
    lines: list[str] = []
    again = rescore(small_zoo, tmp_path, note=lines.append)
    assert {record.method for record in again} == {scored[0].method, scored[2].method}
    assert lines[:3] == [
        "small/complexity: left out: 1 record of another version of the task",
        "small/complexity: left out: 1 record of other weights",
        "small/complexity: left out: 1 record followed by a failed run",
    ]
    assert lines[3] == f"left out: {split} is of another split: run split again"
    assert lines[4].startswith(f"left out: {lost.with_suffix('.parquet')}, the predictions of ")
    assert lines[5] == "small/complexity: 3 records scored"
    assert lines[6].startswith("left out: infinite: its predictions cannot be scored: ")


def test_without_records_of_the_zoo_there_is_nothing_to_score(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "holds no scores of the zoo 'small' with"), ("absent", "there is no folder")):
        with pytest.raises(InputError, match=words):
            rescore(small_zoo, tmp_path / folder)
    assert not (tmp_path / "absent").exists()
    assert scored[0].path is not None
    with pytest.raises(InputError, match=r"json is a file, expected a folder of records"):
        rescore(small_zoo, scored[0].path)


def test_predictions_of_other_targets_are_left_out(small_zoo: Zoo, scored, with_psi, tmp_path: Path) -> None:
    assert scored[0].path is not None
    frame = scored[0].predictions()
    frame.assign(target=frame["target"] + 1).to_parquet(scored[0].path.with_suffix(".parquet"), index=False)
    lines: list[str] = []
    assert len(rescore(small_zoo, tmp_path, note=lines.append)) == 2
    assert f"are of other models or targets than those of {small_zoo.root}: run {scored[0].method} again" in lines[0]


def test_a_path_in_place_of_a_zoo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Zoo\.open"):
        rescore(tmp_path, tmp_path)  # pyright: ignore[reportArgumentType]
