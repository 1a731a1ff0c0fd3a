"""Builds a zoo: plan, train, commit. Builds are resumable: call ``build`` again; the data files are byte-identical."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo_builder import files
from zoo_builder.building import memory
from zoo_builder.building.disk import expected_bytes, full_disk_explained, sizes_text
from zoo_builder.building.part import PartJob
from zoo_builder.building.population import Population
from zoo_builder.building.resume import begun, planned_parts, refuse_other_zoo
from zoo_builder.building.runner import Local, Runner
from zoo_builder.engines import choice
from zoo_builder.engines.torch_engine import resolve_device
from zoo_builder.errors import InputError, refuse_other_type
from zoo_builder.lock import only_process
from zoo_builder.problems.loading import load_problem
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.card import zoo_card
from zoo_builder.store.format import Part, PlannedPart, finished_part, write_manifest
from zoo_builder.store.zoo import Zoo

_CARD = "README.md"
_IN_THIS_PROCESS = Local()


@dataclass(frozen=True)
class Progress:
    """Callbacks of a build; the command line draws a progress bar with them.

    Attributes:
        start: called once, with the numbers of models and of model-epochs (models x epochs) to train.
        advance: called with the number of model-epochs since the last call.
        commit: called with the number of models of each part that is stored.
        note: called with a line for the user.
    """

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
        data_root: the folder of the data set; None lets the source of the data choose.
        device: "auto", "cpu" or "cuda".
        engine: one of ``choice.ENGINES``.
        runner: where parts are trained: in this process, in worker processes, or on a Ray cluster.

    Raises:
        InputError: ``out`` holds something else or cannot be written, another process holds it, the data cannot
            be loaded or has changed, no such device or engine, too little memory, a full disk, a killed worker.
    """
    refuse_other_type("recipe", recipe, Recipe, "load_recipe(name)")
    root = Path(out)
    where = resolve_device(device)
    refuse_other_zoo(root, recipe)
    problem = load_problem(recipe, data_root)
    for remark in problem.remarks():
        progress.note(remark)
    population = Population.of(recipe, problem)
    with only_process(root, "building", "choose another `out`"):
        manifest = begun(root, population, data_root, where.type, progress.note)
        plan = planned_parts(manifest)
        parts = {planned.name: finished_part(root, planned, population.digest) for planned in plan}
        if manifest["complete"] and manifest["parts"] == _as_json(parts):
            if not (root / _CARD).exists():
                _write_card(root, manifest)
            progress.note(f"{root} is finished already: nothing to do")
            return Zoo.open(root)
        todo = {planned.name: planned for planned in plan if parts[planned.name] is None}
        for planned in todo.values() if runner.here else ():
            if short := memory.shortage(population, planned.select(population.runs), where):
                raise InputError(short)
        jobs = _jobs(root, population, list(todo.values()), where, engine, progress.note)

        def missing_bytes() -> int:
            return sum(
                expected_bytes(population, planned.select(population.runs), parts=1) for planned in todo.values()
            )

        with full_disk_explained(root, missing_bytes):
            write_manifest(root, manifest | {"complete": False, "parts": []})
            models = sum(planned.runs for planned in todo.values())
            if 0 < models < recipe.models:
                progress.note(f"{recipe.models - models} models are finished: building the other {models}")
            if todo and (missing := missing_bytes()) > shutil.disk_usage(root).free:
                progress.note(
                    f"{sizes_text(missing, root)}: the disk that holds {root} will be full before the build ends"
                )
            progress.start(models, models * recipe.epochs)
            for part in runner.run(jobs, problem, progress.advance, gpu=where.type == "cuda"):
                parts[part.name] = part
                del todo[part.name]
                progress.commit(part.runs)
            manifest |= {"complete": True, "parts": _as_json(parts)}
            _write_card(root, manifest)
            write_manifest(root, manifest)
    return Zoo.open(root)


def _jobs(
    root: Path,
    population: Population,
    todo: Sequence[PlannedPart],
    device: torch.device,
    engine: str,
    note: Callable[[str], object],
) -> list[PartJob]:
    """A job for each part, with the engines of its architectures; compiles them if need be."""
    left = {key for planned in todo for key in planned.select(population.runs)["architecture"]}
    needed = {key: value for key, value in population.architectures.items() if key in left}
    engines = choice.engines(engine, device, needed, population.total_examples(), note)
    jobs = []
    for planned in todo:
        runs = planned.select(population.runs).reset_index(drop=True)
        used = {key: (needed[key], engines[key]) for key in runs["architecture"].unique()}
        # Resolved, because a worker may have another working directory.
        jobs.append(PartJob(root.resolve(), planned, population.digest, population.recipe, runs, used))
    return jobs


def _as_json(parts: Mapping[str, Part | None]) -> list[dict | None]:
    return [part and part.to_json() for part in parts.values()]


def _write_card(root: Path, manifest: dict) -> None:
    card = zoo_card(manifest)
    files.write_atomically(root / _CARD, lambda path: path.write_text(card, encoding="utf-8"))
