"""`gengap run`, `gengap tasks` and `gengap methods`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.commands.common import columns, cores, note, show
from zoo_builder.errors import InputError

if TYPE_CHECKING:
    from benchmark.records import Record
    from zoo_builder.store.zoo import Zoo


def _tasks(options: argparse.Namespace) -> int:
    from benchmark.split import split
    from benchmark.tasks import TASKS

    rows = [
        {"task": t.name, "version": t.version, "access": t.access, "target": t.target, "orientation": t.orientation}
        for t in TASKS
    ]
    text = columns(
        [("task", "access", "target", "orientation")]
        + [(row["task"], row["access"], row["target"], row["orientation"]) for row in rows]
    )
    value: dict[str, Any] = {"tasks": rows}
    if options.zoo:
        from zoo_builder.store.zoo import Zoo

        parts = split(Zoo.open(options.zoo))
        sizes = {name: len(getattr(parts, name)) for name in ("train", "validation", "test")}
        value["split"] = {**sizes, "hash": parts.hash}
        text += f"\n\n{options.zoo}: " + ", ".join(f"{count} {name}" for name, count in sizes.items()) + " models"
    show(options, value, text)
    return 0


def _methods(options: argparse.Namespace) -> int:
    from benchmark.evaluation.methods import builtin_methods

    methods = list(builtin_methods().values())
    rows = [("method", "kind", "reads", "formula", "source")]
    rows += [(e.name, "control" if e.control else e.kind, e.access, e.formula, e.citation) for e in methods]
    show(options, [vars(method) for method in methods], columns(rows))
    return 0


def _run(options: argparse.Namespace) -> int:
    from zoo_builder.store.zoo import Zoo

    zoo = Zoo.open(options.zoo)
    records, refused = records_of(zoo, options.task, options.methods, options)
    show(options, [record_json(record) for record in records], f"records are in {options.results}")
    for record in records:
        log = f"\n{record.log.rstrip()}" if record.log else ""
        if is_bad(record):
            note(f"gengap: error: {record.method} {record.status} on {record.task}: {record.reason}{log}")
        elif log:
            note(f"gengap: warning: {record.method} failed for some models of {record.task}:{log}")
    return 2 if refused or any(map(is_bad, records)) else 0


def is_bad(record: "Record") -> bool:
    return record.status in ("failed", "timeout")


def records_of(
    zoo: "Zoo", task_name: str, methods: Sequence[str], options: argparse.Namespace
) -> "tuple[list[Record], list[InputError]]":
    """Runs methods on one task, or on all; prints a line for each as it is done.

    Methods that are refused do not keep the others from running, unless there are no others.
    """
    from benchmark.evaluation.evaluate import evaluate
    from benchmark.evaluation.measuring import not_at_hand
    from benchmark.evaluation.selection import CannotEnter, find_methods
    from benchmark.tasks import TASKS, find_task

    workers = options.workers or cores()
    tasks = list(TASKS) if task_name == "all" else [find_task(task_name, zoo.name)]
    refused: list[InputError] = []
    slow = not_at_hand(zoo) if "all" in methods and any("measure" in task.kinds for task in tasks) else []
    chosen = [(task, find_methods(methods, task, refused.append, slow, workers)) for task in tasks]
    if not any(found for _, found in chosen):
        raise refused[0]
    if task_name == "all":
        # A method has only to be of the kind that one of the tasks takes.
        entered = {method.name for _, found in chosen for method in found}
        refused = [error for error in refused if not (isinstance(error, CannotEnter) and error.method in entered)]
        chosen = [(task, found) for task, found in chosen if found]
    for message in dict.fromkeys(map(str, refused)):
        note(f"gengap: error: {message}")
    if slow:
        note(f"left out: {len(slow)} measures that take many passes; `gengap measure {zoo.root} --measures all` first")
    written = []
    for task, found in chosen:
        note(f"{zoo.name}/{task.name}: {len(found)} method{'s' if len(found) > 1 else ''}")
        written += evaluate(
            task,
            found,
            zoo,
            options.results,
            data_root=options.data,
            workers=workers,
            timeout=options.timeout,
            done=lambda record: note(f"  {_outcome(record)}"),
        )
    return written, refused


def _outcome(record: "Record") -> str:
    text = f"{record.method:<28} {record.seconds:7.1f} s  "
    if record.status != "ok":
        return f"{text}{record.status}: {record.reason}"
    tau = record.scores["tau"]
    text += f"tau {tau['value']:6.3f} [{tau['low']:6.3f}, {tau['high']:6.3f}]"
    if record.coverage < 1:
        text += f"  defined on {record.coverage:.0%}"
    return f"{text}  {', '.join(record.flags)}".rstrip()


def record_json(record: "Record") -> dict:
    return {name: value for name, value in vars(record).items() if name != "path"} | {"path": str(record.path)}
