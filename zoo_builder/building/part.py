"""One part of a zoo: trained in a worker and committed to disk."""

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
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.errors import InputError
from zoo_builder.lock import LOCK
from zoo_builder.networks.architecture import Architecture
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.format import IDENTITY, RESULTS, write_part
from zoo_builder.training import loop
from zoo_builder.training.engine import Engine


@dataclass(frozen=True)
class PartJob:
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
