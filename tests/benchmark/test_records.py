"""Records come back as they were written, of every schema; broken ones are named."""

import errno
import json
import os
import resource
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.records import (
    PREDICTION_COLUMNS,
    SCHEMA,
    STATUSES,
    NoRecord,
    Record,
    after_earlier,
    read_records,
    require_writable,
    write,
)
from zoo_builder.errors import InputError

RESULTS = Path(__file__).parents[2] / "results"
# The scores and the reference of a record of schema 1, the first of cifar10-gs; the other keys are those of schema 2.
SCHEMA_1 = {
    "schema": 1,
    "scores": {
        "tau": {"value": -0.004239873809703296, "low": -0.10444128205255143, "high": 0.10265058423162328},
        "mae": {"value": 0.43010631375924807, "low": 0.3769529837054867, "high": 0.4884345699149993},
    },
    "reference": {
        "tie_ceiling": 0.9995564426483936,
        "tie_fraction": 0.0008869179600886918,
        "noise_floor": {"median": -0.002587991973124262, "p95": 0.08343686121352618},
    },
}


@pytest.fixture
def predictions():
    return pd.DataFrame(
        {
            "model_id": ["00", "01", "02"],
            "configuration": ["a", "a", "b"],
            "prediction": [0.5, np.nan, 0.7],
            "error": [0.01, np.nan, 0.0],
            "reason": [None, "no margin", None],
            "target": [0.4, 0.5, 0.6],
        }
    )


@pytest.fixture
def record(blank):
    return replace(blank, models=3, coverage=2 / 3, scores={"tau": {"value": 1.0, "low": 0.5, "high": 1.0}})


def test_a_record_comes_back_as_it_was_written(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    assert path.parent == tmp_path / "cifar10-gs" / "test-accuracy"
    assert path.name == "someone--20261123T090000.000000Z.json"
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.stem}.parquet"]
    (read,) = read_records(tmp_path)
    assert read == record
    frame = read.predictions()
    pd.testing.assert_frame_equal(frame.drop(columns="reason"), predictions.drop(columns="reason"), check_dtype=False)
    assert frame["prediction"].dtype == np.float64
    assert frame["reason"].isna().tolist() == [True, False, True]


