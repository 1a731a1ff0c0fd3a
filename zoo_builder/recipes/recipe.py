"""A recipe describes one population of models. It is loaded strictly from TOML: an unknown key or value is an error.

Each hyperparameter is in exactly one of three sections: [fixed] holds one value, [grid] a list of values that is
crossed with all other lists, [sample] a distribution with one draw per configuration. An omitted hyperparameter is
fixed at its default. The order of lines never matters: the order of ``HYPERPARAMETERS`` does.
"""

import codecs
import hashlib
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from zoo_builder import files
from zoo_builder.errors import InputError, one_of, said, shown
from zoo_builder.networks.families import FAMILIES, architecture_hyperparameters
from zoo_builder.recipes.hyperparameters import CLASSIFICATION, COLOURS, HYPERPARAMETERS
from zoo_builder.strict_toml import REQUIRED, Key, not_negative, positive, read_table, readable, refuse_unknown

_MOST_MODELS = 10_000_000
_LARGEST_FILE = 2**20
DISTRIBUTIONS = ("uniform", "log_uniform", "choice")
_SECTIONS = ("data", "architecture", "fixed", "grid", "sample", "stop")
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
# Names become folder names.
_NAMED = Key("name", str, "up to 100 letters, digits, '.', '_' and '-'", lambda value: bool(_NAME.fullmatch(value)))
_MODELS = Key("models", int, f"a whole number in 1 .. {_MOST_MODELS:,}", lambda value: 1 <= value <= _MOST_MODELS, None)
_TOP = (
    _NAMED,
    Key("problem", str, tuple(HYPERPARAMETERS), default=CLASSIFICATION),
    Key("description", str, "a text without control characters", readable, ""),
    Key("seed", int, "a whole number >= 0", not_negative, 0),
    _MODELS,
    Key("seeds", int, "a whole number >= 1", positive, 1),
    Key("epochs", int, "a whole number >= 1", positive),
)
_DATA = (
    _NAMED,
    Key("colour", str, COLOURS, default="grey"),
    Key("size", int, "a whole number >= 1", positive, None),
)
_ARCHITECTURE = (Key("family", str, tuple(FAMILIES)),)
_STOP = (Key("cross_entropy", float, "a number > 0", positive),)


def vocabulary(family: str, problem: str = CLASSIFICATION) -> dict[str, Key]:
    """All hyperparameters of a problem and a family by name, in the order of the columns of a table of runs."""
    return {key.name: key for key in (*HYPERPARAMETERS[problem], *architecture_hyperparameters(family))}


@dataclass(frozen=True)
class DataSpec:
    """The [data] section: a data set by name, one of ``COLOURS``, and the height and width to shrink images to."""

    name: str
    colour: str
    size: int | None = None


