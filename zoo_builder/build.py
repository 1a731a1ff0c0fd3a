"""Builds a zoo: plan -> train -> commit. Interrupted at any moment, the same call goes on and ends with the same files.

The plan cuts the table of runs into parts. It is written into the manifest before training starts and only ever
extended, so that a resumed build, or one with other workers, trains the very same stacks.
"""

import errno
import hashlib
import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder import files, grid, memory
from zoo_builder.architecture import Architecture
from zoo_builder.card import zoo_card
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.engines import choice, loop
from zoo_builder.engines.interface import Engine
from zoo_builder.engines.torch_engine import resolve_device
from zoo_builder.errors import InputError
from zoo_builder.lock import LOCK, only_process
from zoo_builder.recipe import Recipe, architecture_hyperparameters
from zoo_builder.runner import Local, Runner
from zoo_builder.store import (
    IDENTITY,
    RESULTS,
    SCHEMA,
    Damaged,
    Zoo,
    expected_bytes,
    finished_part,
    part_name,
    read_manifest,
    read_sidecar,
    write_manifest,
    write_part,
)
from zoo_builder.training import subset_size

# Runs per part: small enough that an interruption costs minutes, large enough to fill the device.
PART_RUNS = {"cpu": 32, "cuda": 512}
_CARD = "README.md"
_IN_THIS_PROCESS = Local()


@dataclass(frozen=True)
class Progress:
    """Callbacks of a build; the command line draws a bar with them."""

    start: Callable[[int, int], object] = lambda models, model_epochs: None
    advance: Callable[[int], object] = lambda model_epochs: None
    commit: Callable[[int], object] = lambda models: None
    note: Callable[[str], object] = lambda message: None


def build(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    engine: str = "auto",
    runner: Runner = _IN_THIS_PROCESS,
    progress: Progress = Progress(),
) -> Zoo:
    """Trains all runs of ``recipe`` into the folder ``out`` and returns the zoo.

    Args:
        data_root: where the data set lies; None lets its own source decide.
        device: "auto", "cpu" or "cuda".
        engine: one of ``choice.ENGINES``.
        runner: who trains the parts: worker processes of this machine, or a Ray cluster.

    Raises:
        InputError: ``out`` holds something else or cannot be written, another process holds it, the data cannot
            be loaded or has changed, no such device or engine, too little memory, a full disk, a worker that was
            killed.
    """
    root = Path(out)
    where = resolve_device(device)
    runs = grid.runs(recipe)
    _refuse_other_zoo(root, recipe)
    data = load(recipe.data.name, data_root, recipe.data.colour)
    if data.duplicates:
        progress.note(
            f"{data.duplicates} test images of {data.name} are also training images (kept, counted in zoo.json)"
        )
    runs["architecture"], architectures = architectures_of(recipe, runs, data)
    with only_process(root, "building", "choose another --out"):
        population = _population(recipe, data)
        manifest = _begun(root, recipe, data, data_root, population, where.type, progress.note)
        manifest["architectures"] = {key: value.to_json() for key, value in architectures.items()}
        finished = {part["name"]: finished_part(root, part, population) for part in manifest["plan"]}
        if manifest["complete"] and manifest["parts"] == list(finished.values()):
            if not (root / _CARD).exists():
                _write_card(root, manifest)
            progress.note(f"{root} is finished already: nothing to do")
            return Zoo.open(root)
        todo = {part["name"]: part for part in manifest["plan"] if finished[part["name"]] is None}

        def missing_bytes() -> int:
            return sum(
                expected_bytes(_runs_of(part, runs), architectures, recipe, data, parts=1) for part in todo.values()
            )

        left = [_runs_of(part, runs) for part in todo.values()]
        for part in left if runner.here else ():
            if short := memory.shortage(recipe, part, architectures, data, where):
                raise InputError(short)
        needed = {key: architectures[key] for part in left for key in part["architecture"]}
        engines = choice.engines(engine, where, needed, runs, len(data.train_labels) * recipe.epochs, progress.note)
        with _full_disk_explained(root, missing_bytes):
            write_manifest(root, manifest | {"complete": False, "parts": []})
            models = sum(part["runs"] for part in todo.values())
            if models < recipe.models:
                progress.note(f"{recipe.models - models} models are there already: going on with the other {models}")
            if todo and (missing := missing_bytes()) > (free := shutil.disk_usage(root).free):
                progress.note(f"{_sizes(missing, free)}: the disk that holds {root} will be full before the build ends")
            progress.start(models, models * recipe.epochs)
            jobs = []
            here = root.resolve()  # a worker may have another working directory
            for part in todo.values():
                mine = _runs_of(part, runs).reset_index(drop=True)
                used = {key: (architectures[key], engines[key]) for key in mine["architecture"].unique()}
                jobs.append(_Part(here, part, population, recipe, mine, used))
            for sidecar in runner.run(jobs, data, progress.advance, gpu=where.type == "cuda"):
                finished[sidecar["name"]] = sidecar
                del todo[sidecar["name"]]
                progress.commit(sidecar["runs"])
            manifest |= {"complete": True, "parts": list(finished.values())}
            _write_card(root, manifest)
            write_manifest(root, manifest)
    return Zoo.open(root)


