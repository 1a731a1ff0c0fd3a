"""Image classification."""

from collections.abc import Iterable
from math import prod

import numpy as np
import pandas as pd

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import architecture_hyperparameters
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.training.settings import subset_size


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
