"""Measures of a whole zoo: the same values however they are computed, none lost, none stale."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.measures.measure import Measure
from benchmark.evaluation import measuring
from benchmark.evaluation.measuring import FAST, measure, not_stored, read, redundant, select
from benchmark.evaluation.views import make_view
from zoo_builder.errors import InputError
from zoo_builder.files import sha256
from zoo_builder.lock import only_process
from zoo_builder.store.format import write_manifest
from zoo_builder.store.zoo import Zoo

FAMILIES = ("norms", "path", "output")


def sorted_values(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["model_id", "measure", "value", "status", "reason"]
    return table[columns].sort_values(["measure", "model_id"], ignore_index=True)


def part_runs(zoo: Zoo) -> int:
    """The runs of the first part."""
    return zoo.parts[0].runs


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
    assert len(zoo.parts) > 1
    measure(zoo, select(["norms"]))
    whole = {path: path.read_bytes() for path in part_files(zoo)}
    missing = []
    measure(zoo, select(["norms"]), start=missing.append)
    assert missing == [0]
    assert {path: path.read_bytes() for path in part_files(zoo)} == whole
    part_files(zoo)[0].unlink()
    measure(zoo, select(["norms", "path-norm-identity"]), start=missing.append)
    assert missing[1] == part_runs(zoo) * len(select(["norms"])) + len(zoo.final)
    assert set(read(zoo)["measure"]) == {m.name for m in select(["norms", "path-norm-identity"])}
    assert not read(zoo)[["model_id", "measure"]].duplicated().any()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_is_resumed(zoo):
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
    monkeypatch.setattr(measuring, "SAVED_EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        measure(zoo, [*kept, last])
    first = zoo.final.iloc[: part_runs(zoo)]
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


def test_failed_measures_are_tried_again_and_old_versions_and_other_weights_count_for_nothing(zoo):
    row = Measure("moody", fails_for_a_while, "weights", "weights", "a test", "a test")
    table = measure(zoo, [row])
    assert set(table["status"]) == {"failed"}
    assert set(table["reason"]) == {"the measure failed: MemoryError: not now"}
    ones = replace(row, function=lambda context: torch.ones(len(context)))
    table = measure(zoo, [ones])
    assert (set(table["status"]), set(table["value"])) == ({"ok"}, {1.0})
    zeros = replace(row, function=lambda context: torch.zeros(len(context)), version=2)
    assert read(zoo, [zeros]).empty
    assert len(read(zoo, [ones])) == len(zoo.final)
    assert set(measure(zoo, [zeros])["value"]) == {0.0}
    assert read(zoo, [ones]).empty
    stale = pd.read_parquet(part_files(zoo)[0]).assign(weights="0" * 64)
    stale.to_parquet(part_files(zoo)[0], index=False)
    assert len(read(zoo, [zeros])) == len(zoo.final) - part_runs(zoo)


def test_the_measures_of_another_run_stay(zoo):
    row = Measure("mine", lambda context: torch.ones(len(context)), "weights", "weights", "a test", "a test")
    measure(zoo, [row])
    table = measure(zoo, select(["weight-norm"]))
    assert set(table["measure"]) == {"weight-norm"}
    assert set(read(zoo)["measure"]) == {"weight-norm"}, "read gives only built-in measures"
    assert len(read(zoo, [row])) == len(zoo.final)


def test_names_are_measures_families_fast_and_all():
    assert [m.name for m in select(["all"])] == [m.name for m in measures()]
    assert {m.cost for m in select(["fast"])} == {"free", "weights", "pass"}
    assert [m.name for m in select(["weight-norm", "norms"])].count("weight-norm") == 1
    with pytest.raises(InputError, match=r"unknown measure 'wieght-norm' \(did you mean 'weight-norm'\?\): give all"):
        select(["wieght-norm"])


@pytest.mark.parametrize(
    ("final", "left_out"),
    [
        (pd.DataFrame({"train_fraction": [0.5, 1.0]}), False),
        (pd.DataFrame({"train_fraction": [0.5, 0.5]}), True),
        (pd.DataFrame({"width": [4, 8]}), True),  # an imported zoo that does not say
    ],
)
def test_where_all_models_have_as_many_images_measures_per_image_are_left_out(final, left_out):
    names = redundant(SimpleNamespace(final=final))
    per_image = [row.name for row in measures() if row.name.endswith("-per-image")]
    assert names == (per_image if left_out else [])
    for group in ("fast", "all"):
        chosen = {row.name for row in select([group], names)}
        assert chosen.isdisjoint(per_image) == left_out
        assert "param-norm" in chosen
    assert [row.name for row in select(["param-norm-per-image"], names)] == ["param-norm-per-image"]


def test_a_damaged_table_is_named(zoo):
    measure(zoo, select(["weight-norm"]))
    path = part_files(zoo)[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{path.name} cannot be read .* delete it, and `gengap measure` computes it"):
        measure(zoo, select(["weight-norm"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(columns="weights"), "weights"),
        (lambda table: table.assign(value="high"), "column value holds no numbers"),
        (lambda table: table.assign(error=-1.0), "an error that is negative or infinite"),
        (lambda table: table.assign(value=np.nan), "a value without a status that fits it"),
        (lambda table: table.assign(status="undefined"), "a value without a status that fits it"),
        (lambda table: table.assign(status="excellent"), "a value without a status that fits it"),
        (lambda table: pd.concat([table, table]), "two values of one measure and model"),
    ],
)
def test_a_table_of_others_with_other_content_is_refused(zoo, change, words):
    measure(zoo, select(["weight-norm"]))
    path = part_files(zoo)[0]
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    with pytest.raises(InputError, match=f"{path.name} cannot be read .*{words}.*: delete it"):
        read(zoo)


def test_a_table_of_an_earlier_version_has_no_errors(zoo):
    chosen = select(["fisher-trace"])
    table = measure(zoo, chosen)
    assert (table["error"] > 0).all()
    for path in part_files(zoo):
        pd.read_parquet(path).drop(columns="error").to_parquet(path, index=False)
    again = measure(zoo, chosen)
    assert again["error"].isna().all()
    np.testing.assert_array_equal(again["value"], table["value"])


def test_nothing_is_written_through_a_link(zoo, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (zoo.root / "measures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="measures is a link, and nothing is written to a folder with links"):
        measure(zoo, select(["weight-norm"]))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_part_without_tensors_is_refused_and_not_scored_with_nothing(zoo):
    manifest = dict(zoo.manifest)
    name = zoo.parts[0].file("weights")
    save_file({}, zoo.root / name, {"padding": "a" * 1000})  # a manifest has no more rows than bytes
    manifest["parts"][0]["files"][name] = {
        "sha256": sha256(zoo.root / name),
        "bytes": (zoo.root / name).stat().st_size,
    }
    write_manifest(zoo.root, manifest)
    with pytest.raises(InputError, match=r"part-00000.safetensors is not what a zoo holds: there is no tensor"):
        measure(Zoo.open(zoo.root), select(["weight-norm"]))


def test_a_path_in_place_of_a_zoo_is_refused(zoo):
    with pytest.raises(InputError, match=r"`zoo` is '.*', expected a Zoo: Zoo.open\(folder\) makes one"):
        measure(str(zoo.root), select(["weight-norm"]))


def test_slow_measures_are_not_stored_until_they_have_been_measured(zoo):
    names = [m.name for m in measures() if m.cost not in FAST and not m.name.endswith("-per-image")]
    assert not_stored(zoo) == names
    slow = next(measure for measure in measures() if measure.cost == "search")
    # In its place one that takes no time: what is stored are its name and its version.
    measure(zoo, [replace(slow, function=lambda context: torch.ones(len(context)))])
    assert not_stored(zoo) == [name for name in names if name != slow.name]


def test_measures_of_weights_ask_for_no_images(zoo, tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.manifest["data"], "location", str(tmp_path / "moved"))
    monkeypatch.setitem(zoo.manifest["data"], "name", "gone")
    for workers in (1, 2):
        table = measure(zoo, select(["norms"])[:workers], workers=workers)
        assert len(table) == workers * len(zoo.final)
    with pytest.raises(InputError, match=r"moved is not a folder: .* was built from there: .* as `data_root`"):
        measure(zoo, select(["output"]))


@pytest.mark.parametrize("workers", [1, 2])
def test_without_a_named_data_set_measures_of_images_have_the_reason_of_their_view(zoo, workers):
    manifest = {key: value for key, value in zoo.manifest.items() if not key.startswith("recipe")}
    write_manifest(zoo.root, manifest | {"source": {"description": "networks of unknown origin"}, "data": {}})
    table = measure(
        Zoo.open(zoo.root), select(["weight-norm", "negative-margin", "pac-bayes-flatness"]), workers=workers
    )
    assert table.groupby("measure")["status"].unique().map(list).to_dict() == {
        "weight-norm": ["ok"],
        "negative-margin": ["undefined"],
        "pac-bayes-flatness": ["undefined"],
    }
    assert set(table.loc[table["status"] == "undefined", "reason"]) == {
        "the zoo does not name the data set that its models were trained on"
    }
