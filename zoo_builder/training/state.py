"""The state of a stack in training: weights, optimizer moments, training subsets and their order."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import named
from zoo_builder.training.initialization import initialize
from zoo_builder.training.results import STEPS_TO
from zoo_builder.training.settings import Runs, epoch_order, stream_ids, subset_seeds, training_subset


def segments(left: np.ndarray, batch_size: int) -> Iterator[tuple[slice, int]]:
    """Groups of neighboring models with equally large batches in this step; ``left`` decreases along the models."""
    sizes = np.minimum(left, batch_size)
    sizes = sizes[sizes > 0]
    for batch in np.unique(sizes)[::-1]:
        where = np.flatnonzero(sizes == batch)
        yield slice(int(where[0]), int(where[-1]) + 1), int(batch)


class Active:
    """The runs that are still in training.

    Attributes:
        runs: their settings.
        weights: [M, P], each model's parameters flat, in the order of ``architecture.parameters``.
        buffers: {name: [M, *shape]}, as ``architecture.buffers``.
        first, second: [M, P], the optimizer's moments; SGD and RMSprop keep their momentum in ``first``.
        steps: int64 [M], steps taken.
        subset: int64 [M, largest size], each run's training images; entries beyond its size are 0.
        indices: ``subset`` in the order of this epoch.
        steps_to: float64 [M, len(STEPS_TO)]; see ``Trained``.
        noise: float64 [M, 2], gradient variance after epoch 1 and at the end.
    """

    def __init__(
        self, architecture: Architecture, table: pd.DataFrame, data: Dataset, device: torch.device, dtype: torch.dtype
    ) -> None:
        total = len(data.train_labels)
        self.runs = Runs.of(architecture, table, total, dtype).to(device)
        rows = table.iloc[self.runs.order]
        ids = stream_ids(rows, "initialization")
        initial = (
            initialize(architecture, identity, kind, std)
            for identity, kind, std in zip(ids, rows["initialization"], rows["initialization_std"], strict=True)
        )
        flat = torch.stack([torch.cat([value.flatten() for value in parameters.values()]) for parameters in initial])
        self.weights = flat.to(device, dtype)
        self.buffers = {
            name: torch.full((len(flat), *shape), float(name.endswith("var")), device=device, dtype=dtype)
            for name, shape in architecture.buffers.items()
        }
        self.first = torch.zeros_like(self.weights)
        self.second = torch.zeros_like(self.weights)
        self.steps = torch.zeros(len(self.runs), dtype=torch.int64, device=device)
        self.subset = np.zeros((len(self.runs), int(self.runs.sizes.max())), dtype=np.int64)
        for row, (seed, size) in enumerate(zip(subset_seeds(rows), self.runs.sizes, strict=True)):
            self.subset[row, :size] = training_subset(seed, size, total)
        self.indices = self.subset
        self.steps_to = np.full((len(self.runs), len(STEPS_TO)), np.inf)
        self.noise = np.full((len(self.runs), 2), np.nan)

    def __len__(self) -> int:
        return len(self.runs)

    def shuffle(self, epoch: int) -> None:
        self.indices = self.subset.copy()
        for row, (identity, size) in enumerate(zip(self.runs.order_ids, self.runs.sizes, strict=True)):
            self.indices[row, :size] = self.subset[row, epoch_order(identity, epoch, size)]

    def parameters(self, architecture: Architecture, models: slice = slice(None)) -> dict[str, Tensor]:
        """{name: [M, *shape]} as ``architecture.tensors``, as views."""
        return named(architecture, self.weights[models]) | {k: v[models] for k, v in self.buffers.items()}

    def note_steps(self, cross_entropies: np.ndarray) -> None:
        steps = self.steps.cpu().numpy()[:, None]
        first = (cross_entropies[:, None] <= STEPS_TO) & np.isinf(self.steps_to)
        self.steps_to = np.where(first, steps, self.steps_to)

    def take(self, kept: np.ndarray) -> "Active":
        """Copies of the runs at the ascending positions ``kept``."""
        chosen = Active.__new__(Active)
        chosen.runs = self.runs.take(kept)
        index = torch.as_tensor(kept, device=self.weights.device)
        for name in ("weights", "first", "second", "steps"):
            setattr(chosen, name, getattr(self, name)[index])
        chosen.buffers = {name: value[index] for name, value in self.buffers.items()}
        for name in ("subset", "indices", "steps_to", "noise"):
            setattr(chosen, name, getattr(self, name)[kept])
        return chosen

    def split_off(self, leaving: np.ndarray) -> "Active":
        """Removes the runs where ``leaving`` (bool [M]) is true and returns them."""
        gone = self.take(np.flatnonzero(leaving))
        if len(gone):
            vars(self).update(vars(self.take(np.flatnonzero(~leaving))))
        return gone
