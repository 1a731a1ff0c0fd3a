"""A lower bound on the memory that training takes: with less, allocations fail or the system kills the process.

Training takes a few times as much, so a build that passes this check may still run out of memory.
"""

import platform

import pandas as pd
import torch

from zoo_builder import files
from zoo_builder.building.population import Population
from zoo_builder.limits import memory as available
from zoo_builder.recipes import grid

# Bytes of a number, and how many copies of a part's weights are in memory when it is written: as trained, joined by
# architecture, as the bytes of tensors, and as the bytes of a file.
_BYTES, _COPIES = 4, 4


def needed(population: Population, part: pd.DataFrame, device: torch.device) -> int:
    """Bytes of main memory (not of a GPU's) for the runs of a part: all weights, and the activations of one run."""
    weights, activations = 0, 0
    for key, batch in zip(part["architecture"], population.problem.batches(part).tolist(), strict=True):
        architecture = population.architectures[key]
        weights += architecture.size
        if device.type == "cpu":
            # Only norms need a whole batch.
            activations = max(activations, (batch if architecture.buffers else 1) * architecture.units)
    return _BYTES * (_COPIES * len(population.recipe.checkpoints) * weights + activations)


def shortage(population: Population, part: pd.DataFrame, device: torch.device) -> str | None:
    """A message that names the largest run if this machine has too little memory for a part, else None."""

    def bytes_of(rows: pd.DataFrame) -> int:
        return needed(population, rows, device)

    if bytes_of(part) <= (there := available()):
        return None
    largest = part.iloc[max(range(len(part)), key=lambda row: bytes_of(part.iloc[[row]]))]
    recipe, problem = population.recipe, population.problem
    shared = " and ".join(f"{name} = {largest[name]}" for name in problem.shared)
    return (
        f"recipe {recipe.name}: {grid.described(recipe.family, largest, problem.input_shape)} has "
        f"{population.architectures[largest['architecture']].size:,} parameters, with {shared}: "
        f"{len(part)} models that are stored together need at least {files.size_text(bytes_of(part))} of memory, this "
        f"machine ({platform.node()}) has {files.size_text(there)}; choose smaller networks or batches, fewer "
        f"checkpoints, or a larger machine"
    )
