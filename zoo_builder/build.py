"""Builds a zoo: plan -> train -> commit. Interrupted at any moment, the same call goes on and ends with the same files.

The plan cuts the table of runs into parts. It is written into the manifest before training starts and only ever
extended, so that a resumed build, or one with other workers, trains the very same stacks.
"""

import errno
import fcntl
import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder import files, grid
from zoo_builder.architecture import Architecture
from zoo_builder.card import zoo_card
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.engines.torch_engine import TorchEngine, resolve_device
from zoo_builder.errors import InputError
from zoo_builder.recipe import Recipe
from zoo_builder.runner import run_parts
from zoo_builder.store import IDENTITY, RESULTS, SCHEMA, Zoo, finished_part, part_name, read_manifest, write_part

# Runs per part: small enough that an interruption costs minutes, large enough to fill the device.
_PART_RUNS = {"cpu": 32, "cuda": 512}


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
    workers: int = 1,
    progress: Progress = Progress(),
) -> Zoo:
    """Trains all runs of ``recipe`` into the folder ``out`` and returns the zoo.

    Args:
        data_root: where the data set lies; None lets its own source decide.
        device: "auto", "cpu" or "cuda".
        workers: processes on a CPU, one thread each; a GPU takes one.

    Raises:
        InputError: ``out`` holds something else, the data cannot be loaded or has changed, no such device, a full disk.
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
    architectures = [
        grid.architecture_of(recipe.family, run, tuple(data.train_images.shape[1:]), len(data.classes))
        for run in runs.to_dict("records")
    ]
    runs["architecture"] = [architecture.key for architecture in architectures]
    distinct = {architecture.key: architecture for architecture in architectures}
    with _full_disk_explained(root), _only_builder(root):
        manifest = _begun(root, recipe, data, data_root, where.type)
        manifest["architectures"] = {key: value.to_json() for key, value in distinct.items()}
        population = _population(recipe, data)
        finished = {part["name"]: finished_part(root, part, population) for part in manifest["plan"]}
        todo = [part for part in manifest["plan"] if finished[part["name"]] is None]
        if not todo and manifest["complete"]:
            progress.note(f"{root} is finished already: nothing to do")
            return Zoo.open(root)
        files.write_json(root / "zoo.json", manifest | {"complete": False, "parts": []})
        left = sum(part["runs"] for part in todo)
        if left < recipe.models:
            progress.note(f"{recipe.models - left} models are there already: going on with the other {left}")
        progress.start(left, left * recipe.epochs)
        jobs = []
        for part in todo:
            mine = runs.iloc[part["first_run"] : part["first_run"] + part["runs"]].reset_index(drop=True)
            used = {key: distinct[key] for key in mine["architecture"].unique()}
            jobs.append(_Part(root, part, population, mine, used, recipe.checkpoints, recipe.stop_cross_entropy, where))
        for sidecar in run_parts(jobs, data, 1 if where.type == "cuda" else workers, progress.advance):
            finished[sidecar["name"]] = sidecar
            progress.commit(sidecar["runs"])
        manifest |= {"complete": True, "parts": [finished[part["name"]] for part in manifest["plan"]]}
        files.write_atomically(root / "README.md", lambda path: path.write_text(zoo_card(manifest), encoding="utf-8"))
        files.write_json(root / "zoo.json", manifest)
    return Zoo.open(root)


@dataclass(frozen=True)
class _Part:
    """One part to train: called in a worker, commits its files, returns its sidecar."""

    root: Path
    plan: dict
    population: str
    runs: pd.DataFrame
    architectures: dict[str, Architecture]
    checkpoints: tuple[int, ...]
    stop_cross_entropy: float | None
    device: torch.device

    def __call__(self, data: Dataset, progress: Callable[[int], object]) -> dict:
        started = time.perf_counter()
        engine = TorchEngine(self.device)
        logits = torch.empty(len(self.runs), len(data.test_labels), len(data.classes), dtype=torch.float16)
        tables, weights = [], []
        for (key, _), group in self.runs.groupby(["architecture", "batch_size"], sort=False):
            trained = engine.train(
                self.architectures[key], group, data, self.checkpoints, self.stop_cross_entropy, progress
            )
            members = group.index.to_numpy(copy=True)
            tables.append(trained.table.assign(run=members[trained.table["run"]]))
            logits[torch.as_tensor(members)] = trained.logits
            weights.append((key, trained.weights))
        table, rows = self._joined(tables)
        notes = {
            **self.plan,
            "population": self.population,
            "engine": engine.name,
            "instruction_set": torch.backends.cpu.get_cpu_capability() if self.device.type == "cpu" else "CUDA",
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
        strangers = [path.name for path in root.iterdir() if path.name not in (".lock", "parts")]
        if strangers and not (root / "parts").is_dir():
            raise InputError(
                f"{root} is not empty and not a zoo (it holds {sorted(strangers)[0]}): choose another --out"
            )
    elif root.exists():
        held, wanted = read_manifest(root)["recipe"], recipe.to_json()
        if different := [name for name in _without_size(wanted) if held.get(name) != wanted[name]]:
            name = different[0]
            raise InputError(
                f"{root} holds the zoo of another recipe: its {name} is {held.get(name)!r}, this recipe's is "
                f"{wanted[name]!r}; choose another --out, or give the arguments it was built with"
            )
        if recipe.models < held["models"]:
            raise InputError(f"{root} has {held['models']} models: ask for at least as many, or choose another --out")


def _begun(root: Path, recipe: Recipe, data: Dataset, data_root: str | Path | None, device: str) -> dict:
    """The manifest to go on from: a new one, or the one that is there with its plan extended to the recipe's size."""
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
    if (root / "zoo.json").exists():
        manifest = read_manifest(root)
        if manifest["data"]["fingerprint"] != data.fingerprint:
            raise InputError(
                f"{root} was begun on other images of the name {data.name!r}: pass the same --data, or another --out"
            )
    else:
        manifest = {"schema": SCHEMA, "name": recipe.name, "plan": [], "complete": False, "parts": []}
    plan = list(manifest["plan"])
    first = sum(part["runs"] for part in plan)
    while first < recipe.models:
        runs = min(_PART_RUNS[device], recipe.models - first)
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
def _only_builder(root: Path) -> Iterator[None]:
    """Holds the folder for this process; a killed process lets go of it by itself."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"cannot write to {root} ({error.strerror}): choose another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is building {root}: wait for it, or choose another --out") from None
        yield


@contextmanager
def _full_disk_explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"the disk that holds {root} is full; finished parts are kept: free space and run the same command again"
        ) from error
