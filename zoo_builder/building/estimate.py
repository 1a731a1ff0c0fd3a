"""What building a recipe comes to, before it is built: models, networks, bytes on disk, and time on this machine."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from math import ceil, prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from zoo_builder import files
from zoo_builder.building import memory
from zoo_builder.building.resume import PART_RUNS
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.engines import choice
from zoo_builder.engines.torch_engine import resolve_device
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.problems.classification import architectures_of
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.training import loop
from zoo_builder.training.engine import Engine
from zoo_builder.training.settings import Trained, subset_size

# A build of more models has to be confirmed; a plan looks at the first so many.
LIMIT = 10_000
_CALIBRATION_SECONDS = 5.0
# So many networks of a kind are tried, on so many images, and of large networks on fewer: an epoch of one of them has
# about three times so many multiplications.
_FEW, _IMAGES, _MULTIPLICATIONS = 8, 512, 10**10


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to.

    Attributes:
        axes: every hyperparameter that varies, with its values or its distribution.
        needs: what can be said with the data set at hand; otherwise None, and ``problem`` says why it is not.
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
    problem: str | None = None


@dataclass(frozen=True)
class Needs:
    """What building all models takes.

    Attributes:
        architectures: how many distinct ones.
        parameters: of a model: least, median, most.
        memory: bytes of this machine's that one worker takes at the least; see ``zoo_builder.building.memory``.
        bytes: on disk; weights and outputs exactly, tables by estimate. At most: a run that stops early takes less.
        seconds: of training and evaluation with the plan's workers, every run to its last epoch.
        rate: training samples x models per second of one worker. Both None where this machine has less memory.
    """

    architectures: int
    parameters: tuple[int, int, int]
    memory: int
    bytes: int
    seconds: float | None = None
    rate: float | None = None


def plan(
    recipe: Recipe,
    data_root: str | Path | None = None,
    workers: int = 1,
    engine: str = "auto",
    note: Callable[[str], object] = lambda message: None,
) -> Plan:
    """Looks at the first ``LIMIT`` runs, trains a few of them on a little of the data for some seconds, and scales up.

    Args:
        data_root: see ``build``; where it is None and the data cannot be had, the plan says what can be said without.
        engine, note: see ``engines.choice``; what is compiled serves the build as well.

    Raises:
        InputError: no such data in ``data_root``; an architecture that its images do not fit; no such engine.
    """
    axes = {name: ", ".join(map(str, values)) for name, values in recipe.grid.items()}
    for name, axis in recipe.sample.items():
        axes[name] = f"{axis.distribution.replace('_', '-')} of {', '.join(map(str, axis.values))}"
    made = Plan(
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
        data = load(recipe.data.name, data_root, recipe.data.colour)
    except InputError as error:
        if data_root is not None:
            raise
        return replace(made, problem=str(error))
    runs, architectures = _first_runs(recipe, data)
    sizes = runs["architecture"].map({key: architecture.size for key, architecture in architectures.items()})
    parameters = (int(sizes.min()), int(sizes.median()), int(sizes.max()))
    device = resolve_device("auto")
    parts = [runs.iloc[first : first + PART_RUNS[device.type]] for first in range(0, len(runs), PART_RUNS[device.type])]
    largest = max(parts, key=lambda part: memory.needed(recipe, part, architectures, data, device))
    needed = memory.needed(recipe, largest, architectures, data, device)
    needs = Needs(len(architectures), parameters, needed, _bytes(recipe, data, runs, architectures))
    if short := memory.shortage(recipe, largest, architectures, data, device):
        note(f"warning: {short}")
        return replace(made, needs=needs)
    torch.set_num_threads(1)  # as a worker has
    examples = len(data.train_labels) * recipe.epochs
    engines = choice.engines(engine, device, architectures, runs, examples, note)
    seconds, rate = _calibrated(engines, runs, architectures, recipe, data)
    return replace(made, needs=replace(needs, seconds=seconds * recipe.models / workers, rate=rate))


def refuse_large(recipe: Recipe, data_root: str | Path | None = None) -> None:
    """Stops a build that was not confirmed.

    Raises:
        InputError: the recipe has more than ``LIMIT`` models.
    """
    if recipe.models > LIMIT:
        data = load(recipe.data.name, data_root, recipe.data.colour)
        size = files.size_text(_bytes(recipe, data, *_first_runs(recipe, data)))
        raise InputError(
            f"{recipe.name} has {recipe.models:,} models, about {size} on disk, and more than {LIMIT:,} need a "
            f"confirmation: `gengap zoo plan` shows how long they take, --yes builds them, --models N builds fewer"
        )


def _first_runs(recipe: Recipe, data: Dataset) -> tuple[pd.DataFrame, dict[str, Architecture]]:
    # Architectures vary fastest in a grid, so the first runs have them all unless there are very many.
    runs = grid.runs(recipe.cut(models=min(recipe.models, LIMIT)))
    runs["architecture"], architectures = architectures_of(recipe, runs, data)
    return runs, architectures


def _bytes(recipe: Recipe, data: Dataset, runs: pd.DataFrame, architectures: dict[str, Architecture]) -> int:
    parts = ceil(len(runs) / PART_RUNS["cpu"])
    return expected_bytes(runs, architectures, recipe, data, parts) * recipe.models // len(runs)


def _calibrated(
    engines: dict[str, Engine],
    runs: pd.DataFrame,
    architectures: dict[str, Architecture],
    recipe: Recipe,
    data: Dataset,
) -> tuple[float, float]:
    """Seconds of one worker for the mean run, and its training samples x models per second.

    Groups of runs that can be trained together are tried in random order, large ones rather early, until time is up.
    What was not tried is taken to cost as much for each multiplication.
    """
    own = runs["train_fraction"].map(lambda fraction: subset_size(fraction, len(data.train_labels)))
    work = own * runs["architecture"].map({key: float(a.multiplications) for key, a in architectures.items()})
    groups = [group for _, group in runs.groupby(["architecture", "batch_size"], sort=False)]
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
            cost = _cost(engines[key], architectures[key], _spread(group, count), data)
            if time.perf_counter() - before > _CALIBRATION_SECONDS / 10:
                break
        images = own[group.index].sum()
        looks = recipe.epochs + 1 if recipe.stop_cross_entropy else 1
        tested = len(group) * len(recipe.checkpoints) * len(data.test_labels)
        training += recipe.epochs * images * cost.sample
        seconds += len(group) * cost.model + (looks * images + tested) * cost.image
        done += work[group.index].sum()
        if time.perf_counter() - started > _CALIBRATION_SECONDS:
            break
    share = done / work.sum()
    return (seconds + training) / share / len(runs), recipe.epochs * own.sum() * share / training


class _Cost(NamedTuple):
    """Seconds for a model as such, for one of its training samples in one epoch, for one image it is evaluated on."""

    model: float
    sample: float
    image: float


def _spread(group: pd.DataFrame, count: int) -> pd.DataFrame:
    chosen = np.linspace(0, len(group) - 1, min(len(group), count)).astype(int)
    return group.iloc[chosen].reset_index(drop=True)


def _cost(engine: Engine, architecture: Architecture, some: pd.DataFrame, data: Dataset) -> _Cost:
    # A large network takes long for a whole batch, and as long for each image of a smaller one; norms need two.
    most = max(2, _MULTIPLICATIONS // architecture.multiplications)
    batch = min(int(some["batch_size"].iloc[0]), most, len(data.train_labels))
    # Whole batches alone: what is left of a share of few images may be a single one.
    some = some.assign(train_fraction=1.0, batch_size=batch)
    images = min(_IMAGES, most)
    whole = batch * min(ceil(images / batch), len(data.train_labels) // batch)
    few = replace(
        data,
        train_images=data.train_images[:whole],
        train_labels=data.train_labels[:whole],
        test_images=data.test_images[:images],
        test_labels=data.test_labels[:images],
    )
    samples, tested = len(some) * len(few.train_labels), len(some) * len(few.test_labels)

    def train(epochs: int) -> Trained:
        return loop.train(engine, architecture, some, few, (epochs,))

    weights = train(1).weights  # the first time is slower: it may have to compile
    once = _seconds(lambda: train(1))
    twice = _seconds(lambda: train(2))
    image = _seconds(lambda: engine.logits(architecture, weights, few.test_images)) / tested
    # A negative difference can only be noise.
    sample = max(twice - once, 0.1 * once) / samples
    return _Cost(max(0.0, once - samples * (sample + image) - tested * image) / len(some), sample, image)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# What tables, file headers, sidecars and the manifest take, by experience.
_ROW_BYTES, _PART_BYTES = 80, 20_000


def expected_bytes(
    runs: pd.DataFrame, architectures: dict[str, Architecture], recipe: Recipe, data: Dataset, parts: int
) -> int:
    """About how large ``parts`` parts of ``runs`` are: weights and outputs to the byte, the rest by experience.

    Runs that stop early have fewer checkpoints, and take less.
    """
    rows, examples = len(recipe.checkpoints), len(data.test_labels)
    size = {key: sum(4 * prod(shape) for shape in value.tensors.values()) for key, value in architectures.items()}
    weights = runs["architecture"].map(size).sum() + len(runs) * 8
    outputs = len(runs) * 2 * examples * len(data.classes) + parts * 8 * examples
    return int(rows * weights + outputs + rows * len(runs) * _ROW_BYTES + parts * _PART_BYTES)


@contextmanager
def full_disk_explained(root: Path, missing_bytes: Callable[[], int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"the disk that holds {root} is full: {sizes_text(missing_bytes(), shutil.disk_usage(root).free)}; "
            "finished parts are kept: free space and run the same command again"
        ) from error


def sizes_text(needed: int, free: int) -> str:
    return f"the rest of the build needs about {files.size_text(needed)}, {files.size_text(free)} are free"
