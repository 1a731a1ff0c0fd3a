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


@dataclass(frozen=True)
class Split:
    """The models of a zoo that a task is about, cut by configuration; the same for every method.

    Attributes:
        final: rows of ``zoo.final`` of the runs that ended well; positions below count in it.
        train, validation, test: int64 positions.
        hash: sha256 (hex) over model ids and their splits.
    """

    final: "pd.DataFrame"
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hash: str


def split(zoo: "Zoo", fitted: bool = True) -> Split:
    """Train 40 %, validation 10 %, test 50 % of the configurations, by a hash of each, the seed excluded.

    Seed twins never straddle it, and a larger zoo keeps every model where it was. Where nothing is ``fitted``, all
    models are test models.

    Raises:
        InputError: so few models that a split has less than three.
    """
    final = zoo.final[zoo.final["status"] == "ok"]
    share = final["configuration"].map(_position).to_numpy(float)
    names = np.where(
        share < TRAIN_SHARE, "train", np.where(share < TRAIN_SHARE + VALIDATION_SHARE, "validation", "test")
    )
    if not fitted:
        names = np.full(len(final), "test")
    train, validation, test = (np.flatnonzero(names == name) for name in ("train", "validation", "test"))
    if fitted and min(len(train), len(validation), len(test)) < 3:
        raise InputError(
            f"the zoo {zoo.root} has {len(train)} training, {len(validation)} validation and {len(test)} test models, "
            f"and a task needs 3 of each: build it with more --models"
        )
    lines = [f"{SPLIT_VERSION}", *map(" ".join, zip(final["model_id"], names, strict=True))]
    return Split(final, train, validation, test, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def _position(configuration: str) -> float:
    """A number in [0, 1) that depends on the configuration alone."""
    digest = hashlib.sha256(f"split {SPLIT_VERSION} {configuration}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
