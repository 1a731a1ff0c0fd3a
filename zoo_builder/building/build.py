"""Builds a zoo: plan -> train -> commit. Interrupted at any moment, the same call goes on and ends with the same files.

The plan cuts the table of runs into parts. It is written into the manifest before training starts and only ever
extended, so that a resumed build, or one with other workers, trains the very same stacks.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zoo_builder import files
from zoo_builder.building import memory
from zoo_builder.building.estimate import expected_bytes, full_disk_explained, sizes_text
from zoo_builder.building.part import PartJob
from zoo_builder.building.resume import begun, population_of, refuse_other_zoo
from zoo_builder.building.runner import Local, Runner
from zoo_builder.datasets.loading import load
from zoo_builder.engines import choice
from zoo_builder.engines.torch_engine import resolve_device
from zoo_builder.errors import InputError
from zoo_builder.lock import only_process
from zoo_builder.problems.classification import architectures_of
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.card import zoo_card
from zoo_builder.store.format import (
    finished_part,
    write_manifest,
)
from zoo_builder.store.zoo import Zoo

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
    refuse_other_zoo(root, recipe)
    data = load(recipe.data.name, data_root, recipe.data.colour)
    if data.duplicates:
        progress.note(
            f"{data.duplicates} test images of {data.name} are also training images (kept, counted in zoo.json)"
        )
    runs["architecture"], architectures = architectures_of(recipe, runs, data)
    with only_process(root, "building", "choose another --out"):
        population = population_of(recipe, data)
        manifest = begun(root, recipe, data, data_root, population, where.type, progress.note)
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
        with full_disk_explained(root, missing_bytes):
            write_manifest(root, manifest | {"complete": False, "parts": []})
            models = sum(part["runs"] for part in todo.values())
            if models < recipe.models:
                progress.note(f"{recipe.models - models} models are there already: going on with the other {models}")
            if todo and (missing := missing_bytes()) > (free := shutil.disk_usage(root).free):
                progress.note(
                    f"{sizes_text(missing, free)}: the disk that holds {root} will be full before the build ends"
                )
            progress.start(models, models * recipe.epochs)
            jobs = []
            here = root.resolve()  # a worker may have another working directory
            for part in todo.values():
                mine = _runs_of(part, runs).reset_index(drop=True)
                used = {key: (architectures[key], engines[key]) for key in mine["architecture"].unique()}
                jobs.append(PartJob(here, part, population, recipe, mine, used))
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
