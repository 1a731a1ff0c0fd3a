"""Estimates models, parameters, time, memory and disk of a recipe before it is built."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from zoo_builder.building import memory
from zoo_builder.building.disk import expected_bytes
from zoo_builder.building.population import Population
from zoo_builder.building.resume import PART_RUNS
from zoo_builder.datasets.dataset import TooSmall
from zoo_builder.engines import choice
from zoo_builder.engines.torch_engine import resolve_device
from zoo_builder.errors import InputError, refuse_other_type
from zoo_builder.problems.interface import Problem
from zoo_builder.problems.loading import load_problem
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.training.engine import Engine

# An estimate is made from at most this many runs, and scaled up.
LIMIT = 10_000
CALIBRATION_SECONDS = 5.0
# This many networks of a group are tried first.
_FEW = 8


@dataclass(frozen=True)
class Estimate:
    """The models of a recipe, and the cost of building them.

    Attributes:
        axes: every hyperparameter that varies, with its values or its distribution.
        workers: for which ``needs.seconds`` is estimated.
        needs: None if the data, from which they follow, is not available for ``reason``.
    """

    recipe: str
    models: int
    configurations: int
    axes: dict[str, str]
    epochs: int
    checkpoints: tuple[int, ...]
    stop_cross_entropy: float | None
    workers: int
    needs: "Needs | None" = None
    reason: str | None = None


@dataclass(frozen=True)
class Needs:
    """The cost of building all models.

    Attributes:
        architectures: how many distinct ones.
        parameters: least, median and most of a model.
        memory: a lower bound on the bytes of main memory of one worker; see ``building.memory``.
        bytes: on disk, an upper bound if runs may stop early: exact for weights and outputs, approximate for tables.
        seconds: training and evaluation by all workers, every run to its last epoch.
        rate: training samples x models per second of one worker. Both are None if this machine has too little memory.
    """

    architectures: int
    parameters: tuple[int, int, int]
    memory: int
    bytes: int
    seconds: float | None = None
    rate: float | None = None


def estimate(
    recipe: Recipe,
    data_root: str | Path | None = None,
    workers: int = 1,
    engine: str = "auto",
    note: Callable[[str], object] = lambda message: None,
) -> Estimate:
    """Trains a few of the first ``LIMIT`` runs on a little of the data for some seconds, and scales up.

    Args:
        data_root: see ``build``; if it is None and the data is not available, the estimate has no ``needs``.
        engine, note: see ``engines.choice``; compiled code is kept and serves the build as well.

    Raises:
        InputError: no such data in ``data_root``, images smaller than the recipe's size, an architecture that its
            inputs do not fit, no such engine.
    """
    refuse_other_type("recipe", recipe, Recipe, "load_recipe(name)")
    axes = {name: ", ".join(map(str, values)) for name, values in recipe.grid.items()}
    for name, axis in recipe.sample.items():
        axes[name] = f"{axis.distribution.replace('_', '-')} of {', '.join(map(str, axis.values))}"
    estimated = Estimate(
        recipe=recipe.name,
        models=recipe.models,
        configurations=recipe.configurations,
        axes=axes,
        epochs=recipe.epochs,
        checkpoints=recipe.checkpoints,
        stop_cross_entropy=recipe.stop_cross_entropy,
        workers=workers,
    )
    try:
        problem = load_problem(recipe, data_root)
    except InputError as error:
        if data_root is not None or isinstance(error, TooSmall):
            raise
        return replace(estimated, reason=str(error))
    for remark in problem.remarks():
        note(remark)
    return replace(estimated, needs=_needs(recipe, problem, workers, engine, note))


def bytes_on_disk(recipe: Recipe, data_root: str | Path | None = None) -> int:
    """About how large the zoo of ``recipe`` is.

    Raises:
        InputError: the data cannot be loaded, or an architecture does not fit it.
    """
    return _bytes(_first_runs(recipe, load_problem(recipe, data_root)), recipe.models)


def _needs(recipe: Recipe, problem: Problem, workers: int, engine: str, note: Callable[[str], object]) -> Needs:
    population = _first_runs(recipe, problem)
    runs, architectures = population.runs, population.architectures
    sizes = runs["architecture"].map({key: architecture.size for key, architecture in architectures.items()})
    device = resolve_device("auto")
    size = PART_RUNS[device.type]
    parts = [runs.iloc[first : first + size] for first in range(0, len(runs), size)]
    largest = max(parts, key=lambda part: memory.needed(population, part, device))
    needs = Needs(
        architectures=len(architectures),
        parameters=(int(sizes.min()), int(sizes.median()), int(sizes.max())),
        memory=memory.needed(population, largest, device),
        bytes=_bytes(population, recipe.models),
    )
    if short := memory.shortage(population, largest, device):
        note(f"warning: {short}")
        return needs
    torch.set_num_threads(1)  # like a worker
    engines = choice.engines(engine, device, architectures, population.total_examples(), note)
    seconds, rate = _calibrated(engines, population)
    return replace(needs, seconds=seconds * recipe.models / workers, rate=rate)


def _first_runs(recipe: Recipe, problem: Problem) -> Population:
    # Architectures vary fastest in a grid, so the first runs include all of them unless there are very many.
    return Population.of(recipe.cut(models=min(recipe.models, LIMIT)), problem)


def _bytes(population: Population, models: int) -> int:
    parts = ceil(len(population.runs) / PART_RUNS["cpu"])
    return expected_bytes(population, population.runs, parts) * models // len(population.runs)


def _calibrated(engines: dict[str, Engine], population: Population) -> tuple[float, float]:
    """Seconds of one worker for the mean run, and its training samples x models per second.

    Groups of runs that train together are tried in random order, large ones with higher probability, until time is up.
    All others are assumed to cost the same per multiplication.
    """
    recipe, problem, runs = population.recipe, population.problem, population.runs
    own = pd.Series(problem.examples(runs), index=runs.index)
    multiplications = {key: float(value.multiplications) for key, value in population.architectures.items()}
    work = own * runs["architecture"].map(multiplications)
    groups = [group for _, group in runs.groupby(["architecture", *problem.shared], sort=False)]
    chance = np.array([len(group) for group in groups]) / len(runs)
    seconds, training, done = 0.0, 0.0, 0.0
    started = time.perf_counter()
    for number in cycle(np.random.default_rng(0).choice(len(groups), len(groups), replace=False, p=chance)):
        group = groups[number]
        key = group["architecture"].iloc[0]
        # As many as a part has of them, unless fewer take long: small networks are faster in large stacks.
        stack = ceil(PART_RUNS["cpu"] * len(group) / len(runs))
        for count in sorted({1, min(_FEW, stack), stack}):
            before = time.perf_counter()
            cost = problem.cost(engines[key], population.architectures[key], _spread(group, count))
            if time.perf_counter() - before > CALIBRATION_SECONDS / 10:
                break
        samples = own[group.index].sum()
        evaluations = recipe.epochs + 1 if recipe.stop_cross_entropy else 1
        tested = len(group) * len(recipe.checkpoints) * problem.output_shape[0]
        training += recipe.epochs * samples * cost.sample
        seconds += len(group) * cost.model + (evaluations * samples + tested) * cost.example
        done += work[group.index].sum()
        if time.perf_counter() - started > CALIBRATION_SECONDS:
            break
    share = done / work.sum()
    return (seconds + training) / share / len(runs), recipe.epochs * own.sum() * share / training


def _spread(group: pd.DataFrame, count: int) -> pd.DataFrame:
    chosen = np.linspace(0, len(group) - 1, min(len(group), count)).astype(int)
    return group.iloc[chosen].reset_index(drop=True)