@dataclass(frozen=True)
class Sampled:
    """A distribution: "uniform" or "log_uniform" between two bounds, or a "choice" among values, all equally likely."""

    distribution: str
    values: tuple


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One population of models. Make one with ``load_recipe`` or ``from_json``, which check it and fill in defaults.

    Attributes:
        problem: what the networks are trained for; see ``zoo_builder.problems``.
        seed: determines all sampled values and, with a run's own seed, all random streams.
        models: number of runs.
        seeds: runs per configuration; the last configuration has fewer if ``models`` is no multiple of it.
        checkpoints: the epochs that are kept, ascending; the last one is ``epochs``.
        fixed, grid, sample: every hyperparameter of the family, each in exactly one of them, in the vocabulary's order.
        stop_cross_entropy: a run stops at the end of the first epoch with a training cross-entropy (in eval mode) at or
            below this; ``epochs`` is then the maximum.
    """

    name: str
    problem: str
    description: str
    seed: int
    models: int
    seeds: int
    epochs: int
    checkpoints: tuple[int, ...]
    data: DataSpec
    family: str
    fixed: dict[str, Any]
    grid: dict[str, tuple]
    sample: dict[str, Sampled]
    stop_cross_entropy: float | None

    @property
    def cells(self) -> int:
        """Number of cells of the grid."""
        return prod(len(values) for values in self.grid.values())

    @property
    def configurations(self) -> int:
        return -(-self.models // self.seeds)

    @property
    def digest(self) -> str:
        """sha256 (hex) of the whole recipe."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The recipe in the shape of its TOML file, with every default written out.

        The default problem and size are left out, so that recipes keep the digests they had before there were others.
        """
        value = {
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "models": self.models,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "checkpoints": list(self.checkpoints),
            "data": {"name": self.data.name, "colour": self.data.colour},
            "architecture": {"family": self.family},
            "fixed": dict(self.fixed),
            "grid": {name: list(values) for name, values in self.grid.items()},
            "sample": {name: {axis.distribution: list(axis.values)} for name, axis in self.sample.items()},
        }
        if self.data.size is not None:
            value["data"]["size"] = self.data.size
        if self.problem != CLASSIFICATION:
            value["problem"] = self.problem
        if self.stop_cross_entropy is not None:
            value["stop"] = {"cross_entropy": self.stop_cross_entropy}
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str = "recipe") -> "Recipe":
        """The inverse of ``to_json``; accepts any content of a TOML file.

        Raises:
            InputError: the recipe is not valid; the message begins with ``source``.
        """
        try:
            return _parsed(value)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None

    def cut(self, models: int | None = None, epochs: int | None = None, seed: int | None = None) -> "Recipe":
        """The same population with another size, length or seed; the new last epoch is always a checkpoint.

        Raises:
            InputError: out of range, or more models than the grid has.
        """
        value = self.to_json()
        if models is not None:
            value["models"] = models
        if epochs is not None:
            value["epochs"] = epochs
            value["checkpoints"] = [*(epoch for epoch in self.checkpoints if epoch < epochs), epochs]
        if seed is not None:
            value["seed"] = seed
        given = {"models": models, "epochs": epochs, "seed": seed}
        changes = " and ".join(f"`{name}` {number}" for name, number in given.items() if number is not None)
        return Recipe.from_json(value, f"recipe {self.name}{' with ' * bool(changes)}{changes}")


def builtin_recipes() -> dict[str, Path]:
    """The recipes in this package, {name: file}."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Loads a built-in recipe by its name, or a file by its path, which ends in .toml (in capitals or not).

    A file is UTF-8, or UTF-16 with a byte order mark, which Windows programs write.

    >>> load_recipe("digits").models
    256

    Raises:
        InputError: there is no such recipe, or it is not valid.
    """
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        recipes, name = builtin_recipes(), str(name_or_path)
        path = recipes[one_of("recipe", name, recipes, otherwise=", or the path of a .toml file")]
    text = _text(path)
    if _MANY_PARTS.search(text):
        raise InputError(f"{path}: not valid TOML: a key has more than 50 parts, and no key of a recipe has two dots")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # syntax, a number too large, brackets too deep
        raise InputError(f"{path}: not valid TOML: {said(error)}") from None
    return Recipe.from_json(table, str(path))


# Python's parser takes memory that grows with the square of the parts of a dotted key: 40 GB for a file of 200 kB.
_MANY_PARTS = re.compile(r"""(?:\.[ \t]*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*){50}""")


def _text(path: Path) -> str:
    """The text of a file without its byte order mark."""
    try:
        encoded = files.read_bytes(path, _LARGEST_FILE)
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not a recipe: {error}") from None
    marked = encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = encoded.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line} is not {error.encoding.upper()} text: save the file as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: not UTF-8 text: it has zero bytes, as UTF-16 has; save the file as UTF-8")
    return text


def _parsed(table: dict[str, Any]) -> Recipe:
    top_level = [key.name for key in _TOP]
    refuse_unknown(table, (*top_level, "checkpoints", *_SECTIONS), "the recipe")
    top = read_table({name: table[name] for name in top_level if name in table}, _TOP)
    family = read_table(table.get("architecture", {}), _ARCHITECTURE, "[architecture]")["family"]
    fixed, grid, sample = _placed(table, vocabulary(family, top["problem"]))
    top["models"] = _MODELS.check(_models(top["models"], top["seeds"], grid, sample), "")
    return Recipe(
        **top,
        checkpoints=_checkpoints(table.get("checkpoints", [0, top["epochs"]]), top["epochs"]),
        data=DataSpec(**read_table(table.get("data", {}), _DATA, "[data]")),
        family=family,
        fixed=fixed,
        grid=grid,
        sample=sample,
        stop_cross_entropy=read_table(table["stop"], _STOP, "[stop]")["cross_entropy"] if "stop" in table else None,
    )


def _placed(table: dict[str, Any], keys: dict[str, Key]) -> tuple[dict, dict, dict]:
    """The checked hyperparameters: fixed, grid, sample."""
    sections = {name: table.get(name, {}) for name in ("fixed", "grid", "sample")}
    for name, section in sections.items():
        refuse_unknown(section, keys, f"[{name}]")
    fixed, grid, sample = {}, {}, {}
    for name, key in keys.items():
        match [place for place, section in sections.items() if name in section]:
            case ["fixed"]:
                fixed[name] = key.check(sections["fixed"][name], "[fixed]")
            case ["grid"]:
                grid[name] = _distinct(key, sections["grid"][name], "[grid]")
            case ["sample"]:
                sample[name] = _sampled(key, sections["sample"][name])
            case []:
                if key.default is REQUIRED:
                    raise InputError(f"the hyperparameter {name} is missing: put it in [fixed], [grid] or [sample]")
                fixed[name] = key.default
            case places:
                raise InputError(f"{name} is in [{'] and in ['.join(places)}]: keep one of them")
    return fixed, grid, sample


def _distinct(key: Key, values: Any, section: str) -> tuple:
    if not isinstance(values, list) or not values:
        raise InputError(f"{section} {key.name} is {shown(values)}: it must be a list of at least one value".lstrip())
    checked = tuple(key.check(value, section) for value in values)
    for position, value in enumerate(checked):
        if value in checked[:position]:
            raise InputError(f"{section} {key.name} lists {shown(value)} twice: remove one".lstrip())
    return checked


def _sampled(key: Key, value: Any) -> Sampled:
    if not isinstance(value, dict) or len(value) != 1:
        raise InputError(
            f"[sample] {key.name} is {shown(value)}: it must be one distribution, "
            "{ uniform = [low, high] }, { log_uniform = [low, high] } or { choice = [...] }"
        )
    [(distribution, values)] = value.items()
    if one_of("distribution", distribution, DISTRIBUTIONS, f" of [sample] {key.name}") == "choice":
        return Sampled(distribution, _distinct(key, values, "[sample]"))
    if key.kind is not float:
        raise InputError(f"[sample] {key.name} cannot be {distribution}, it is not continuous: use choice")
    bounds = _distinct(key, values, "[sample]")
    lowest = 0 if distribution == "log_uniform" else -sys.float_info.max
    if len(bounds) != 2 or not lowest < bounds[0] < bounds[1]:
        positive = "0 < " if distribution == "log_uniform" else ""
        raise InputError(f"[sample] {key.name} is {shown(value)}: it must be [low, high] with {positive}low < high")
    return Sampled(distribution, bounds)


def _models(models: int | None, seeds: int, grid: dict[str, tuple], sample: dict[str, Sampled]) -> int:
    if sample:
        if models is None:
            raise InputError("models is missing: [sample] has no natural number of draws, so give the number of runs")
        return models
    cells = prod(len(values) for values in grid.values())
    if models is not None and models > cells * seeds:
        raise InputError(
            f"models is {models}, but there are {cells} grid cells x {seeds} seeds: "
            f"ask for at most {cells * seeds}, or add seeds or grid values"
        )
    return models or cells * seeds


def _checkpoints(values: Any, epochs: int) -> tuple[int, ...]:
    key = Key("checkpoints", int, f"whole numbers in 0 .. {epochs} (epochs)", lambda value: 0 <= value <= epochs)
    checked = _distinct(key, values, "")
    if list(checked) != sorted(checked):
        raise InputError(f"checkpoints is {shown(values)}: it must ascend")
    if checked[-1] != epochs:
        raise InputError(f"checkpoints is {shown(values)}: it must end with the last epoch, {epochs}")
    return checked
