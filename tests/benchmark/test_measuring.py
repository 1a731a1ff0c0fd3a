"""Measures of a whole zoo: the same values however they were computed, nothing lost, nothing stale."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from baselines import measures as families_of_measures
from baselines.measures import families, measures
from baselines.measures.compute import compute
from baselines.measures.measure import Measure
from benchmark.commands.main import main
from benchmark.evaluation import measuring
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.measuring import measure, not_at_hand, read, select
from benchmark.evaluation.selection import find_methods
from benchmark.evaluation.views import make_view
from benchmark.tasks import find_task
from zoo_builder.errors import InputError
from zoo_builder.lock import only_process
from zoo_builder.store.zoo import Zoo

FAMILIES = ("norms", "path", "output")


@pytest.fixture
def zoo(small_zoo, tmp_path) -> Zoo:
    """A copy of the small zoo, to write beside."""
    shutil.copytree(small_zoo.root, tmp_path / "zoo")
    return Zoo.open(tmp_path / "zoo")


def sorted_values(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["model_id", "measure", "value", "status", "reason"]
    return table[columns].sort_values(["measure", "model_id"], ignore_index=True)


def part_files(zoo: Zoo) -> list:
    return sorted((zoo.root / "measures").glob("*.parquet"))


def test_the_table_holds_what_compute_gives(zoo):
    chosen, told = select(FAMILIES), []
    table = measure(zoo, chosen, workers=2, progress=told.append)
    assert sum(told) == len(table) == len(chosen) * len(zoo.final)
    truth = compute(make_view(zoo, zoo.final, "trajectory"), chosen, stack_size=7)
    for name, rows in table.groupby("measure"):
        rows = rows.set_index("model_id").loc[zoo.final["model_id"]]
        np.testing.assert_allclose(rows["value"], truth[name].values, rtol=1e-4)
        assert rows["value"].dtype == np.float64
        assert (rows["status"] == "ok").tolist() == np.isfinite(truth[name].values).tolist()
        found = [None if pd.isna(reason) else reason for reason in rows["reason"]]
        assert found == [truth[name].reasons.get(model) for model in range(len(zoo.final))]
        assert (rows["seconds"] >= 0).all()


def test_only_what_is_missing_is_computed(zoo):
    assert len(zoo.manifest["parts"]) > 1
    measure(zoo, select(["norms"]))
    whole = {path: path.read_bytes() for path in part_files(zoo)}
    missing = []
    measure(zoo, select(["norms"]), start=missing.append)
    assert missing == [0]
    assert {path: path.read_bytes() for path in part_files(zoo)} == whole
    part_files(zoo)[0].unlink()
    measure(zoo, select(["norms", "path-norm-identity"]), start=missing.append)
    first = zoo.manifest["parts"][0]["runs"]
    assert missing[1] == first * len(select(["norms"])) + len(zoo.final)
    assert set(read(zoo)["measure"]) == {m.name for m in select(["norms", "path-norm-identity"])}
    assert not read(zoo)[["model_id", "measure"]].duplicated().any()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_goes_on(zoo, small_zoo):
    command = [
        sys.executable,
        "-m",
        "benchmark.commands.main",
        "measure",
        str(zoo.root),
        "--workers",
        "1",
        "--measures",
    ]
    process = subprocess.Popen([*command, *FAMILIES], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not part_files(zoo) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    table = measure(zoo, select(FAMILIES))
    assert sorted((zoo.root / "measures").iterdir()) == part_files(zoo)
    shutil.rmtree(zoo.root / "measures")
    pd.testing.assert_frame_equal(sorted_values(table), sorted_values(measure(zoo, select(FAMILIES))))


def interrupts(context):
    raise KeyboardInterrupt


def test_measures_of_a_part_that_is_interrupted_are_kept(zoo, monkeypatch):
    kept = select(["norms"])
    last = Measure("last", interrupts, "weights", "weights", "a test", "a test")
    monkeypatch.setattr(measuring, "select", lambda names: [*kept, last])
    monkeypatch.setattr(measuring, "SAVED_EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        measure(zoo, [*kept, last])
    monkeypatch.undo()
    first = zoo.final.iloc[: zoo.manifest["parts"][0]["runs"]]
    first = first[first["architecture"] == first["architecture"].iloc[0]]
    missing = []
    table = measure(zoo, kept, start=missing.append)
    assert missing == [len(kept) * (len(zoo.final) - len(first))]
    assert len(table) == len(kept) * len(zoo.final)


def test_two_do_not_measure_one_zoo(zoo):
    with only_process(zoo.root, "building", "wait"):
        expected = (
            rf"another process holds .*/zoo \(building, pid {os.getpid()} on .*\): wait for it, or measure a copy"
        )
        with pytest.raises(InputError, match=expected):
            measure(zoo, select(["norms"]))


def fails_for_a_while(context):
    raise MemoryError("not now")


def test_failed_measures_are_tried_again_and_old_versions_and_other_weights_count_for_nothing(zoo, monkeypatch):
    row = Measure("moody", fails_for_a_while, "weights", "weights", "a test", "a test")
    everything = families()

    def use(measure: Measure) -> None:
        for module in (measuring, families_of_measures):
            monkeypatch.setattr(module, "families", lambda: {**everything, "moods": (measure,)})
        monkeypatch.setattr(measuring, "measures", lambda: (*measures(), measure))

    use(row)
    table = measure(zoo, select(["moods"]))
    assert set(table["status"]) == {"failed"}
    assert set(table["reason"]) == {"the measure failed: MemoryError: not now"}
    use(replace(row, function=lambda context: torch.ones(len(context))))
    table = measure(zoo, select(["moods"]))
    assert (set(table["status"]), set(table["value"])) == ({"ok"}, {1.0})
    use(replace(row, function=lambda context: torch.zeros(len(context)), version=2))
    assert read(zoo).empty
    assert set(measure(zoo, select(["moods"]))["value"]) == {0.0}
    stale = pd.read_parquet(part_files(zoo)[0]).assign(weights="0" * 64)
    stale.to_parquet(part_files(zoo)[0], index=False)
    assert len(read(zoo)) == len(zoo.final) - zoo.manifest["parts"][0]["runs"]


def test_names_are_measures_families_fast_and_all():
    assert [m.name for m in select(["all"])] == [m.name for m in measures()]
    assert {m.cost for m in select(["fast"])} == {"free", "weights", "pass"}
    assert [m.name for m in select(["weight-norm", "norms"])].count("weight-norm") == 1
    with pytest.raises(InputError, match=r"unknown measure 'wieght-norm' \(did you mean 'weight-norm'\?\): give all"):
        select(["wieght-norm"])


def test_a_damaged_table_is_named(zoo):
    measure(zoo, select(["weight-norm"]))
    path = part_files(zoo)[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{path.name} cannot be read .* delete it, and `gengap measure` computes it"):
        measure(zoo, select(["weight-norm"]))


def test_the_command_prints_a_line_per_measure(zoo, capsys):
    assert main(["measure", str(zoo.root), "--measures", "norms", "inverse-margin", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"weight-norm +64/64 +\d", out)
    assert "the 10th percentile of the training margins is not positive" in out
    assert main(["measure", str(zoo.root), "--measures", "nroms"]) == 2
    assert "unknown measure 'nroms' (did you mean 'norms'?)" in capsys.readouterr().err
    assert main(["measure", str(zoo.root), "--measures", "mine.py:mine"]) == 2
    assert "mine.py:mine is not built in: `gengap run complexity mine.py:mine" in capsys.readouterr().err


def test_scores_read_what_was_measured(zoo, tmp_path, monkeypatch):
    """The records are those of values computed in a process of their own, and no process is started."""
    task = find_task("complexity", "small")
    methods = find_methods(["path-norm", "negative-margin"], task)
    computed = evaluate(task, methods, zoo, tmp_path / "computed")
    measure(zoo, select(["path", "output"]))
    monkeypatch.setattr("benchmark.evaluation.evaluate.answers_of", None)
    for record, before in zip(evaluate(task, methods, zoo, tmp_path / "read"), computed, strict=True):
        assert record.scores == before.scores
        assert record.coverage == before.coverage
        assert (record.peak_memory_mib, before.peak_memory_mib is None) == (None, False)
        pd.testing.assert_frame_equal(record.predictions(), before.predictions(), rtol=1e-4)


def test_all_stands_for_slow_measures_where_they_have_been_measured(zoo, monkeypatch):
    slow = Measure("slow", lambda context: torch.ones(len(context)), "weights", "search", "a test", "a test")
    everything = families()
    for module in (measuring, families_of_measures):
        monkeypatch.setattr(module, "families", lambda: {**everything, "slow-ones": (slow,)})
    monkeypatch.setattr(measuring, "measures", lambda: (*measures(), slow))
    assert "slow" in not_at_hand(zoo)
    measure(zoo, [slow])
    assert "slow" not in not_at_hand(zoo)
    task = find_task("complexity", "small")
    assert "path-norm" in [method.name for method in find_methods(["all"], task)]
    assert [method.name for method in find_methods(["slow-ones", "weight-norm", "slow-ones"], task)] == [
        "slow",
        "weight-norm",
    ]
    assert "path-norm" not in [method.name for method in find_methods(["all"], task, left_out=["path-norm"])]


def test_measures_are_listed_with_their_sources(capsys):
    assert main(["measures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.index("") == 1 + len(measures())
    assert lines[0].split() == ["measure", "family", "cost", "needs", "formula", "source"]
    assert any(line.startswith("cost   free: ") for line in lines)
    assert main(["measures", "path", "weight-norm", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == ["weight-norm", *(measure.name for measure in select(["path"]))]


def test_measures_of_weights_ask_for_no_images(zoo, tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.manifest["data"], "location", str(tmp_path / "moved"))
    monkeypatch.setitem(zoo.manifest["data"], "name", "gone")
    for workers in (1, 2):
        table = measure(zoo, select(["norms"])[:workers], workers=workers)
        assert len(table) == workers * len(zoo.final)
    with pytest.raises(InputError, match=r"moved is not a folder: .* was built from there: say with --data where it"):
        measure(zoo, select(["output"]))
