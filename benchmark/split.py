"""The split of a zoo into train, validation and test models."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo

# The share of configurations in each split; the rest is the test split.
TRAIN_SHARE, VALIDATION_SHARE = 0.4, 0.1
SPLIT_VERSION = 1
# Intervals and the choice of settings need at least this many models.
MINIMUM_MODELS = 3


@dataclass(frozen=True, eq=False)
class Split:
    """A zoo's models partitioned by configuration, in the same way for every method.

    Attributes:
        final: the rows of ``zoo.final`` of runs with status "ok"; positions below count in it.
        train, validation, test: int64 positions.
        hash: sha256 (hex) of model ids and their splits.
    """

    final: pd.DataFrame
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hash: str


def split_zoo(zoo: Zoo, fitted: bool = True) -> Split:
    """Train 40 %, validation 10 %, test 50 % of the configurations, by a hash of each without its seed.

    Seed twins are always on the same side, and a model stays on its side when the zoo grows. If nothing is ``fitted``,
    all models are test models.

    Raises:
        InputError: a side has fewer than three models.
    """
    final = zoo.final[zoo.final["status"] == "ok"]
    names = sides_of(final["configuration"]) if fitted else np.full(len(final), "test")
    train, validation, test = (np.flatnonzero(names == name) for name in ("train", "validation", "test"))
    if fitted and min(len(train), len(validation), len(test)) < MINIMUM_MODELS:
        raise InputError(
            f"the zoo {zoo.root} has {len(train)} training, {len(validation)} validation and {len(test)} test models, "
            f"and a task needs {MINIMUM_MODELS} of each: build it with more `models`"
        )
    lines = [f"{SPLIT_VERSION}", *map(" ".join, zip(final["model_id"], names, strict=True))]
    return Split(final, train, validation, test, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def sides_of(configurations: pd.Series) -> np.ndarray:
    """The side of each, "train", "validation" or "test"."""
    position = configurations.map(position_of).to_numpy(float)
    validation_end = TRAIN_SHARE + VALIDATION_SHARE
    return np.where(position < TRAIN_SHARE, "train", np.where(position < validation_end, "validation", "test"))


def position_of(configuration: str) -> float:
    """A number in [0, 1) that depends only on the configuration; the splits are intervals of it."""
    digest = hashlib.sha256(f"split {SPLIT_VERSION} {configuration}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
