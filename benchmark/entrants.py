"""Entrants by name: the built-in ones, and those of a user's file or package."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.interface import ACCESS, Estimator, Measure, Predictor
from benchmark.oracle import ORACLES
from zoo_builder.errors import InputError, nearest

_ATTRIBUTES = ("name", "access", "citation", "fit", "predict", "estimate")


@dataclass(frozen=True)
class Entrant:
    """What is known of an entrant without running it.

    Attributes:
        reference: how it was asked for: a built-in's name, "path/to/file.py:Name" or "package.module:Name".
        kind: "measure", "predictor", "estimator" or "oracle".
        control: a yardstick, shown on every board whatever it reads, and never ranked. Only built-ins can be one.
    """

    reference: str
    name: str
    kind: str
    access: str
    citation: str
    formula: str
    control: bool

    @property
    def builtin(self) -> bool:
        return ":" not in self.reference


def builtin_objects() -> dict[str, Measure | Predictor | Estimator]:
    """What every built-in entrant runs, by name; oracles, which read the targets, are none of them."""
    from baselines.estimators import estimators
    from baselines.measures import measures
    from baselines.predictors import predictors

    return {entrant.name: entrant for entrant in (*measures(), *predictors(), *estimators())}


def builtin_entrants() -> dict[str, Entrant]:
    """Every built-in entrant by name."""
    oracles = {
        name: Entrant(name, name, "oracle", "target", "control", oracle.formula, control=True)
        for name, oracle in ORACLES.items()
    }
    return {name: describe(name, entrant) for name, entrant in builtin_objects().items()} | oracles


def load_object(reference: str) -> Any:
    """The entrant that ``reference`` names. A user's code is executed by this: call it in a process of its own.

    Raises:
        InputError: no such entrant, or it does not look like one.
    """
    where, colon, attribute = reference.rpartition(":")
    if not colon:
        objects = builtin_objects()
        if reference not in objects:
            raise unknown(reference, objects)
        return objects[reference]
    module = _module(where)
    try:
        found = getattr(module, attribute)
    except AttributeError:
        names = [name for name in vars(module) if not name.startswith("_")]
        raise InputError(f"{where} has no {attribute!r}{nearest(attribute, names)}") from None
    if isinstance(found, type):
        found = found()
    if isinstance(found, Callable) and not hasattr(found, "access"):
        found = Measure(
            name=attribute.replace("_", "-"),
            function=found,
            access="train-data",
            cost="pass",
            formula=(found.__doc__ or "").strip().partition("\n")[0],
            citation=reference,
        )
    return found


def unknown(reference: str, known: Iterable[str]) -> InputError:
    """The error where a reference without a colon is none of the ``known`` names."""
    if reference.endswith(".py"):
        return InputError(f"{reference} is a file: name the class or function in it, as {reference}:Name")
    return InputError(
        f"unknown entrant {reference!r}{nearest(reference, known)}: give all, a name that `gengap entrants` lists, "
        f"fast or a family of measures (`gengap measures`), path/to/file.py:Name or package.module:Name"
    )


def describe(reference: str, entrant: Any) -> Entrant:
    """Checks that ``entrant`` has what an entrant needs.

    Raises:
        InputError: it lacks a method or an attribute, or its access level does not exist.
    """
    kinds = {"measure": Measure, "predictor": Predictor, "estimator": Estimator}
    kind = next((kind for kind, protocol in kinds.items() if isinstance(entrant, protocol)), None)
    if kind is None:
        raise InputError(
            f"{reference} is not an entrant: expected a function of a MeasureContext, or an object with name, access, "
            f"citation and either fit and predict or estimate; it is a {type(entrant).__name__} without "
            f"{', '.join(name for name in _ATTRIBUTES if not hasattr(entrant, name))}"
        )
    if entrant.access not in ACCESS:
        hint = nearest(str(entrant.access), ACCESS)
        raise InputError(f"{reference} has access {entrant.access!r}{hint}: use one of {', '.join(ACCESS)}")
    builtin = ":" not in reference
    return Entrant(
        reference=reference,
        name=str(entrant.name),
        kind=kind,
        access=entrant.access,
        citation=str(entrant.citation),
        formula=str(getattr(entrant, "formula", "")),
        control=builtin and bool(getattr(entrant, "control", False)),
    )


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise InputError(f"cannot import {where!r}: {error}; use path/to/file.py:Name for a file") from None
    path = Path(where).resolve()
    if not path.is_file():
        raise InputError(f"there is no file {where}: an entrant is given as path/to/file.py:Name")
    # As for a script, what lies beside the file can be imported by it.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
