"""`gengap methods`: lists the built-in methods."""

import argparse
from typing import Any

from benchmark.commands.common import add_command, columns, show


def add(commands: Any) -> None:
    add_command(commands, "methods", _run, "list the built-in methods: measures, predictors, estimators and controls")


def _run(options: argparse.Namespace) -> int:
    from benchmark.evaluation.methods import builtin_methods

    methods = list(builtin_methods().values())
    rows = [("method", "kind", "reads", "formula", "source")]
    rows += [(m.name, "control" if m.control else m.kind.name, m.access, m.formula, m.citation) for m in methods]
    show(options, [method.to_json() for method in methods], columns(rows))
    return 0
