"""A record: the result of one method on one task, as a JSON file with its predictions in a Parquet file beside it.

    <folder>/<zoo>/<task>/<method>--<created>.json, .parquet

Records are only added. When a folder is read, the latest run of a method on the same models supersedes earlier ones,
whose files remain as history; a run that failed does not supersede a score. Methods of one name and different code are
different methods. Files that are no records are passed over.

Runs are ordered by ``created``: the time of the clock, or, if the clock has been set back, just after the latest record
of the method in the folder (see ``after_earlier``). So the names of files sort in the order in which they were written.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from benchmark import names
from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError, nearest
from zoo_builder.files import read_json, write_atomically, write_json
from zoo_builder.text import all_visible, one_line

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 4
STATUSES = ("ok", "failed", "timeout", "not applicable")
INTERVAL = ("value", "low", "high")
# From this share on, see ``Record.architecture_share``, a prediction is nearly a function of the architecture.
NEARLY = 0.8
# The protection of a method that ran without a box.
UNPROTECTED = "none"
# Keys that the first records of schema 3 lack.
ADDED = ("source", "code", "protection")
# Files of other programs may be of any size; a record has some 10 kB, or 50 kB with a long log.
LARGEST = 2**21
# A small Parquet file can hold any number of rows, and a row any number of characters.
MOST_MODELS = 1_000_000
LONGEST_CELL = 10_000
_TIME = "%Y%m%dT%H%M%S.%f"
RECORD_NAME = re.compile(r".*--\d{8}T\d{6}\.\d{6}Z\.json", re.DOTALL)
# Keys of every record, which no other program's files have.
_TELLTALE = {"schema", "task_version", "weights_hash", "split_hash"}
_RESTORE = "restore the file, or run its method again"
PREDICTION_COLUMNS = ["model_id", "configuration", "prediction", "error", "reason", "target"]
# Records had no errors before.
EARLIER_COLUMNS = [name for name in PREDICTION_COLUMNS if name != "error"]


class NoRecord(InputError):
    """A file that is not one of gengap's."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of one method on one task. The fields are the keys of the JSON file.

    Attributes:
        schema: version of this format.
        task, task_version: "<zoo>/<name>" and the version of its definition.
        target, orientation: what is predicted, and what a larger value means, in words.
        kind: the name of a kind of ``benchmark.tasks.KINDS``.
        control: the method is a control, shown on the board without a rank.
        source: the file or module and the name of a user's method, as given; None for a built-in one.
        code: SHA-256 of a user's code, see ``benchmark.evaluation.user_code.Code.digest``.
        protection: the kind of box that a user's code ran in, see ``benchmark.evaluation.sandbox``, or
            ``UNPROTECTED``; None for a built-in method, and in early records.
        zoo_manifest, weights_hash, split_hash: SHA-256 of what was scored.
        created: ISO 8601 time with its offset.
        seconds, peak_memory_mib: cost of the run; the memory is None for values that had been computed before.
        status: one of ``STATUSES``; all but "ok" have a reason.
        log: the end of the output of a failed method.
        models: number of test models; coverage: the share of them with a prediction.
        flags: remarks on the prediction, such as "constant", or how many values lie at a bound of a search.
        headline: the score that orders the board, a name of ``benchmark.scoring.scores.SCORES``.
        scores: {"tau": {"value", "low", "high", "flipped", "detail"}, ...} with 95 % intervals, see
            ``benchmark.scoring.scorecard.Entry``; empty if there is nothing to score.
        undefined: {"psi": reason, ...}, the scores that are undefined for the method.
        reference: {"tie_ceiling", "tie_fraction", "reliability": {"halves", "ceiling", "noise_share" (early records
            lack it)}, "noise_floors": {"tau": {"median", "p95"}, ...}, "architecture_floors": the same for random
            functions of the architecture (absent where all models have one, and in early records)} of the task.
        path: the file it was read from or written to; not part of the format.
        label: where a folder holds several methods of one name, the one of this code; not part of the format.
        failed_since: the latest run of the method, if that failed; not part of the format.
    """

    schema: int = SCHEMA
    task: str
    task_version: int
    zoo: str
    target: str
    orientation: str
    method: str
    kind: str
    access: str
    control: bool
    citation: str
    formula: str
    source: str | None = None
    code: str | None = None
    protection: str | None = None
    zoo_manifest: str
    weights_hash: str
    split_hash: str
    package_version: str
    commit: str | None
    environment: dict
    created: str
    seconds: float
    peak_memory_mib: float | None
    status: str
    reason: str | None
    log: str | None
    models: int
    coverage: float
    flags: list
    headline: str
    scores: dict
    undefined: dict
    reference: dict
    path: Path | None = field(default=None, compare=False, repr=False)
    label: str | None = field(default=None, compare=False, repr=False)
    failed_since: "Record | None" = field(default=None, compare=False, repr=False)

    @classmethod
    def load(cls, path: Path) -> "Record":
        """Reads one JSON file of any schema up to ``SCHEMA``.

        Raises:
            NoRecord: the file is not one of gengap's.
            InputError: it is damaged, or of a later version. Both messages name it.
        """
        try:
            content: Any = all_visible(read_json(path, LARGEST))
        except (OSError, ValueError) as error:
            if not RECORD_NAME.fullmatch(path.name):
                raise NoRecord(f"{path} is not a record of gengap: {error}") from error
            raise InputError(f"{path} cannot be read as a record: {error}; {_RESTORE}") from error
        if not (RECORD_NAME.fullmatch(path.name) or (isinstance(content, dict) and content.keys() >= _TELLTALE)):
            raise NoRecord(f"{path} is not a record of gengap: it lacks {', '.join(sorted(_TELLTALE))}")
        if isinstance(content, dict) and content.get("schema") == 1:
            content = _of_schema_1(content)
        if isinstance(content, dict) and content.get("schema") == 2:
            content = _of_schema_2(content)
        if isinstance(content, dict) and content.get("schema") == 3:
            content = _of_schema_3(dict.fromkeys(ADDED) | content)
        if problem := _problem(content):
            raise InputError(f"{path} cannot be read as a record: {one_line(problem, 500)}; {_RESTORE}")
        return cls(**content, path=path)

    @property
    def unprotected(self) -> bool:
        """The method's code ran with all rights of the user."""
        return self.protection == UNPROTECTED

    def predictions(self) -> "pd.DataFrame":
        """One row per test model, with the columns ``PREDICTION_COLUMNS``.

        The prediction is float64, oriented like the target, NaN where it is undefined; error its standard error, NaN
        where it has none; reason says why it is NaN, or is a remark on it.

        Raises:
            InputError: the file is missing or does not match the record.
        """
        if self.path is None:
            raise ValueError("a record that was never written has no predictions to read")
        path = self.path.with_suffix(".parquet")
        try:
            frame = _read_predictions(path, self.models)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}, the predictions of {self.path.name}, cannot be read: {one_line(str(error), 500)}; run the "
                f"method again"
            ) from error
        numbers = frame.dtypes[["prediction", "target", "error"]]
        if any(kind.kind != "f" for kind in numbers) or not np.isfinite(frame["target"]).all():
            raise InputError(
                f"{path} holds predictions, targets and errors of types {', '.join(map(str, numbers))}, expected "
                f"numbers and a target in every row; run the method again"
            )
        if frame["model_id"].hasnans or not frame["model_id"].is_unique:
            raise InputError(f"{path} holds a model twice, or a row without a model; run the method again")
        return frame

    def to_json(self) -> dict:
        """The record's keys and values, the path of its file, and what other records of the folder add to it."""
        failed = self.failed_since and str(self.failed_since.path)
        about = {"path": str(self.path), "label": self.label or self.method, "failed_since": failed}
        return {name: getattr(self, name) for name in _KEYS} | about

    @property
    def is_error(self) -> bool:
        """The method failed or took too long, which is an error of the method."""
        return self.status in ("failed", "timeout")

    @property
    def population(self) -> tuple[str, str, int, str]:
        """Records with the same population can be compared: same task, same weights, same split."""
        return self.task, self.weights_hash, self.task_version, self.split_hash

    @property
    def board(self) -> tuple[str, str, int, str, str]:
        """The board of the record: its population and access level."""
        return *self.population, self.access

    @property
    def architecture_share(self) -> float | None:
        """How much of the prediction is a function of the architecture, see ``within.architecture_share``.

        None for less than ``NEARLY``, and where the record does not say.
        """
        share = self.scores.get("tau", {}).get("detail", {}).get("architecture_share")
        return share if share is not None and share >= NEARLY else None

    def floor(self, score: str) -> dict | None:
        """{"median", "p95"} of the random measures that a score compares with; None where the record has none.

        For a prediction that is nearly a function of the architecture these are random functions of the configuration
        or of the architecture, whichever reach further.
        """
        kinds = ["noise_floors"] + (["architecture_floors"] if self.architecture_share is not None else [])
        found = [floors[score] for kind in kinds if score in (floors := self.reference.get(kind, {}))]
        lower_is_better = score in SCORES and SCORES[score].lower_is_better
        return max(found, key=lambda floor: -floor["p95"] if lower_is_better else floor["p95"], default=None)

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.created).astimezone(UTC)


