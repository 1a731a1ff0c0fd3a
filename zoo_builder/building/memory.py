"""The least memory that training takes: beyond it, allocators fail or the system kills.

Training takes a few times this, so what passes may still be too much; what is refused certainly is.
"""

import os
import platform
from collections.abc import Mapping

import pandas as pd
import torch

from zoo_builder import files
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.training.settings import subset_size

# Of a number, and how often the weights of a part are in memory when it is written: as they were trained, joined by
# architecture, as bytes of tensors, and as those of a file.
_BYTES, _COPIES = 4, 4


def needed(
    recipe: Recipe, part: pd.DataFrame, architectures: Mapping[str, Architecture], data: Dataset, device: torch.device
) -> int:
    """Bytes of this machine's memory (not of a GPU's) for the runs of a part: their weights, and one's activations."""
    weights, activations = 0, 0
    for key, batch, fraction in zip(part["architecture"], part["batch_size"], part["train_fraction"], strict=True):
        architecture = architectures[key]
        weights += architecture.size
        if device.type == "cpu":
            # Only norms need a whole batch at once.
            examples = min(batch, subset_size(fraction, len(data.train_labels))) if architecture.buffers else 1
            activations = max(activations, examples * architecture.units)
    return _BYTES * (_COPIES * len(recipe.checkpoints) * weights + activations)


def shortage(
    recipe: Recipe, part: pd.DataFrame, architectures: Mapping[str, Architecture], data: Dataset, device: torch.device
) -> str | None:
    """A line that says what this machine lacks for a part, and for which run of it; None where it may do."""

    def take(rows: pd.DataFrame) -> int:
        return needed(recipe, rows, architectures, data, device)

    if take(part) <= (there := available()):
        return None
    largest = part.iloc[max(range(len(part)), key=lambda row: take(part.iloc[[row]]))]
    return (
        f"recipe {recipe.name}: {grid.described(recipe.family, largest, data.train_images.shape[1:])} has "
        f"{architectures[largest['architecture']].size:,} parameters and a batch_size of {largest['batch_size']}: "
        f"{len(part)} models that are stored together need at least {files.size_text(take(part))} of memory, this "
        f"machine ({platform.node()}) has {files.size_text(there)}; choose smaller networks or batches, fewer "
        f"checkpoints, or a larger machine"
    )


def available() -> int:
    """This machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
