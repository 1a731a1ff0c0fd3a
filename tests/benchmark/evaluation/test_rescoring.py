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
def scored(small_zoo: Zoo, task, tmp_path: Path) -> list[Record]:
    methods = find_methods(["path-norm", "negative-margin", "training-accuracy"], task)
    evaluate(task, methods, small_zoo, tmp_path)
    return read_records(tmp_path)


def test_the_same_scores_come_back_with_what_the_run_took(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    told: list[Record] = []
    again = rescore(small_zoo, tmp_path, done=told.append)
    assert told == again
    assert read_records(tmp_path) == sorted(again, key=lambda record: record.method)
    for new, old in zip(sorted(again, key=lambda record: record.method), scored, strict=True):
        assert new.created > old.created
        assert old.path is not None
        assert old.path.is_file()
        assert replace(new, created=old.created) == old
        pd.testing.assert_frame_equal(new.predictions(), old.predictions())


def test_a_score_that_the_task_did_not_have_is_added(
    small_zoo: Zoo, scored, quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "TASKS", (replace(quick("complexity"), scores=("tau", "psi")),))
    for record in rescore(small_zoo, tmp_path):
        assert "psi" in record.scores.keys() | record.undefined.keys()


def test_a_users_method_keeps_its_code_and_its_box(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    old = scored[0]
    own = {"method": "mine", "source": "gone.py:mine", "code": "ab" * 32, "protection": "namespaces", "log": "a line"}
    write(replace(old, **own), old.predictions(), tmp_path)
    again = {record.method: record for record in rescore(small_zoo, tmp_path)}
    assert {name: getattr(again["mine"], name) for name in own} == own
    assert again["mine"].scores == old.scores


def test_remarks_and_errors_come_along(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    frame = scored[0].predictions().assign(reason="at the bound", error=1e-9)
    write(replace(scored[0], method="other"), frame, tmp_path)
    (other,) = (record for record in rescore(small_zoo, tmp_path) if record.method == "other")
    assert other.flags[-2:] == [
        f"at the bound ({len(frame)} of {len(frame)} values)",
        "random draws: tau 1.00 to values without error",
    ]
    np.testing.assert_array_equal(other.predictions()["error"], 1e-9)


def test_records_of_others_are_left_with_a_line(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    frame = scored[0].predictions()
    write(replace(scored[0], method="other", weights_hash="0" * 64), frame, tmp_path)
    write(replace(scored[0], method="split", split_hash="0" * 64), frame, tmp_path)
    failed = {"status": "failed", "reason": "why", "scores": {}, "coverage": 0.0}
    later = {"created": "2100-01-01T00:00:00+00:00"}
    write(replace(scored[1], **failed, **later), None, tmp_path)
    lines: list[str] = []
    assert len(rescore(small_zoo, tmp_path, note=lines.append)) == 2
    assert lines == [
        "small/complexity: 1 record is of another split",
        "small/complexity: 2 records are of other weights, or a failed run followed",
    ]


def test_without_records_of_the_zoo_there_is_nothing_to_score(small_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no predictions for the zoo 'small' in .*: run methods with"):
        rescore(small_zoo, tmp_path)


def test_predictions_of_other_targets_are_refused(small_zoo: Zoo, scored, tmp_path: Path) -> None:
    assert scored[0].path is not None
    frame = scored[0].predictions()
    frame.assign(target=frame["target"] + 1).to_parquet(scored[0].path.with_suffix(".parquet"), index=False)
    with pytest.raises(InputError, match=r"are of other models or targets than those of .*: run negative-margin again"):
        rescore(small_zoo, tmp_path)
    assert len(list(tmp_path.glob("*/*/*.json"))) == 3


def test_a_path_in_place_of_a_zoo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Zoo\.open"):
        rescore(tmp_path, tmp_path)  # pyright: ignore[reportArgumentType]