_KEYS = tuple(each.name for each in fields(Record) if each.compare)


def after_earlier(record: Record, folder: Path) -> Record:
    """``record``, created later than every record of its method that is already under ``folder``.

    A clock that was set back, or that of another machine, would else make the newest run count as an older one.

    Raises:
        InputError: a record is of the last moment of the calendar.
    """
    path = _path(record, folder)
    alike = re.compile(re.escape(path.name.rpartition("--")[0]) + r"--(\d{8}T\d{6}\.\d{6})Z\.json")
    times = [match[1] for file in path.parent.glob("*.json") if (match := alike.fullmatch(file.name))]
    try:
        # Times of names that sort last are latest.
        earlier = [datetime.strptime(max(times), _TIME).replace(tzinfo=UTC)] if times else []
        following = [time + timedelta(microseconds=1) for time in earlier]
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path.parent} has a record of the time {max(times)}: move it to another folder") from error
    return replace(record, created=max([record.time, *following]).isoformat())


def require_writable(folder: Path) -> None:
    """Makes ``folder`` if need be, and writes a file there that is removed again.

    Raises:
        InputError: that is not possible, there is no room, or links in the folder would lead the records elsewhere.
    """
    if links := [path for path in [*folder.glob("*"), *folder.glob("*/*")] if path.is_symlink() and path.is_dir()]:
        raise InputError(
            f"{links[0]} is a link to a folder, and no records are written through it: choose another `results`"
        )
    try:
        probe = folder / ".writable"
        write_atomically(probe, lambda temporary: temporary.write_text("can this be written?\n", encoding="utf-8"))
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"records cannot be written to {folder} ({error.strerror}): free some space, or choose another `results`"
        ) from error


