"""`gengap tasks`: lists the tasks."""

import argparse
from pathlib import Path
from typing import Any

from benchmark.commands.common import add_command, columns, show


def add(commands: Any) -> None:
    parser = add_command(commands, "tasks", _run, "list the tasks: what is predicted, from what")
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="also show the size of each split of this zoo")


def _run(options: argparse.Namespace) -> int:
    from benchmark.tasks import TASKS

    rows = [
        {
            "task": task.name,
            "version": task.version,
            "access": task.access,
            "target": task.target.title,
            "orientation": task.target.orientation,
        }
        for task in TASKS
    ]
    shown = ("task", "access", "target", "orientation")
    text = columns([shown, *([row[name] for name in shown] for row in rows)])
    value: dict[str, Any] = {"tasks": rows}
    if options.zoo:
        from benchmark.split import split_zoo
        from zoo_builder.store.zoo import Zoo

        split = split_zoo(Zoo.open(options.zoo))
        sizes = {name: len(getattr(split, name)) for name in ("train", "validation", "test")}
        value["split"] = {**sizes, "hash": split.hash}
        text += f"\n\n{options.zoo}: " + ", ".join(f"{size} {name}" for name, size in sizes.items()) + " models"
    show(options, value, text)
    return 0
