"""Methods by name: the built-in ones, and those of a user's file or package."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from baselines.estimators import estimators
from baselines.levels import ACCESS
from baselines.measures import measures
from baselines.measures.measure import Measure
from baselines.methods import Estimator, Predictor
from baselines.predictors import predictors
from benchmark import names
from benchmark.evaluation.oracle import ORACLES
from benchmark.tasks import ESTIMATOR, KINDS, MEASURE, ORACLE, PREDICTOR, Kind
from zoo_builder.errors import InputError, nearest
from zoo_builder.text import one_line

# The lists of built-in methods; calling one imports the methods. Oracles are computed where the targets are known.
BUILTINS: dict[Kind, Callable[[], tuple[Any, ...]]] = {MEASURE: measures, PREDICTOR: predictors, ESTIMATOR: estimators}
# Of a citation or a formula.
LONGEST_TEXT = 1000
_ATTRIBUTES = ("name", "access", "citation", "fit", "predict", "estimate")


@dataclass(frozen=True)
class Method:
    """What is known of a method without running it.

    Attributes:
        reference: a built-in's name, "path/to/file.py:Name" or "package.module:Name".
        control: shown on every board whatever it reads, and never ranked. Only built-in methods can be controls.
        code: of a user's method, see ``user_code.Code.digest``.
    """

    reference: str
    name: str
    kind: Kind
    access: str
    citation: str
    formula: str
    control: bool
    code: str | None = None

    @property
    def builtin(self) -> bool:
        return ":" not in self.reference

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"kind": self.kind.name}


def builtin_methods() -> dict[str, Method]:
    """Every built-in method by name."""
    described = {row.name: describe(row.name, row) for rows in BUILTINS.values() for row in rows()}
    # "target" is not an access level: oracles read the target itself.
    oracles = {
        name: Method(name, name, ORACLE, "target", "control", oracle.formula, control=True)
        for name, oracle in ORACLES.items()
    }
    return described | oracles


def load_builtin(name: str, kind: Kind) -> Measure | Predictor | Estimator:
    """The built-in method called ``name``. Methods of other kinds are not imported."""
    return next(method for method in BUILTINS[kind]() if method.name == name)


def load_own(reference: str, folders: Sequence[str] = ()) -> Any:
    """The method of a user that ``reference`` names. This executes the user's code: call it in a box.

    Args:
        folders: where the user's modules are, and a file that ``reference`` names.

    Raises:
        InputError: there is no such method.
    """
    where, _, attribute = reference.rpartition(":")
    if not (where and attribute):
        raise InputError(
            f"{reference!r} lacks a part: a method is given as path/to/file.py:Name or package.module:Name"
        )
    module = _module(where, tuple(folders))
    try:
        found = getattr(module, attribute)
    except AttributeError:
        known = [name for name in vars(module) if not name.startswith("_")]
        raise InputError(f"{where} has no {attribute!r}{nearest(attribute, known)}") from None
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


def describe(reference: str, method: Any) -> Method:
    """The description of ``method``, after checking that it has everything a method needs.

    Raises:
        InputError: a function or an attribute is missing, it has no proper name, or its access level does not exist.
    """
    kind = next((kind for kind in KINDS.values() if kind.protocol and isinstance(method, kind.protocol)), None)
    if kind is None:
        missing = [name for name in _ATTRIBUTES if not hasattr(method, name)]
        raise InputError(
            f"{reference} is not a method: expected a function of a MeasureContext, or an object with name, access, "
            f"citation and either fit and predict or estimate; it is a {type(method).__name__} without "
            f"{', '.join(missing)}"
        )
    name = checked_name(reference, method.name)
    if method.access not in ACCESS:
        hint = nearest(str(method.access), ACCESS)
        raise InputError(f"{reference} has access {method.access!r}{hint}: use one of {', '.join(ACCESS)}")
    return Method(
        reference=reference,
        name=name,
        kind=kind,
        access=method.access,
        citation=one_line(str(method.citation), LONGEST_TEXT),
        formula=one_line(str(getattr(method, "formula", "")), LONGEST_TEXT),
        control=":" not in reference and bool(getattr(method, "control", False)),
    )


def checked_name(reference: str, name: Any) -> str:
    """``name``, if boards can show it.

    Raises:
        InputError: it is empty, long, no text, or has characters that cannot be seen.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            f"{reference} has the name {_shown(name)}: give it a `name` that boards can show, such as 'mine'"
        )
    # Of a long name, Unicode's form may take hours.
    name = names.normalized(name) if len(name) <= names.LONGEST else name
    if problem := names.problem(name):
        raise InputError(f"{reference} has the name {_shown(name)}: {problem}; give it another `name`")
    return name


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= names.LONGEST else f"{text[: names.LONGEST]}..."


@cache
def _module(where: str, folders: tuple[str, ...]) -> ModuleType:
    # Last, and a file under a name of its own, so that a user's random.py takes the place of no other module.
    sys.path += [folder for folder in folders if folder not in sys.path]
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise InputError(f"cannot import {where!r}: {error}; use path/to/file.py:Name for a file") from None
    path = Path(where)
    name = f"gengap_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