def write(record: Record, predictions: "pd.DataFrame | None", folder: Path) -> Path:
    """Writes a record under ``folder`` and returns the path of its JSON file, which appears last and whole.

    Args:
        predictions: with the columns that ``Record.predictions`` returns; None for a method without predictions.

    Raises:
        InputError: the record breaks the format, or there is already a record of this method and time.
    """
    content = all_visible({key: getattr(record, key) for key in _KEYS})
    if problem := _problem(content):
        raise InputError(f"the record of {record.method!r} breaks the format: {problem}")
    path = _path(record, folder)
    if path.exists():
        raise InputError(f"{path} exists, and records are never overwritten: give the record a later `created`")
    if predictions is not None:
        columns = predictions[PREDICTION_COLUMNS]
        write_atomically(path.with_suffix(".parquet"), lambda temporary: columns.to_parquet(temporary, index=False))
    try:
        write_json(path, content)
    except BaseException:
        path.with_suffix(".parquet").unlink(missing_ok=True)
        raise
    return path


def _path(record: Record, folder: Path) -> Path:
    name = f"{_file_name(record.method)}--{record.time:{_TIME}}Z.json"
    return folder / _file_name(record.zoo) / _file_name(record.task.rpartition("/")[2]) / name


def read_records(folder: Path, note: Callable[[str], object] = lambda line: None) -> list[Record]:
    """One record of every method on every population under ``folder``, by population and method.

    It is the newest, or the newest score if only failures followed; then ``Record.failed_since`` is set.

    Args:
        note: called with one line about all files that are not gengap's, and one about each record that cannot be read.
    """
    runs: dict[tuple, list[Record]] = {}
    foreign = []
    for path in sorted(folder.glob("*/*/*.json")):
        try:
            record = Record.load(path)
        except NoRecord:
            foreign.append(str(path.relative_to(folder)))
        except InputError as error:
            note(f"left out: {error}")
        else:
            runs.setdefault((*record.population, record.method, record.code or ""), []).append(record)
    if foreign:
        note(f"passed over {_files_of(foreign)} in {folder}: not {'a record' if len(foreign) == 1 else 'records'}")
    labels = _labels(record for group in runs.values() for record in group)
    newest = (_newest(runs[key]) for key in sorted(runs))
    return [replace(record, label=labels[record.method, record.code]) for record in newest]


