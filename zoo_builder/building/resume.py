"""Resuming a build: its manifest and its plan, read from what a folder holds and extended to the recipe's size.

The plan is the list of parts that a build trains. It is written into the manifest before training starts and only ever
extended, so a resumed build, or one with other workers, trains exactly the same stacks.
"""

import importlib.metadata
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo_builder.building.population import Population, without_size
from zoo_builder.errors import InputError
from zoo_builder.lock import LOCK
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.format import MANIFEST, SCHEMA, SIDECARS, Damaged, PlannedPart, read_manifest, read_sidecar

# Runs per part: few enough that an interruption costs minutes, enough to fill the device.
PART_RUNS = {"cpu": 32, "cuda": 512}


def refuse_other_zoo(root: Path, recipe: Recipe) -> None:
    """Raises InputError if ``root`` holds anything but the zoo of ``recipe``, whole or in part."""
    if root.is_file():
        raise InputError(f"{root} is a file: choose a folder for `out`")
    if root.is_dir() and not (root / MANIFEST).exists():
        strangers = [path.name for path in root.iterdir() if path.name not in (LOCK, SIDECARS)]
        if strangers and not (root / SIDECARS).is_dir():
            raise InputError(
                f"{root} is not empty and not a zoo (it holds {sorted(strangers)[0]}): choose another `out`"
            )
    elif (manifest := _manifest(root)) is not None:
        if "recipe" not in manifest:
            raise InputError(f"{root} holds an imported zoo, which cannot be extended: choose another `out`")
        held, wanted = manifest["recipe"], recipe.to_json()
        # Over both, because an optional section may be missing in either.
        if different := [name for name in without_size(wanted | held) if held.get(name) != wanted.get(name)]:
            name = different[0]
            raise InputError(
                f"{root} holds the zoo of another recipe: its {name} is {held.get(name)!r}, this recipe's is "
                f"{wanted.get(name)!r}; choose another `out`, or give the arguments it was built with"
            )


def begun(
    root: Path,
    population: Population,
    data_root: str | Path | None,
    device: str,
    note: Callable[[str], object],
) -> dict[str, Any]:
    """The manifest of a new or resumed build in ``root``, with its plan extended to the recipe's size.

    Raises:
        InputError: ``root`` was begun on other data, or has more models than the recipe.
    """
    recipe, problem = population.recipe, population.problem
    manifest = _manifest(root)
    if manifest is None:
        if (root / MANIFEST).exists():
            note(f"{root / MANIFEST} is damaged: rebuilding it from the finished parts")
        manifest = {"schema": SCHEMA, "name": recipe.name, "complete": False, "parts": []}
        plan = _recovered_plan(root, population.digest)
    elif manifest["data"]["fingerprint"] != problem.fingerprint:
        raise InputError(
            f"{root} was begun on other data named {problem.data_name!r}: pass the same `data_root`, or another `out`"
        )
    else:
        plan = planned_parts(manifest)
    extended = [*plan, *_further_parts(root, plan, recipe.models, PART_RUNS[device])]
    versions = {name: importlib.metadata.version(name) for name in ("gengap", "torch", "numpy", "pandas", "pyarrow")}
    return manifest | {
        "plan": [vars(part) for part in extended],
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest,
        "data": problem.description() | {"location": None if data_root is None else str(Path(data_root).resolve())},
        "versions": versions | {"python": platform.python_version()},
        "architectures": {key: value.to_json() for key, value in population.architectures.items()},
        "complete": manifest["complete"] and extended == plan,
    }


def planned_parts(manifest: dict[str, Any]) -> list[PlannedPart]:
    """The plan in a manifest."""
    return [PlannedPart(**part) for part in manifest["plan"]]


def _manifest(root: Path) -> dict[str, Any] | None:
    """The manifest in ``root``; None if there is none or it is damaged."""
    try:
        return read_manifest(root) if (root / MANIFEST).exists() else None
    except Damaged:
        return None


def _recovered_plan(root: Path, population: str) -> list[PlannedPart]:
    """The plan of a lost manifest, as far as the finished parts show it."""
    parts = [read_sidecar(root, path.stem) for path in sorted((root / SIDECARS).glob("*.json"))]
    if any(part.population != population for part in parts if part):
        raise InputError(
            f"{root} has no readable {MANIFEST} and holds parts of another recipe or other data: choose another `out`, "
            "or give the arguments it was built with"
        )
    plan: list[PlannedPart] = []
    for part in parts:
        expected = PlannedPart.numbered(len(plan), sum(done.runs for done in plan), part.runs if part else 0)
        if part is None or part.planned != expected:
            break
        plan.append(expected)
    return plan


def _further_parts(root: Path, plan: list[PlannedPart], models: int, size: int) -> list[PlannedPart]:
    """The parts that extend ``plan`` to ``models`` models, ``size`` to a part."""
    first = sum(part.runs for part in plan)
    if first > models:
        raise InputError(f"{root} has {first} models: ask for at least as many, or choose another `out`")
    starts = range(first, models, size)
    return [
        PlannedPart.numbered(len(plan) + number, start, min(size, models - start))
        for number, start in enumerate(starts)
    ]
