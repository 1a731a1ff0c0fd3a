"""Resuming: the plan of parts, read from what a folder holds and extended to the recipe's size."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable
from pathlib import Path

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.errors import InputError
from zoo_builder.lock import LOCK
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.format import SCHEMA, Damaged, part_name, read_manifest, read_sidecar

# Runs per part: small enough that an interruption costs minutes, large enough to fill the device.
PART_RUNS = {"cpu": 32, "cuda": 512}


def _without_size(recipe: dict) -> dict:
    return {name: value for name, value in recipe.items() if name not in ("models", "description")}


def population_of(recipe: Recipe, data: Dataset) -> str:
    """What two parts must share to belong to one zoo: the recipe but for its number of models, and the data."""
    value = json.dumps([_without_size(recipe.to_json()), data.fingerprint], sort_keys=True)
    return hashlib.sha256(value.encode()).hexdigest()


def refuse_other_zoo(root: Path, recipe: Recipe) -> None:
    if root.is_file():
        raise InputError(f"{root} is a file: choose a folder for --out")
    if root.is_dir() and not (root / "zoo.json").exists():
        strangers = [path.name for path in root.iterdir() if path.name not in (LOCK, "parts")]
        if strangers and not (root / "parts").is_dir():
            raise InputError(
                f"{root} is not empty and not a zoo (it holds {sorted(strangers)[0]}): choose another --out"
            )
    elif (manifest := _manifest(root)) is not None:
        held, wanted = manifest["recipe"], recipe.to_json()
        if different := [name for name in _without_size(wanted) if held.get(name) != wanted[name]]:
            name = different[0]
            raise InputError(
                f"{root} holds the zoo of another recipe: its {name} is {held.get(name)!r}, this recipe's is "
                f"{wanted[name]!r}; choose another --out, or give the arguments it was built with"
            )


def _manifest(root: Path) -> dict | None:
    """The manifest in ``root``; None where there is none, or it is damaged."""
    try:
        return read_manifest(root) if (root / "zoo.json").exists() else None
    except Damaged:
        return None


def _recovered_plan(root: Path, population: str) -> list[dict]:
    """The plan as far as finished parts without a manifest tell it."""
    parts = [read_sidecar(root, path.stem) for path in sorted((root / "parts").glob("*.json"))]
    if any(part["population"] != population for part in parts if part):
        raise InputError(
            f"{root} has no readable zoo.json and holds parts of another recipe or other data: choose another --out, "
            "or give the arguments it was built with"
        )
    plan, first = [], 0
    for part in parts:
        if part is None or (part["name"], part["first_run"]) != (part_name(len(plan)), first):
            break
        plan.append({name: part[name] for name in ("name", "first_run", "runs")})
        first += part["runs"]
    return plan


def begun(
    root: Path,
    recipe: Recipe,
    data: Dataset,
    data_root: str | Path | None,
    population: str,
    device: str,
    note: Callable[[str], object],
) -> dict:
    """The manifest to go on from, its plan extended to the recipe's size: the one that is there, or a new one for what
    is there.
    """
    known = {
        "name": data.name,
        "colour": data.colour,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "train_images": len(data.train_images),
        "test_images": len(data.test_images),
        "duplicates": data.duplicates,
        "location": None if data_root is None else str(Path(data_root).resolve()),
    }
    manifest = _manifest(root)
    if manifest is None:
        if (root / "zoo.json").exists():
            note(f"{root / 'zoo.json'} is damaged: it is made again from the finished parts")
        manifest = {"schema": SCHEMA, "name": recipe.name, "complete": False, "parts": []}
        manifest["plan"] = _recovered_plan(root, population)
    elif manifest["data"]["fingerprint"] != data.fingerprint:
        raise InputError(
            f"{root} was begun on other images of the name {data.name!r}: pass the same --data, or another --out"
        )
    plan = list(manifest["plan"])
    first = sum(part["runs"] for part in plan)
    if first > recipe.models:
        raise InputError(f"{root} has {first} models: ask for at least as many, or choose another --out")
    while first < recipe.models:
        runs = min(PART_RUNS[device], recipe.models - first)
        plan.append({"name": part_name(len(plan)), "first_run": first, "runs": runs})
        first += runs
    complete = manifest["complete"] and plan == manifest["plan"]
    versions = {name: importlib.metadata.version(name) for name in ("gengap", "torch", "numpy", "pandas", "pyarrow")}
    return manifest | {
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest,
        "data": known,
        "versions": versions | {"python": platform.python_version()},
        "plan": plan,
        "complete": complete,
    }