def _newest(runs: list[Record]) -> Record:
    """The run that counts, of all runs of one method on one population."""
    ordered = sorted(runs, key=lambda record: record.time)
    done = [record for record in ordered if not record.is_error]
    if ordered[-1].is_error and done and done[-1].status == "ok":
        return replace(done[-1], failed_since=ordered[-1])
    return ordered[-1]


def _labels(records: Iterable[Record]) -> dict[tuple[str, str | None], str]:
    """A label for every (method, code): the name for the code that was first, the name and the code for later ones."""
    labels: dict[tuple[str, str | None], str] = {}
    named = set()
    for record in sorted(records, key=lambda record: record.time):
        key = record.method, record.code
        if key not in labels:
            apart = record.method in named
            labels[key] = f"{record.method} ({short_code(record) or 'unknown code'})" if apart else record.method
            named.add(record.method)
    return labels


def short_code(record: Record) -> str | None:
    return record.code and record.code[:8]


def _files_of(names: list[str]) -> str:
    """
    >>> _files_of(["a", "b", "c", "d"])
    '4 files (a, b, c, ...)'
    """
    shown = ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
    return f"{len(names)} file{'s' if len(names) > 1 else ''} ({shown})"


def _file_name(name: str) -> str:
    """``name`` itself if it is a plain file name, else a plain form of it with a hash that keeps it distinct."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip(".-")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _read_predictions(path: Path, models: int) -> "pd.DataFrame":
    """The table of ``PREDICTION_COLUMNS`` in ``path``, of ``models`` rows; what it would take is checked before.

    Raises:
        OSError, ValueError: it cannot be read, or is something else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from zoo_builder import tables

    schema = tables.schema_of(path)
    if schema.names not in (PREDICTION_COLUMNS, EARLIER_COLUMNS):
        raise ValueError(f"it has the columns {', '.join(schema.names)}, expected {', '.join(PREDICTION_COLUMNS)}")
    if nested := [name for name in schema.names if schema.field(name).type.num_fields]:
        raise ValueError(f"its column {nested[0]} is of type {schema.field(nested[0]).type}")
    table = tables.read(path, most_rows=min(models, MOST_MODELS))
    if len(table) != models:
        raise ValueError(f"it has {len(table):,} rows, expected {models:,}")
    texts = [name for name in schema.names if name not in ("prediction", "error", "target")]
    for name in texts:
        kind = table[name].type
        if pa.types.is_dictionary(kind):
            for chunk in table[name].chunks:
                if (pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0) > LONGEST_CELL:
                    raise ValueError(f"a {name} has more than {LONGEST_CELL:,} bytes")
        elif not pa.types.is_null(kind):
            raise ValueError(f"its column {name} is of type {kind}, expected text")
    frame = tables.decoded(table).to_pandas(use_threads=False)
    return frame if "error" in frame else frame.assign(error=np.nan)[PREDICTION_COLUMNS]


def _of_schema_1(content: dict) -> dict:
    """Schema 2 of a record of schema 1, which had only tau and the mean absolute error."""
    reference = dict(content.get("reference") or {})
    if floor := reference.pop("noise_floor", None):
        reference["noise_floors"] = {"tau": floor}
    return content | {"schema": 2, "undefined": {}, "reference": reference}


def _of_schema_2(content: dict) -> dict:
    """Schema 3 of a record of schema 2, in which methods were called entrants and tau ordered every board."""
    renamed = {"method" if key == "entrant" else key: value for key, value in content.items()}
    return renamed | {"schema": 3, "headline": "tau"}


