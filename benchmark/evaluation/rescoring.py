"""Scores the predictions of records anew, without running their methods."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import Method
from benchmark.evaluation.recording import records_of
from benchmark.evaluation.scored_models import ScoredModels
from benchmark.records import Record, after_earlier, read_records, require_writable, write
from benchmark.tasks import KINDS, TASKS, Task
from zoo_builder.errors import InputError, refuse_other_type
from zoo_builder.store.zoo import Zoo


def rescore(
    zoo: Zoo,
    results: str | Path,
    *,
    note: Callable[[str], object] = lambda line: None,
    done: Callable[[Record], object] = lambda record: None,
) -> list[Record]:
    """Writes a new record of every method that has predictions for this zoo, with today's scores and references.

    Records of other weights, another split or another version of a task are left as they are, and so are those that a
    failed run follows. What a run cost, its environment and its box stay those of the run.

    Args:
        results: the folder of the records.
        note: called with a line about records that cannot be scored with this zoo.
        done: called with every record as it is written.

    Returns:
        The new records.

    Raises:
        InputError: there is nothing to score; the zoo cannot be read; predictions are lost, or are of other targets;
            ``results`` cannot be written. Records that were written stay.
    """
    refuse_other_type("zoo", zoo, Zoo, "Zoo.open(folder)")
    folder = Path(results)
    records = [record for record in read_records(folder, note) if record.zoo == zoo.name and record.scores]
    if records:
        require_writable(folder)
    written = []
    for task in TASKS:
        chosen = [record for record in records if record.task == f"{zoo.name}/{task.name}"]
        if alike := [record for record in chosen if _current(record, task, zoo)]:
            for record, predictions in _again(alike, ScoredModels.of(task, zoo), note):
                written.append(Record.load(write(after_earlier(record, folder), predictions, folder)))
                done(written[-1])
        if others := len(chosen) - len(alike):
            note(f"{zoo.name}/{task.name}: {_records(others)} of other weights, or a failed run followed")
    if not written:
        raise InputError(
            f"{folder} holds no predictions for the zoo {zoo.name!r} in {zoo.root}: run methods with `gengap run`"
        )
    return written


def _current(record: Record, task: Task, zoo: Zoo) -> bool:
    return (record.task_version, record.weights_hash, record.failed_since) == (task.version, zoo.weights_hash, None)


def _again(
    records: list[Record], models: ScoredModels, note: Callable[[str], object]
) -> Iterator[tuple[Record, pd.DataFrame | None]]:
    """The records of the split of ``models`` with new scores, and their predictions."""
    same = [record for record in records if record.split_hash == models.split.hash]
    if others := len(records) - len(same):
        note(f"{models.zoo.name}/{models.task.name}: {_records(others)} of another split")
    before = {(record.method, record.code): record for record in same}
    for record, predictions in records_of([_answer(record, models) for record in same], models):
        old = before[record.method, record.code]
        kept = {name: getattr(old, name) for name in ("source", "protection", "peak_memory_mib")}
        environment = old.environment | {"partial_tau": record.environment["partial_tau"]}
        yield replace(record, environment=environment, **kept), predictions


def _records(number: int) -> str:
    return "1 record is" if number == 1 else f"{number} records are"


def _method(record: Record) -> Method:
    return Method(
        reference=record.source or record.method,
        name=record.method,
        kind=KINDS[record.kind],
        access=record.access,
        citation=record.citation,
        formula=record.formula,
        control=record.control,
        code=record.code,
    )


def _answer(record: Record, models: ScoredModels) -> Answer:
    """The answer that the record was made of.

    Raises:
        InputError: its predictions are lost, or are of other models or targets.
    """
    frame = record.predictions().set_index("model_id")
    model_ids = models.rows["model_id"]
    if set(frame.index) != set(model_ids) or not np.array_equal(frame.loc[model_ids, "target"], models.target):
        raise InputError(
            f"the predictions of {record.path} are of other models or targets than those of {models.zoo.root}: run "
            f"{record.method} again"
        )
    frame = frame.loc[model_ids]
    errors = frame["error"].to_numpy(float)
    return Answer(
        method=_method(record),
        log=record.log,
        seconds=record.seconds,
        peak_memory_mib=record.peak_memory_mib,
        values=frame["prediction"].to_numpy(float),
        reasons=[None if pd.isna(reason) else reason for reason in frame["reason"]],
        errors=None if np.isnan(errors).all() else errors,
    )
