"""Scores the predictions of records anew, without running their methods."""

import json
from collections.abc import Callable
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
    """Writes a new record where today's scores of a method's predictions for this zoo differ from those in its record.

    Records without scores, of other weights, another split or another version of a task are left as they are, and so
    are those that a failed run follows. What a run cost, its environment and its box stay those of the run, which
    ``environment["run"]`` of the new record names.

    Args:
        results: the folder of the records.
        note: called with a line about each task, and about records that cannot be scored with this zoo.
        done: called with every record as it is written.

    Returns:
        The new records.

    Raises:
        InputError: there is nothing to score; the zoo cannot be read; ``results`` cannot be written. Records that were
            written stay.
    """
    refuse_other_type("zoo", zoo, Zoo, "Zoo.open(folder)")
    folder = Path(results)
    if not folder.is_dir():
        why = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        raise InputError(f"{why}, expected a folder of records: name another as `results`")
    records = [record for record in read_records(folder, note) if record.zoo == zoo.name and record.scores]
    written, found = [], 0
    for task in TASKS:
        chosen = [record for record in records if record.task == f"{zoo.name}/{task.name}"]
        alike = _alike(chosen, task, zoo, note)
        found += len(alike)
        if not alike:
            continue
        require_writable(folder)
        models = ScoredModels.of(task, zoo)
        before, answers = _answers(alike, models, note)
        note(f"{zoo.name}/{task.name}: {_records(len(answers))} scored")
        for new, predictions in records_of(answers, models):
            record = _renewed(before[new.method, new.code], new)
            if new.is_error:
                note(f"left out: {record.method}: {new.reason}")
            elif _content(record) != _content(before[new.method, new.code]):
                written.append(Record.load(write(after_earlier(record, folder), predictions, folder)))
                done(written[-1])
    if not found:
        raise InputError(
            f"{folder} holds no scores of the zoo {zoo.name!r} with the weights of {zoo.root}: run methods with "
            f"`gengap run`"
        )
    return written


def _alike(records: list[Record], task: Task, zoo: Zoo, note: Callable[[str], object]) -> list[Record]:
    """The records of this task that the zoo can score, with a line about the others."""
    current = [record for record in records if record.task_version == task.version]
    same = [record for record in current if record.weights_hash == zoo.weights_hash]
    last = [record for record in same if record.failed_since is None]
    for number, why in (
        (len(records) - len(current), "of another version of the task"),
        (len(current) - len(same), "of other weights"),
        (len(same) - len(last), "followed by a failed run"),
    ):
        if number:
            note(f"{zoo.name}/{task.name}: left out: {_records(number)} {why}")
    return last


def _answers(
    records: list[Record], models: ScoredModels, note: Callable[[str], object]
) -> tuple[dict[tuple[str, str | None], Record], list[Answer]]:
    """The records of these models by method and code, and the answers that they were made of."""
    before, answers = {}, []
    for record in records:
        try:
            answers.append(_answer(record, models))
            before[record.method, record.code] = record
        except InputError as error:
            note(f"left out: {error}")
    return before, answers


def _renewed(old: Record, new: Record) -> Record:
    """``new``, with what the run of ``old`` took and where it ran."""
    run = {"created": old.created, "commit": old.commit, "package_version": old.package_version}
    environment = old.environment | {"partial_tau": new.environment["partial_tau"]}
    return replace(
        new,
        environment=environment | {"run": old.environment.get("run", run)},
        source=old.source,
        protection=old.protection,
        peak_memory_mib=old.peak_memory_mib,
    )


def _content(record: Record) -> str:
    """What a board reads of a record."""
    names = ("status", "reason", "flags", "coverage", "headline", "scores", "undefined", "reference", "formula")
    return json.dumps({name: getattr(record, name) for name in names}, sort_keys=True)


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"


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
        InputError: it is of another split, its predictions are lost, or they are of other models or targets.
    """
    if record.split_hash != models.split.hash:
        raise InputError(f"{record.path} is of another split: run {record.method} again")
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