def _of_schema_3(content: dict) -> dict:
    """Schema 4 of a record of schema 3, whose partial tau was that of another regressor, on values and not on ranks."""
    scores, undefined, reference = content.get("scores"), content.get("undefined"), content.get("reference")
    if not (isinstance(scores, dict) and isinstance(undefined, dict) and isinstance(reference, dict)):
        return content | {"schema": SCHEMA}  # not a record; _problem says so
    if "partial" in scores:
        again = "it was computed in another way before: run the methods again"
        undefined = undefined | {
            "partial": SCORES["partial"].of_fitted if content.get("kind") == "predictor" else again
        }
    floors = reference.get("noise_floors")
    if isinstance(floors, dict):
        reference = reference | {"noise_floors": {name: floor for name, floor in floors.items() if name != "partial"}}
    scores = {name: score for name, score in scores.items() if name != "partial"}
    return content | {"schema": SCHEMA, "scores": scores, "undefined": undefined, "reference": reference}


def _problem(content: object) -> str | None:
    """Why ``content`` is not a record; None if it is one."""
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__}, expected an object"
    if content.get("schema") != SCHEMA:
        return f"its schema is {content.get('schema')!r}, this version of gengap reads 1 to {SCHEMA}"
    expected = set(_KEYS)
    if missing := sorted(expected - content.keys()):
        return f"it lacks {', '.join(missing)}"
    if unknown := sorted(content.keys() - expected):
        return f"it has an unknown key {unknown[0]!r}{nearest(unknown[0], expected)}"
    hints = get_type_hints(Record)
    for name in sorted(expected):
        kind = (int, float) if hints[name] is float else hints[name]
        if not isinstance(content[name], kind) or (hints[name] is not bool and isinstance(content[name], bool)):
            return f"{name} is {content[name]!r}, expected {getattr(hints[name], '__name__', hints[name])}"
    if why := names.problem(content["method"]):
        return f"method is {content['method']!a}: {why}"
    for name in ("zoo", "task", "access", "kind"):
        if why := names.strange(content[name]):
            return f"{name} is {content[name]!a}: {why}"
    costs = content["seconds"], content["peak_memory_mib"] or 0.0
    if not (0 <= content["coverage"] <= 1 and content["models"] >= 0 and all(0 <= cost < math.inf for cost in costs)):
        return "coverage, models, seconds or peak_memory_mib is out of range"
    if content["status"] not in STATUSES:
        return f"status is {content['status']!r}, expected one of {', '.join(STATUSES)}"
    if (headline := content["headline"]) not in SCORES:
        return f"headline is {headline!r}{nearest(headline, SCORES)}, expected one of {', '.join(SCORES)}"
    try:
        datetime.fromisoformat(content["created"]).astimezone(UTC)
    except (ValueError, OverflowError):
        return f"created is {content['created']!r}, expected an ISO 8601 time"
    for name, score in content["scores"].items():
        if not _has_numbers(score, INTERVAL) or not isinstance(score.get("flipped"), int | float | None):
            return f"score {name} is {score!r}, expected finite numbers {', '.join(INTERVAL)}"
        detail = score.get("detail", {})
        if not isinstance(detail, dict) or not isinstance(detail.get("architecture_share"), float | None):
            return f"the detail of score {name} is {detail!r}, expected an object, with architecture_share as a number"
    if content["status"] == "ok" and content["models"] < 1:
        return f"models is {content['models']}, and the status is ok"
    if not all(isinstance(text, str) for text in (*content["flags"], *content["undefined"].values())):
        return "flags or undefined hold something else than text"
    return _problem_of_reference(content["reference"])


def _problem_of_reference(reference: dict) -> str | None:
    expected: list[tuple[Any, tuple[str, ...]]] = []
    if reference.get("tie_ceiling") is not None:
        expected.append((reference, ("tie_ceiling", "tie_fraction")))
    if reliability := reference.get("reliability"):
        added = ("noise_share",) if isinstance(reliability, dict) and "noise_share" in reliability else ()
        expected.append((reliability, ("halves", "ceiling", *added)))
    for kind in ("noise_floors", "architecture_floors"):
        floors = reference.get(kind, {})
        expected += [
            (floor, ("median", "p95")) for floor in (floors.values() if isinstance(floors, dict) else [floors])
        ]
    for found, ends in expected:
        if not _has_numbers(found, ends):
            return f"reference holds {found!r}, expected finite numbers {', '.join(ends)}"
    return None


def _has_numbers(found: object, names: Iterable[str]) -> bool:
    numbers = [found.get(name) for name in names] if isinstance(found, dict) else [None]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