def test_predictions_of_an_earlier_record_have_no_errors(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    predictions.drop(columns="error").to_parquet(path.with_suffix(".parquet"), index=False)
    frame = Record.load(path).predictions()
    assert list(frame) == PREDICTION_COLUMNS
    assert frame["error"].isna().all()


def test_a_later_run_supersedes_and_the_earlier_file_stays(record, predictions, tmp_path):
    # An hour later, though its text sorts before the other.
    later = replace(record, created="2026-11-23T09:00:00-01:00", seconds=2.0)
    first = write(later, predictions, tmp_path)
    second = write(record, predictions, tmp_path)
    assert first.exists()
    assert second.exists()
    assert [read.seconds for read in read_records(tmp_path)] == [2.0]


def test_a_run_after_the_clock_was_set_back_is_the_latest(record, predictions, tmp_path):
    """And stands last among the files of its method; a longer name that begins alike is another method."""
    times = ["2026-11-23T09:00:00+00:00", "2026-11-23T08:00:00+00:00", "2026-11-23T09:00:00+00:00"]
    write(replace(record, method="someone--else", created="2027-01-01T00:00:00+00:00"), predictions, tmp_path)
    paths = []
    for seconds, created in enumerate(times, start=1):
        later = after_earlier(replace(record, created=created, seconds=float(seconds)), tmp_path)
        paths.append(write(later, predictions, tmp_path))
    assert paths == sorted(paths)
    assert paths[-1].name == "someone--20261123T090000.000002Z.json"
    assert [read.seconds for read in read_records(tmp_path) if read.method == "someone"] == [3.0]
    following = replace(record, created="2026-11-23T10:00:00+00:00")
    assert after_earlier(following, tmp_path) == following


def test_after_the_last_moment_of_the_calendar_there_is_no_later_one(record, predictions, tmp_path):
    write(replace(record, created="9999-12-31T23:59:59.999999+00:00"), predictions, tmp_path)
    with pytest.raises(InputError, match=r"has a record of the time 99991231T235959\.999999: move it"):
        after_earlier(record, tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"records cannot be written to .*file/results \(Not a directory\): free"):
        require_writable(tmp_path / "file" / "results")
    require_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_predictions_of_a_record_that_cannot_be_written_go(record, predictions, small_disk):
    disk = small_disk("1m,nr_inodes=5")  # of which folders take three, the other file and the predictions one each
    (disk / "other").touch()
    with pytest.raises(OSError, match="No space left"):
        write(record, predictions, disk)
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["other"]


def test_another_board_supersedes_nothing(record, predictions, tmp_path):
    changes = ({}, {"weights_hash": "d" * 64}, {"task_version": 2}, {"split_hash": "e" * 64}, {"method": "other"})
    for minute, change in enumerate(changes):
        write(replace(record, created=f"2026-11-23T09:{minute:02}:00+00:00", **change), predictions, tmp_path)
    assert len(read_records(tmp_path)) == len(changes)


def test_a_record_is_never_overwritten(record, predictions, tmp_path):
    write(record, predictions, tmp_path)
    with pytest.raises(InputError, match="never overwritten"):
        write(record, predictions, tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b", "a/b", ".hidden", "ü" * 80])
def test_any_name_makes_a_file_in_its_folder(record, predictions, tmp_path, name):
    path = write(replace(record, method=name), predictions, tmp_path)
    assert path.parent == tmp_path / "cifar10-gs" / "test-accuracy"
    assert [read.method for read in read_records(tmp_path)] == [name]


def test_names_that_look_alike_as_files_stay_apart(record, predictions, tmp_path):
    for name in ("a b", "a/b", "a-b"):
        write(replace(record, method=name), predictions, tmp_path)
    assert len(read_records(tmp_path)) == 3


def test_a_full_disk_leaves_nothing_half_written(record, predictions, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(record, predictions, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 5}, "schema is 5"),
        ({"taks": "x"}, "unknown key 'taks'"),
        ({"seconds": "fast"}, "seconds is 'fast'"),
        ({"status": "fine"}, "expected one of ok, failed"),
        ({"headline": "tua"}, r"headline is 'tua' \(did you mean 'tau'\?\), expected one of tau, psi"),
        ({"created": "yesterday"}, "ISO 8601"),
        ({"models": True}, "models is True, expected int"),
        ({"created": "0001-01-01T00:00:00+23:00"}, "ISO 8601"),
        ({"flags": [3]}, "something else than text"),
        ({"reference": {"noise_floors": {"tau": 5}}}, "reference holds 5, expected finite numbers median, p95"),
        ({"reference": {"architecture_floors": [1]}}, r"reference holds \[1\], expected finite numbers median, p95"),
        (
            {"scores": {"tau": {"value": 0.1, "low": 0, "high": 1, "detail": {"architecture_share": "all"}}}},
            "the detail of score tau is {'architecture_share': 'all'}, expected an object, with",
        ),
        (
            {"scores": {"tau": {"value": 0.1, "low": 0, "high": 1, "detail": 3}}},
            "the detail of score tau is 3, expected an object",
        ),
        ({"reference": {"tie_ceiling": 1.0}}, "expected finite numbers tie_ceiling, tie_fraction"),
        ({"scores": {"tau": 0.5}}, "score tau is 0.5"),
        ({"scores": {"tau": {"value": float("nan"), "low": 0, "high": 1}}}, "it holds NaN, which is not JSON"),
    ],
)
def test_a_broken_record_is_named(record, predictions, tmp_path, change, words):
    path = write(record, predictions, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words) as error:
        Record.load(path)
    assert str(path) in str(error.value)
    good = write(replace(record, method="other"), predictions, tmp_path)
    lines = []
    assert [read.path for read in read_records(tmp_path, lines.append)] == [good]
    assert lines == [f"left out: {error.value}"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "\udce4", "[" * 100_000, "1", '{"acc": NaN}'])
@pytest.mark.parametrize("folder", [False, True])
def test_files_of_others_are_passed_over_in_one_line(record, predictions, tmp_path, text, folder):
    own = write(record, predictions, tmp_path)
    for name in ("a", "b"):
        path = tmp_path / "zoo" / "task" / f"{name}.json"
        path.mkdir(parents=True) if folder else path.parent.mkdir(parents=True, exist_ok=True)
        if not folder:
            path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(NoRecord, match=rf"{name}\.json is not a record of gengap"):
            Record.load(path)
    lines = []
    assert [read.path for read in read_records(tmp_path, lines.append)] == [own]
    assert lines == [f"passed over 2 files (zoo/task/a.json, zoo/task/b.json) in {tmp_path}: not records"]