def _write_card(root: Path, manifest: dict) -> None:
    card = zoo_card(manifest)
    files.write_atomically(root / _CARD, lambda path: path.write_text(card, encoding="utf-8"))


def _runs_of(part: dict, runs: pd.DataFrame) -> pd.DataFrame:
    return runs.iloc[part["first_run"] : part["first_run"] + part["runs"]]


def architectures_of(recipe: Recipe, runs: pd.DataFrame, data: Dataset) -> tuple[list[str], dict[str, Architecture]]:
    """The key of every run's architecture, and the distinct architectures by key.

    Raises:
        InputError: a network that its images do not fit, a norm that would see a single value.
    """
    names = [key.name for key in architecture_hyperparameters(recipe.family)]
    shape, classes = tuple(data.train_images.shape[1:]), len(data.classes)
    # Made once for equal settings: a network's rows are much larger than what they follow from.
    made: dict[tuple, Architecture] = {}
    keys = []
    for run in runs[names].to_dict("records"):
        settings = tuple(run.values())
        if settings not in made:
            made[settings] = grid.architecture_of(recipe.family, run, shape, classes)
        keys.append(made[settings].key)
    architectures = {architecture.key: architecture for architecture in made.values()}
    for (key, batch_size), group in runs.groupby([np.array(keys), "batch_size"]):
        sizes = (subset_size(fraction, len(data.train_labels)) for fraction in group["train_fraction"])
        _refuse_single_values(architectures[key], sizes, batch_size)
    return keys, architectures


def _refuse_single_values(architecture: Architecture, sizes: Iterable[int], batch_size: int) -> None:
    """The variance of one value, which a norm would divide by, does not exist."""
    single = [place.name for place in architecture.places if place.buffers and prod(place.input_shape[1:]) == 1]
    for size in sizes if single else ():
        if (size - 1) % batch_size == 0:
            raise InputError(
                f"a last batch of one image gives {single[0]} one value per channel, which has no variance: {size} "
                f"training images are not to be cut into batches of {batch_size}; choose another batch_size or "
                "train_fraction"
            )


