"""`gengap run`: runs methods on tasks and writes a record of each."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.commands.common import add_command, add_data, add_workers, cores, count, note, seconds, show
from zoo_builder.errors import InputError
from zoo_builder.text import one_line, set_in

if TYPE_CHECKING:
    from benchmark.evaluation.methods import Method
    from benchmark.records import Record
    from zoo_builder.store.zoo import Zoo

EPILOG = """\
A method of yours runs in a sandbox: it sees its view, installed packages and the .py files that it imports, and has no
network (docs/sandbox.md). Where no sandbox works, gengap refuses it unless you pass --trust. Modules beside its file
can be imported, unless they have the name of another. The global random generators of Python, numpy and torch are
seeded; seed your own. Methods of one name and different code are shown apart.

  gengap run all --zoo zoos/digits                                 every built-in method on every task
  gengap run test-accuracy nfn-np mine.py:Mine --zoo zoos/digits   a built-in predictor and your own
  gengap run complexity norms --zoo zoos/digits                    a family of measures
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "run", _run, "run methods on a task and write a record of each", epilog=EPILOG)
    parser.add_argument("task", help="a task that `gengap tasks` lists, or all")
    parser.add_argument(
        "methods",
        nargs="*",
        default=["all"],
        metavar="method",
        help="built-in names, fast or families of measures, path/to/file.py:Name, package.module:Name, or all (the "
        "default)",
    )
    parser.add_argument("--zoo", required=True, type=Path, metavar="DIR", help="the folder of a zoo")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the folder for records (default: results)"
    )
    add_data(parser)
    add_workers(parser, "methods that run at a time")
    parser.add_argument(
        "--timeout", type=seconds, default=3600, metavar="S", help="seconds for one method (default: 3600)"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run your methods without a sandbox, with all rights of this user; boards show them as unprotected",
    )


def _run(options: argparse.Namespace) -> int:
    from benchmark.evaluation.known_names import known_names, unknown

    # Before torch is imported, which takes seconds.
    known = known_names()
    if all(":" not in reference and reference not in known for reference in options.methods):
        raise unknown(options.methods[0], known)
    from zoo_builder.store.zoo import Zoo

    zoo = Zoo.open(options.zoo)
    records, refused = run_methods(
        zoo,
        options.task,
        options.methods,
        results=options.results,
        data_root=options.data,
        workers=options.workers or cores(),
        timeout=options.timeout,
        trust=options.trust,
    )
    show(options, [record.to_json() for record in records], f"records are in {options.results}")
    for record in records:
        log = set_in(record.log and record.log.rstrip())
        if record.is_error:
            how = "timed out" if record.status == "timeout" else record.status
            note(f"gengap: error: {record.method} {how} on {record.task}: {one_line(record.reason or '')}{log}")
        elif log:
            note(f"gengap: warning: {record.method} failed for some models of {record.task}:{log}")
    for record in _still_shown(options.results, records):
        note(f"boards go on showing the score that {record.method} had on {record.task} at {record.created}")
    if refused:
        note(f"gengap: error: {count(len(refused), 'method')} did not run, see the errors at the start")
    return 2 if refused or any(record.is_error for record in records) else 0


def _still_shown(results: Path, records: "list[Record]") -> "list[Record]":
    """The earlier scores of those methods that have failed now."""
    from benchmark.records import read_records

    failed = {record.path for record in records if record.is_error}
    if not failed:
        return []
    return [record for record in read_records(results) if record.failed_since and record.failed_since.path in failed]


def run_methods(
    zoo: "Zoo",
    task_name: str,
    references: Sequence[str],
    *,
    results: Path,
    workers: int,
    data_root: Path | None = None,
    timeout: float,
    trust: bool = False,
) -> "tuple[list[Record], list[str]]":
    """Runs methods on one task, or on "all"; prints a line for each record, and an error for each refused method.

    Returns:
        The records, and the distinct errors of the refused methods.

    Raises:
        InputError: every method is refused, or the task, the zoo or its data cannot be used.
    """
    from baselines.measures import families
    from benchmark.evaluation.evaluate import evaluate
    from benchmark.evaluation.measuring import not_stored, redundant
    from benchmark.evaluation.selection import WrongTask, find_methods
    from benchmark.records import read_records
    from benchmark.tasks import MEASURE, TASKS, find_task

    tasks = list(TASKS) if task_name == "all" else [find_task(task_name, zoo.name)]
    refused: list[InputError] = []
    slow = not_stored(zoo) if "all" in references and any(MEASURE in task.kinds for task in tasks) else []
    per_image = [measure.name for measure in families()["per-image"]]
    left_out = {*slow, *per_image}
    find = partial(find_methods, references, refused=refused.append, note=note, left_out=left_out, workers=workers)
    chosen = [(task, find(task=task, trust=trust, timeout=timeout)) for task in tasks]
    if not any(found for _, found in chosen):
        raise refused[0]
    if task_name == "all":
        # It is enough that one of the tasks takes a method.
        taken = {method.name for _, found in chosen for method in found}
        refused = [error for error in refused if not (isinstance(error, WrongTask) and error.method in taken)]
        chosen = [(task, found) for task, found in chosen if found]
    messages = list(dict.fromkeys(map(str, refused)))
    for message in messages:
        note(f"gengap: error: {message}")
    if messages:
        note("the other methods run")
    if slow:
        note(f"left out: {len(slow)} slow measures; `gengap measure {zoo.root} --measures all` computes them")
    measures_run = any(MEASURE in task.kinds for task in tasks) and any(name in references for name in ("all", "fast"))
    if measures_run and "per-image" not in references and not redundant(zoo):
        note("left out: measures per training image, whose number varies here; per-image adds them")
    if trust and any(not method.builtin for _, found in chosen for method in found):
        note("your methods run without a sandbox, because of --trust; boards show them as unprotected")
    if own := [method for _, found in chosen for method in found if not method.builtin]:
        for message in _other_code(read_records(results), own):
            note(message)
    records = []
    for task, found in chosen:
        note(f"{zoo.name}/{task.name}: {count(len(found), 'method')}")
        records += evaluate(
            task,
            found,
            zoo,
            results,
            data_root=data_root,
            workers=workers,
            timeout=timeout,
            trust=trust,
            done=lambda record: note(f"  {outcome(record)}"),
        )
    return records, messages


def _other_code(records: "list[Record]", own: "list[Method]") -> list[str]:
    """A line for each of a user's methods whose name other code has in the ``records``."""
    others = {}
    for method in own:
        codes = {record.code: record.source for record in records if record.method == method.name}
        if codes.keys() - {method.code}:
            code = next(iter(codes.keys() - {method.code}))
            others[method] = (
                f"another {method.name!r} has records here, {codes[code] or 'of unknown code'}: boards show both; give "
                f"this one another `name`, or choose another --results"
            )
    return list(others.values())


def outcome(record: "Record") -> str:
    from benchmark.reports.words import percent

    text = f"{record.method:<28} {record.seconds:7.1f} s  "
    if record.status != "ok":
        # On one line, so that a method cannot add the line of another.
        return f"{text}{record.status}: {one_line(record.reason or '')}"
    score = record.scores[record.headline]
    text += f"{record.headline} {score['value']:6.3f} [{score['low']:6.3f}, {score['high']:6.3f}]"
    if record.coverage < 1:
        text += f"  defined on {percent(record.coverage, 0)}"
    return f"{text}  {', '.join(record.flags)}".rstrip()
