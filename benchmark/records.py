"""A record: the result of one method on one task, as a JSON file with its predictions in a Parquet file beside it.

    <folder>/<zoo>/<task>/<method>--<created>.json, .parquet

Records are only added. When a folder is read, the latest run of a method on the same models supersedes earlier ones,
whose files remain as history.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError, nearest
from zoo_builder.files import write_atomically, write_json

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 3
STATUSES = ("ok", "failed", "timeout", "not applicable")
INTERVAL = ("value", "low", "high")
PREDICTION_COLUMNS = ["model_id", "configuration", "prediction", "reason", "target"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of one method on one task. The fields are the keys of the JSON file.

    Attributes:
        schema: version of this format.
        task, task_version: "<zoo>/<name>" and the version of its definition.
        target, orientation: what is predicted, and what a larger value means, in words.
        kind: the name of a kind of ``benchmark.tasks.KINDS``.
        control: the method is a control, shown on the board without a rank.
        zoo_manifest, weights_hash, split_hash: SHA-256 of what was scored.
        created: ISO 8601 time with its offset.
        seconds, peak_memory_mib: cost of the run; the memory is None for values that had been computed before.
        status: one of ``STATUSES``; all but "ok" have a reason.
        log: the end of the output of a failed method.
        models: number of test models; coverage: the share of them with a prediction.
        flags: remarks on the prediction, such as "constant".
        headline: the score that orders the board, a name of ``benchmark.scoring.scores.SCORES``.
        scores: {"tau": {"value", "low", "high", "flipped", "detail"}, ...} with 95 % intervals, see
            ``benchmark.scoring.scorecard.Entry``; empty if there is nothing to score.
        undefined: {"psi": reason, ...}, the scores that are undefined for the method.
        reference: {"tie_ceiling", "tie_fraction", "reliability": {"halves", "ceiling"}, "noise_floors": {"tau":
            {"median", "p95"}, ...}} of the task.
        path: the file it was read from or written to; not part of the format.
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

    @classmethod
    def load(cls, path: Path) -> "Record":
        """Reads one JSON file of any schema up to ``SCHEMA``.

        Raises:
            InputError: the file is not a record; the message names it.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as a record: {error}; delete it or restore it") from error
        if isinstance(content, dict) and content.get("schema") == 1:
            content = _of_schema_1(content)
        if isinstance(content, dict) and content.get("schema") == 2:
            content = _of_schema_2(content)
        if problem := _problem(content):
            raise InputError(f"{path} is not a record: {problem}; delete it or run its method again")
        return cls(**content, path=path)

    def predictions(self) -> "pd.DataFrame":
        """One row per test model: model_id, configuration, prediction (float64, NaN where undefined), reason, target.

        The prediction is oriented like the target.

        Raises:
            InputError: the file is missing or does not match the record.
        """
        import pandas as pd

        if self.path is None:
            raise ValueError("a record that was never written has no predictions to read")
        path = self.path.with_suffix(".parquet")
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}, the predictions of {self.path.name}, cannot be read: {error}") from error
        if list(frame.columns) != PREDICTION_COLUMNS or len(frame) != self.models:
            raise InputError(
                f"{path} holds {len(frame)} rows of {', '.join(map(str, frame.columns))}; {self.path.name} needs "
                f"{self.models} rows of {', '.join(PREDICTION_COLUMNS)}; run the method again"
            )
        return frame

    def to_json(self) -> dict:
        """The record's keys and values, and the path of its file."""
        return {name: getattr(self, name) for name in _KEYS} | {"path": str(self.path)}

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
    def time(self) -> datetime:
        return datetime.fromisoformat(self.created).astimezone(UTC)


_KEYS = tuple(field.name for field in fields(Record) if field.name != "path")


def write(record: Record, predictions: "pd.DataFrame | None", folder: Path) -> Path:
    """Writes a record under ``folder`` and returns the path of its JSON file, which appears last and whole.

    Args:
        predictions: with the columns that ``Record.predictions`` returns; None for a method without predictions.

    Raises:
        InputError: the record breaks the format, or there is already a record of this method and time.
    """
    content = {key: getattr(record, key) for key in _KEYS}
    if problem := _problem(content):
        raise InputError(f"the record of {record.method!r} breaks the format: {problem}")
    name = f"{_file_name(record.method)}--{record.time:%Y%m%dT%H%M%S.%fZ}.json"
    path = folder / _file_name(record.zoo) / _file_name(record.task.rpartition("/")[2]) / name
    if path.exists():
        raise InputError(f"{path} exists, and records are never overwritten: give the record a later `created`")
    if predictions is not None:
        columns = predictions[PREDICTION_COLUMNS]
        write_atomically(path.with_suffix(".parquet"), lambda temporary: columns.to_parquet(temporary, index=False))
    write_json(path, content)
    return path


def read_records(folder: Path) -> list[Record]:
    """The newest record of every method on every population under ``folder``, by population and method.

    Raises:
        InputError: a file is not a record; the message names the first.
    """
    newest: dict[tuple, Record] = {}
    for path in sorted(folder.glob("*/*/*.json")):
        record = Record.load(path)
        key = (*record.population, record.method)
        if key not in newest or newest[key].time <= record.time:
            newest[key] = record
    return [newest[key] for key in sorted(newest)]


def _file_name(name: str) -> str:
    """``name`` itself if it is a plain file name, else a plain form of it with a hash that keeps it distinct."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip(".-")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _of_schema_1(content: dict) -> dict:
    """Schema 2 of a record of schema 1, which had only tau and the mean absolute error."""
    reference = dict(content.get("reference") or {})
    if floor := reference.pop("noise_floor", None):
        reference["noise_floors"] = {"tau": floor}
    return content | {"schema": 2, "undefined": {}, "reference": reference}


def _of_schema_2(content: dict) -> dict:
    """Schema 3 of a record of schema 2, in which methods were called entrants and tau ordered every board."""
    renamed = {"method" if key == "entrant" else key: value for key, value in content.items()}
    return renamed | {"schema": SCHEMA, "headline": "tau"}


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
        if not isinstance(content[name], kind):
            return f"{name} is {content[name]!r}, expected {hints[name]}"
    if content["status"] not in STATUSES:
        return f"status is {content['status']!r}, expected one of {', '.join(STATUSES)}"
    if (headline := content["headline"]) not in SCORES:
        return f"headline is {headline!r}{nearest(headline, SCORES)}, expected one of {', '.join(SCORES)}"
    try:
        datetime.fromisoformat(content["created"])
    except ValueError:
        return f"created is {content['created']!r}, expected an ISO 8601 time"
    for name, score in content["scores"].items():
        parts = [score.get(part) for part in INTERVAL] if isinstance(score, dict) else [None]
        if not all(isinstance(part, int | float) and math.isfinite(part) for part in parts):
            return f"score {name} is {score!r}, expected finite numbers {', '.join(INTERVAL)}"
    return None