@dataclass(frozen=True)
class _Part:
    """One part to train: called in a worker, commits its files, returns its sidecar."""

    root: Path
    plan: dict
    population: str
    recipe: Recipe
    runs: pd.DataFrame
    architectures: dict[str, tuple[Architecture, Engine]]

    def __call__(self, data: Dataset, progress: Callable[[int], object]) -> dict:
        if not (self.root / LOCK).exists():
            raise InputError(
                f"{self.root} is not the folder here ({platform.node()}) that the build was started on: --out must be "
                "on a file system that all nodes share, under one path"
            )
        engines = [engine for _, engine in self.architectures.values()]
        networks = {key: architecture for key, (architecture, _) in self.architectures.items()}
        if short := memory.shortage(self.recipe, self.runs, networks, data, engines[0].device):
            raise InputError(short)
        started = time.perf_counter()
        logits = torch.empty(len(self.runs), len(data.test_labels), len(data.classes), dtype=torch.float16)
        tables, weights = [], []
        checkpoints, stop = self.recipe.checkpoints, self.recipe.stop_cross_entropy
        for (key, _), group in self.runs.groupby(["architecture", "batch_size"], sort=False):
            architecture, engine = self.architectures[key]
            try:
                trained = loop.train(engine, architecture, group, data, checkpoints, stop, progress)
            except torch.OutOfMemoryError as error:
                raise InputError(
                    f"the GPU's memory is short for a network of {architecture.size:,} parameters in batches of "
                    f"{group['batch_size'].iloc[0]}: choose smaller networks or batches, a larger GPU, or --device cpu"
                ) from error
            members = group.index.to_numpy(copy=True)
            tables.append(trained.table.assign(run=members[trained.table["run"]]))
            logits[torch.as_tensor(members)] = trained.logits
            weights.append((key, trained.weights))
        table, rows = self._joined(tables)
        notes = {
            **self.plan,
            "population": self.population,
            "engines": sorted({f"{engine.name} ({engine.instruction_set})" for engine in engines}),
            "seconds": round(time.perf_counter() - started, 3),
        }
        stacked = _by_architecture(weights, rows)
        return write_part(self.root, notes, table, stacked, logits, data.test_labels, data.name)

    def _joined(self, tables: list[pd.DataFrame]) -> tuple[pd.DataFrame, list[np.ndarray]]:
        """The part's table, run by run, and where each table's rows have gone."""
        joined = pd.concat(tables, ignore_index=True)
        order = np.lexsort((joined["epoch"], joined["run"]))
        results = joined.iloc[order].reset_index(drop=True)
        table = self.runs.iloc[results["run"]].reset_index(drop=True).assign(epoch=results["epoch"])
        hyperparameters = [name for name in self.runs.columns if name not in IDENTITY]
        table = pd.concat([table[[*IDENTITY, *hyperparameters]], results[list(RESULTS)]], axis=1)
        return table, np.split(np.argsort(order), np.cumsum([len(part) for part in tables])[:-1])


def _by_architecture(weights: list[tuple[str, dict[str, Tensor]]], rows: list[np.ndarray]) -> dict[str, Tensor]:
    """{"<architecture>/<parameter>": [rows, ...], "<architecture>/rows": ascending rows of the part's table}."""
    stacked = {}
    for key in dict.fromkeys(key for key, _ in weights):
        mine = [number for number, (other, _) in enumerate(weights) if other == key]
        where = np.concatenate([rows[number] for number in mine])
        order = torch.as_tensor(np.argsort(where))
        stacked[f"{key}/rows"] = torch.as_tensor(where)[order]
        for name in weights[mine[0]][1]:
            stacked[f"{key}/{name}"] = torch.cat([weights[number][1][name] for number in mine])[order]
    return stacked


def _without_size(recipe: dict) -> dict:
    return {name: value for name, value in recipe.items() if name not in ("models", "description")}


def _population(recipe: Recipe, data: Dataset) -> str:
    """What two parts must share to belong to one zoo: the recipe but for its number of models, and the data."""
    value = json.dumps([_without_size(recipe.to_json()), data.fingerprint], sort_keys=True)
    return hashlib.sha256(value.encode()).hexdigest()


def _refuse_other_zoo(root: Path, recipe: Recipe) -> None:
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


def _begun(
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


@contextmanager
def _full_disk_explained(root: Path, missing_bytes: Callable[[], int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"the disk that holds {root} is full: {_sizes(missing_bytes(), shutil.disk_usage(root).free)}; finished "
            "parts are kept: free space and run the same command again"
        ) from error


def _sizes(needed: int, free: int) -> str:
    return f"the rest of the build needs about {files.size_text(needed)}, {files.size_text(free)} are free"