def test_a_pipe_and_a_giant_file_are_not_read(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.json")
    with open(folder / "giant.json", "wb") as giant:
        giant.truncate(2**40)
    lines = []
    assert read_records(tmp_path, lines.append) == []
    assert lines[0].startswith("passed over 2 files (a/b/giant.json, a/b/pipe.json)")


def test_a_failure_does_not_supersede_a_score(record, predictions, tmp_path):
    def add(minute, **change):
        changed = replace(record, created=f"2026-11-23T10:{minute:02}:00+00:00", **change)
        return write(changed, predictions if changed.status == "ok" else None, tmp_path)

    def shown():
        (read,) = read_records(tmp_path)
        return read.path, read.failed_since and read.failed_since.path

    nothing = {"scores": {}, "coverage": 0.0, "reason": "why"}
    first = add(0, status="failed", **nothing)
    assert shown() == (first, None)
    good = add(1)
    assert shown() == (good, None)
    add(2, status="failed", **nothing)
    last = add(3, status="timeout", **nothing)
    assert shown() == (good, last)
    inapplicable = add(4, status="not applicable", **nothing)
    assert shown() == (inapplicable, None)
    failed = add(5, status="failed", **nothing)
    assert shown() == (failed, None), "there is no score to go on with"


def test_methods_of_one_name_and_different_code_are_two(record, predictions, tmp_path):
    codes = {"a" * 64: "theirs.py:Net", "b" * 64: "ours.py:Net"}
    for minute, code in enumerate([*codes, *reversed(codes)]):
        created = f"2026-11-23T11:{minute:02}:00+00:00"
        write(replace(record, created=created, code=code, source=codes[code]), predictions, tmp_path)
    found = {read.label: (read.method, read.source) for read in read_records(tmp_path)}
    assert found == {"someone": ("someone", "theirs.py:Net"), "someone (bbbbbbbb)": ("someone", "ours.py:Net")}


def test_a_record_of_schema_3_may_lack_the_code(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    content = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("source", "code")}
    path.write_text(json.dumps(content | {"schema": 3}))
    assert Record.load(path) == record


def test_partial_tau_of_schema_3_was_another_one(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    content = json.loads(path.read_text())
    score, floor = {"value": 0.5, "low": 0.4, "high": 0.6, "flipped": -0.5, "detail": {}}, {"median": 0.0, "p95": 0.1}
    for name in ("partial", "r2"):
        content["scores"][name] = score
        content["reference"].setdefault("noise_floors", {})[name] = floor
    path.write_text(json.dumps(content | {"schema": 3}))
    read = Record.load(path)
    assert read.scores == record.scores | {"r2": score}
    assert read.undefined == {"partial": "it was computed in another way before: run the methods again"}
    assert read.reference["noise_floors"].keys() >= {"r2"}
    assert "partial" not in read.reference["noise_floors"]
    path.write_text(json.dumps(content))
    assert Record.load(path).scores["partial"] == score


def test_a_bad_record_is_not_written(record, predictions, tmp_path):
    with pytest.raises(InputError, match="'someone' breaks the format: status"):
        write(replace(record, status="fine"), predictions, tmp_path)
    assert not list(tmp_path.iterdir())


def test_predictions_that_are_lost_or_cut_are_named(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    parquet = path.with_suffix(".parquet")
    predictions.head(2).to_parquet(parquet, index=False)
    with pytest.raises(InputError, match="it has 2 rows, expected 3"):
        Record.load(path).predictions()
    for ids in (["a", "b", "b"], ["a", None, "b"]):
        predictions.assign(model_id=ids).to_parquet(parquet, index=False)
        with pytest.raises(InputError, match="holds a model twice, or a row without a model; run the method again"):
            Record.load(path).predictions()
    parquet.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=parquet.name):
        Record.load(path).predictions()
    parquet.unlink()
    with pytest.raises(InputError, match=parquet.name):
        Record.load(path).predictions()


def test_the_file_holds_the_fields_and_nothing_else(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    assert list(json.loads(path.read_text())) == [
        name for name in asdict(record) if name not in ("path", "label", "failed_since")
    ]


@pytest.fixture
def of_schema_2(record, predictions, tmp_path):
    """As gengap 0.1 wrote it until November 26, 2026."""
    content = json.loads(write(record, predictions, tmp_path / "now").read_text())
    later = {"method", "headline", "source", "code", "protection"}
    return {name: what for name, what in content.items() if name not in later} | {
        "schema": 2,
        "entrant": record.method,
    }


def test_a_record_of_schema_2_is_read(of_schema_2, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(of_schema_2))
    record = Record.load(path)
    assert (record.schema, record.method, record.headline) == (SCHEMA, of_schema_2["entrant"], "tau")
    same = of_schema_2.keys() - {"schema", "entrant"}
    assert {name: getattr(record, name) for name in same} == {name: of_schema_2[name] for name in same}


def test_a_record_of_schema_1_is_read(of_schema_2, tmp_path):
    content = {key: value for key, value in of_schema_2.items() if key != "undefined"} | SCHEMA_1
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    record = Record.load(path)
    assert (record.schema, record.method, record.headline) == (SCHEMA, content["entrant"], "tau")
    assert (record.scores, record.undefined) == (SCHEMA_1["scores"], {})
    assert record.reference["noise_floors"] == {"tau": SCHEMA_1["reference"]["noise_floor"]}
    assert "noise_floor" not in record.reference


def test_every_committed_record_is_read():
    records = read_records(RESULTS)
    assert records
    assert all(record.schema == SCHEMA for record in records)


@pytest.mark.parametrize(
    ("share", "tau", "robust"), [(None, 0.1, 0.4), (0.79, 0.1, 0.4), (0.8, 0.5, 0.2), (1.0, 0.5, 0.2)]
)
def test_what_is_nearly_a_function_of_the_architecture_is_compared_with_such_functions(record, share, tau, robust):
    floors = {"tau": {"median": 0, "p95": 0.1}, "robust": {"median": 0.5, "p95": 0.4}, "k": {"median": 0, "p95": 0.02}}
    of_architectures = {
        "tau": {"median": 0, "p95": 0.5},
        "robust": {"median": 0.5, "p95": 0.2},
        "k": {"median": 0, "p95": 0.01},
    }
    record = replace(
        record,
        scores={"tau": {"value": 0.3, "low": 0, "high": 1, "detail": {"architecture_share": share}}},
        reference={"noise_floors": floors, "architecture_floors": of_architectures},
    )
    assert (record.floor("tau")["p95"], record.floor("robust")["p95"]) == (tau, robust)
    assert record.floor("k")["p95"] == 0.02  # random functions of the configuration reach further there
    assert record.floor("psi") is None


@pytest.mark.parametrize("status", STATUSES)
def test_a_failure_and_a_timeout_are_errors_of_the_method(record, status):
    assert replace(record, status=status).is_error == (status in ("failed", "timeout"))


def test_as_json_a_record_has_its_keys_and_its_path(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    assert Record.load(path).to_json() == json.loads(path.read_text()) | {
        "path": str(path),
        "label": record.method,
        "failed_since": None,
    }


def test_texts_of_a_foreign_record_are_visible_and_its_name_is_one_that_boards_show(record, predictions, tmp_path):
    path = write(record, predictions, tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"method": "r\u200bandom", "citation": "\x1b[2J\u202e", "log": "x" * 20_000}))
    (read,) = read_records(tmp_path)
    assert (read.method, read.citation) == ("r\\u200bandom", "\\x1b[2J\\u202e")
    assert len(read.log or "") < 10_100
    for change in (
        {"method": "r\u0430ndom"},
        {"zoo": "cif\u0430r10"},
        {"method": "a\nb"},
        {"coverage": 1.2},
        {"seconds": -1},
    ):
        path.write_text(json.dumps(content | change))
        lines = []
        assert read_records(tmp_path, lines.append) == []
        assert len(lines) == 1
        assert len(lines[0].splitlines()) == 1
        assert next(iter(change)) in lines[0]


@pytest.mark.parametrize("bomb", ["rows", "text", "types", "folder", "pipe", "deep"])
def test_a_bomb_is_refused_in_one_line(record, predictions, tmp_path, bomb):
    if bomb == "deep":
        path = write(record, predictions, tmp_path)
        path.write_text(
            path.read_text().replace('"environment": {', '"environment": {"x": ' + "[" * 400 + "]" * 400 + ",")
        )
        lines = []
        assert read_records(tmp_path, lines.append) == []
        assert len(lines) == 1
        assert "nested too deeply" in lines[0]
        return
    models = 20_000_000 if bomb == "rows" else 3
    path = write(replace(record, models=models), predictions, tmp_path).with_suffix(".parquet")
    if bomb == "text":
        predictions.assign(reason="x" * 10_000_000).to_parquet(path, index=False)
    elif bomb == "types":
        predictions.assign(model_id=[["a"], ["b"], ["c"]]).to_parquet(path, index=False)
    elif bomb == "folder":
        path.unlink()
        path.mkdir()
    elif bomb == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(models, dtype=np.int32)), pa.array(["x"]))
        zeros = pa.array(np.zeros(models))
        pq.write_table(pa.table(dict(zip(predictions, (same, same, zeros, zeros, same, zeros), strict=True))), path)
        assert path.stat().st_size < 3_000_000
    (read,) = read_records(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="cannot be read: ") as error:
        read.predictions()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert len(str(error.value).splitlines()) == 1


def test_no_record_is_written_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cifar10-gs").symlink_to(elsewhere)
    with pytest.raises(InputError, match="cifar10-gs is a link to a folder, and no records are written through it"):
        require_writable(tmp_path / "results")
    assert list(elsewhere.iterdir()) == []
