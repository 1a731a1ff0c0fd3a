"""What several commands share: argument types, output as text or JSON, notes on stderr."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

DATA_HELP = (
    "where the data set lies: a folder with train.parquet and test.parquet, an image folder with train/ and test/, "
    "or a torchvision root (default: where the zoo was built from, else a download)"
)


def filled(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("it is empty")
    return value


def positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"it is {value}, expected a whole number of at least 1")
    return int(value)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def show(options: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if options.json else text)


def columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def note(message: str) -> None:
    print(message, file=sys.stderr)
