"""The names that stand for built-in methods, without the methods.

Importing the methods imports torch, which takes seconds. So their names are kept in the user's cache, in a file that
belongs to exactly this source code, and nobody waits to be told of a misspelled name or to see a board.
"""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from zoo_builder import files
from zoo_builder.errors import InputError, nearest

_PACKAGES = Path(__file__).resolve().parents[2]


def builtin_names() -> list[str]:
    """The names of all built-in methods."""
    return _names()["methods"]


def known_names() -> list[str]:
    """Of all built-in methods, of groups of measures, and "all"."""
    return [*_names()["methods"], *_names()["groups"], "all"]


def unknown(reference: str, known: Iterable[str]) -> InputError:
    """The error for a reference without a colon that is none of the ``known`` names."""
    if reference.endswith(".py"):
        return InputError(f"{reference} is a file: add the name of the class or function in it, as {reference}:Name")
    return InputError(
        f"unknown method {reference!r}{nearest(reference, known)}: give all, a name that `gengap methods` lists, "
        f"fast or a family of measures (`gengap measures`), path/to/file.py:Name or package.module:Name"
    )


@cache
def _names() -> dict[str, list[str]]:
    file, source = _file(), _source()
    with suppress(OSError, ValueError):  # there is none yet, or it is damaged
        kept = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and kept.keys() == {"source", "methods", "groups"} and kept["source"] == source:
            return kept
    from benchmark.evaluation.measuring import named_groups
    from benchmark.evaluation.methods import builtin_methods

    found = {"methods": list(builtin_methods()), "groups": list(named_groups())}
    with suppress(OSError):  # without a cache, the next command imports them again
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(file, {"source": source} | found)
    return found


def _file() -> Path:
    """The file of this installation."""
    return files.cache_folder("names") / f"{hashlib.sha256(str(_PACKAGES).encode()).hexdigest()[:20]}.json"


def _source() -> str:
    """Changes with every change of a file that names a method."""
    sources = sorted((*_PACKAGES.glob("baselines/**/*.py"), *_PACKAGES.glob("benchmark/evaluation/*.py")))
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
