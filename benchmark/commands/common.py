"""What several commands share: parsers, arguments, output as text or JSON, notes on stderr."""

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo_builder.errors import InputError
from zoo_builder.text import escaped, visible

# Errors of the library name an argument in backticks; the command line shows the flag that sets it.
FLAGS = {
    "address": "--address",
    "data_root": "--data",
    "architecture": "--architecture",
    "device": "--device",
    "engine": "--engine",
    "epochs": "--epochs",
    "hyperparameters": "--hyperparameters",
    "models": "--models",
    "out": "--out",
    "results": "--results",
    "runner": "--runner",
    "seed": "--seed",
    "test_examples": "--test-examples",
    "timeout": "--timeout",
    "workers": "--workers",
}


def with_flags(message: str) -> str:
    """
    >>> with_flags("choose another `out`")
    'choose another --out'
    """
    return re.sub("`(\\w+)`", lambda name: FLAGS.get(name[1], name[0]), message)


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Adds the command ``name``, which runs ``run`` and has --json, to the subparsers ``commands``."""
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def add_zoo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("zoo", type=Path, metavar="DIR", help="the folder of a zoo")


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="the data set: a folder with train.parquet and test.parquet, an image folder with train/ and test/, or a "
        "torchvision root (default: the folder that the zoo was built from, or a download)",
    )


def check_data(options: argparse.Namespace) -> None:
    """Raises InputError if --data is not a folder, also where a command would not read it."""
    data = getattr(options, "data", None)
    if data is not None and not data.is_dir():
        raise InputError(f"--data {data} is not a folder: give the folder of the data set, or omit --data")


def add_workers(parser: argparse.ArgumentParser, what: str = "processes on a CPU") -> None:
    parser.add_argument("--workers", type=positive, metavar="N", help=f"{what} (default: one per core)")


def not_empty(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("it is empty")
    return value


def positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"it is {value}, expected a whole number of at least 1")
    return int(value)


def seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"it is {value}, expected a number of seconds above 0")
    return number


def refuse_unwritable(flag: str, file: Path | None) -> None:
    """InputError where the page that ``flag`` names cannot be written: the work before it may take minutes."""
    if file is None:
        return
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise InputError(f"{flag} {file}: {file.parent} is not a writable folder; make it first")
    if file.is_dir():
        raise InputError(f"{flag} {file} is a folder, expected the name of a file")


def cores() -> int:
    return len(os.sched_getaffinity(0))


class OutputError(OSError):
    """stdout cannot be written."""


def show(options: argparse.Namespace, value: Any, text: str) -> None:
    """Prints ``value`` with --json, else ``text``. Raises OutputError."""
    say(as_json(value) if options.json else text)


def as_json(value: Any) -> str:
    """``value`` in letters that stdout can hold."""
    plain = (sys.stdout.encoding or "").replace("-", "").lower() != "utf8"
    return escaped(json.dumps(value, indent=2, ensure_ascii=plain), lambda letter: json.dumps(letter)[1:-1])


def say(text: str, end: str = "\n") -> None:
    """Prints ``text`` to stdout. Raises OutputError."""
    try:
        print(visible(text), end=end)
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def flush() -> None:
    """Raises OutputError if what was printed cannot be written: here, and not when Python exits."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def columns(rows: Sequence[Sequence[str]]) -> str:
    """The rows as text, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "model"), count(2, "model")
    ('1 model', '2 models')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def note(message: str) -> None:
    print(visible(message), file=sys.stderr)
