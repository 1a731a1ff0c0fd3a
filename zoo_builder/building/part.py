"""One part of a zoo: trained in one worker and committed to disk."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder.building import memory
from zoo_builder.building.population import Population
from zoo_builder.errors import InputError
from zoo_builder.lock import LOCK
from zoo_builder.networks.architecture import Architecture
from zoo_builder.problems.interface import Problem
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.format import IDENTITY, Part, PlannedPart, write_part
from zoo_builder.training.engine import Engine
from zoo_builder.training.results import Trained


@dataclass(frozen=True)
class PartJob:
    """Trains the runs of one part, in any process, and writes its files.

    Attributes:
        root: the zoo's folder.
        runs: the part's rows of the table of runs, numbered from 0.
        population: ``Population.digest`` of the whole zoo.
        architectures: each architecture of the runs and the engine that trains it, by key.
    """

    root: Path
    planned: PlannedPart
    population: str
    recipe: Recipe
    runs: pd.DataFrame
    architectures: dict[str, tuple[Architecture, Engine]]

    def __call__(self, problem: Problem, progress: Callable[[int], object]) -> Part:
        if not (self.root / LOCK).exists():
            raise InputError(
                f"{self.root} is not the folder here ({platform.node()}) that the build was started on: `out` must be "
                "on a file system that all nodes share, under one path"
            )
        engines = [engine for _, engine in self.architectures.values()]
        networks = {key: architecture for key, (architecture, _) in self.architectures.items()}
        here = Population(self.recipe, problem, self.runs, networks)
        if short := memory.shortage(here, self.runs, engines[0].device):
            raise InputError(short)
        started = time.perf_counter()
        outputs = torch.empty(len(self.runs), *problem.output_shape, dtype=torch.float16)
        tables, weights = [], []
        for (key, *_), group in self.runs.groupby(["architecture", *problem.shared], sort=False):
            trained = self._trained(problem, key, group, progress)
            members = group.index.to_numpy(copy=True)
            tables.append(trained.table.assign(run=members[trained.table["run"]]))
            outputs[torch.as_tensor(members)] = trained.outputs
            weights.append((key, trained.weights))
        table, rows = self._joined(tables, problem)
        part = Part(
            **vars(self.planned),
            population=self.population,
            engines=tuple(sorted({f"{engine.name} ({engine.instruction_set})" for engine in engines})),
            seconds=round(time.perf_counter() - started, 3),
        )
        stacked = _by_architecture(weights, rows)
        return write_part(self.root, part, table, stacked, problem.stored(outputs), problem.data_name)

    def _trained(self, problem: Problem, key: str, group: pd.DataFrame, progress: Callable[[int], object]) -> Trained:
        """Trains the runs of one stack."""
        architecture, engine = self.architectures[key]
        recipe = self.recipe
        try:
            return problem.train(engine, architecture, group, recipe.checkpoints, recipe.stop_cross_entropy, progress)
        except torch.OutOfMemoryError as error:
            shared = " and ".join(f"{name} = {group[name].iloc[0]}" for name in problem.shared)
            raise InputError(
                f"the GPU is out of memory for a network of {architecture.size:,} parameters with {shared}: choose "
                "smaller networks or batches, a larger GPU, or the `device` 'cpu'"
            ) from error

    def _joined(self, tables: list[pd.DataFrame], problem: Problem) -> tuple[pd.DataFrame, list[np.ndarray]]:
        """The part's table, run by run, and the positions in it of each table's rows."""
        joined = pd.concat(tables, ignore_index=True)
        order = np.lexsort((joined["epoch"], joined["run"]))
        results = joined.iloc[order].reset_index(drop=True)
        table = self.runs.iloc[results["run"]].reset_index(drop=True).assign(epoch=results["epoch"])
        hyperparameters = [name for name in self.runs.columns if name not in IDENTITY]
        table = pd.concat([table[[*IDENTITY, *hyperparameters]], results[list(problem.results)]], axis=1)
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
