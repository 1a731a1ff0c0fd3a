"""Access levels: what each lets a method read, and the ``View`` that enforces it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from zoo_builder.errors import InputError, nearest
from zoo_builder.networks.stack import Stack

# Access level -> the fields of a View that it may read (the table in the design; `size` is free to all).
ACCESS: dict[str, frozenset[str]] = {
    "hyperparameters": frozenset({"hyperparameters", "configurations"}),
    "weights": frozenset({"stacks", "initial"}),
    "train-data": frozenset({"stacks", "initial", "train"}),
    "trajectory": frozenset({"stacks", "initial", "hyperparameters", "configurations", "train", "statistics"}),
    "unlabeled-data": frozenset({"stacks", "initial", "configurations", "train", "target"}),
}


class AccessError(AttributeError):
    """A method asked its view for something its access level does not allow."""


@dataclass(frozen=True)
class TrainData:
    """The training images and what is known of each model on its own share of them.

    Attributes:
        images: uint8 [N, channels, height, width]; ``zoo_builder.datasets.dataset.scaled`` maps them to [-1, 1].
        labels: int64 [N].
        subset_size: int64 [n], how many of the N images each model was trained on.
        subset_seed: int64 [n], ``zoo_builder.training.settings.training_subset(seed, size, N)`` gives their indices.
        loss, accuracy: float64 [n], mean cross-entropy and accuracy on the model's own training images, in eval mode.
    """

    images: "Tensor"
    labels: "Tensor"
    subset_size: np.ndarray
    subset_seed: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray

    def take(self, rows: np.ndarray) -> "TrainData":
        """What is known of the models at ``rows``, as copies; the images are all kept."""
        per_model = ("subset_size", "subset_seed", "loss", "accuracy")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_model})


@dataclass(frozen=True)
class TargetData:
    """Unlabeled target images and every model's outputs on them.

    Attributes:
        images: uint8 [N, channels, height, width], the same order for all models.
        logits: float16 [n, N, classes].
    """

    images: "Tensor"
    logits: np.ndarray


# A generated comparison or representation would read the guarded fields.
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class View:
    """What one access level may read of n models. Reading a field the level does not allow raises AccessError.

    Attributes:
        access: the level's name.
        size: n.
        stacks: final weights, one Stack per architecture; ``stack.rows`` are positions 0 .. n-1 in this view.
        initial: the same models at epoch 0, stack for stack, row for row; None if the zoo has no epoch-0 checkpoints.
        hyperparameters: one row per model; numbers and strings.
        configurations: int64 [n]; equal numbers are runs of one configuration that differ in the seed alone.
        train, target: see TrainData and TargetData.
        statistics: one row per model, columns ``zoo_builder.training.settings.STATISTICS``: what training recorded on its way.

    Raises:
        InputError: there is no such access level.
    """

    access: str
    size: int
    stacks: "list[Stack]" = field(default_factory=list)
    initial: "list[Stack] | None" = None
    hyperparameters: "pd.DataFrame | None" = None
    configurations: np.ndarray | None = None
    train: TrainData | None = None
    target: TargetData | None = None
    statistics: "pd.DataFrame | None" = None

    def __post_init__(self) -> None:
        if self.access not in ACCESS:
            raise InputError(
                f"unknown access level {self.access!r}{nearest(self.access, ACCESS)}: use one of {', '.join(ACCESS)}"
            )

    def __getattribute__(self, name: str) -> Any:
        if name in _GUARDED and name not in ACCESS[self.access]:
            levels = ", ".join(level for level, allowed in ACCESS.items() if name in allowed)
            raise AccessError(
                f"view.{name} is not part of access level {self.access!r} (it is part of: {levels}); "
                f"declare one of these as the method's `access`, or do without"
            )
        return super().__getattribute__(name)

    def take(self, rows: np.ndarray) -> "View":
        """The models at ``rows`` (distinct, any order), renumbered 0 .. len(rows)-1.

        Raises:
            InputError: a row stands twice or is not 0 .. n-1.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(np.unique(rows)) < len(rows) or not np.isin(rows, np.arange(self.size)).all():
            raise InputError(
                f"a view of {self.size} models was asked for rows {rows}: give distinct rows below {self.size}"
            )
        position = np.full(self.size, -1)
        position[rows] = np.arange(len(rows))
        allowed = ACCESS[self.access]
        changes: dict[str, Any] = {"size": len(rows)}
        if "stacks" in allowed:
            changes["stacks"] = [chosen for stack in self.stacks if len(chosen := _renumbered(stack, position))]
            if self.initial is not None:
                changes["initial"] = [chosen for stack in self.initial if len(chosen := _renumbered(stack, position))]
        for name in ("hyperparameters", "statistics"):
            if name in allowed and (table := getattr(self, name)) is not None:
                changes[name] = table.iloc[rows].reset_index(drop=True)
        if "configurations" in allowed and self.configurations is not None:
            changes["configurations"] = self.configurations[rows]
        if "train" in allowed and self.train is not None:
            changes["train"] = self.train.take(rows)
        if "target" in allowed and self.target is not None:
            changes["target"] = replace(self.target, logits=self.target.logits[rows])
        # dataclasses.replace would read guarded fields.
        fields = {name: object.__getattribute__(self, name) for name in self.__dataclass_fields__}
        return View(**{**fields, **changes})


_GUARDED = frozenset().union(*ACCESS.values())


def _renumbered(stack: "Stack", position: np.ndarray) -> "Stack":
    """The models of ``stack`` whose new position is not -1, by ascending new position."""
    new = position[stack.rows]
    kept = np.flatnonzero(new >= 0)
    kept = kept[np.argsort(new[kept])]
    return replace(stack.take(kept), rows=new[kept])
