"""Training from epoch 0 to the last checkpoint, whichever engine computes an epoch: checkpoints, figures, stop rule."""

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_builder.architecture import Architecture
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.engines.interface import Engine
from zoo_builder.streams import numpy_stream
from zoo_builder.training import (
    STATISTICS,
    STEPS_TO,
    Runs,
    Trained,
    epoch_order,
    initialize,
    stream_ids,
    subset_seeds,
    training_subset,
)

# Whether a run has reached a cross-entropy is looked up on so many of its images first; on all of them only where these
# come within this factor of it.
_SAMPLE, _NEAR = 512, 2.0
# The variance of mini-batch gradients is taken over at most so many of them.
GRADIENT_BATCHES = 16


def train(
    engine: Engine,
    architecture: Architecture,
    runs: pd.DataFrame,
    data: Dataset,
    checkpoints: Sequence[int],
    stop_cross_entropy: float | None = None,
    progress: Callable[[int], object] = lambda model_epochs: None,
) -> Trained:
    """Trains every row of ``runs`` (one batch size) from epoch 0 to the last of ``checkpoints``.

    Args:
        stop_cross_entropy: see ``Recipe``.
        progress: called with the number of models that begin an epoch.
    """
    images, labels = (values.to(engine.device).contiguous() for values in (data.train_images, data.train_labels))
    batch_size = int(runs["batch_size"].iloc[0])
    active = Active(architecture, runs, data, engine.device, engine.dtype)
    record = _Recorder(engine, architecture, data, batch_size, len(runs))
    if 0 in checkpoints:
        record.checkpoint(active, 0)
    for epoch in range(1, checkpoints[-1] + 1):
        progress(len(active))
        active.shuffle(epoch)
        for diverged in engine.epoch(architecture, active, batch_size, images, labels):
            record.diverged(diverged, epoch)
        if not len(active):
            break
        if epoch == 1:
            active.noise[:, 0] = record.gradient_variance(active)
        cross_entropies = record.near(active, stop_cross_entropy)
        active.note_steps(cross_entropies)
        if stop_cross_entropy is not None:
            record.last(active.split_off(cross_entropies <= stop_cross_entropy), epoch, "ok")
        if epoch == checkpoints[-1]:
            record.last(active, epoch, "ok" if stop_cross_entropy is None else "not-converged")
        elif epoch in checkpoints and len(active):
            record.checkpoint(active, epoch)
    return record.trained()


def named(architecture: Architecture, flat: Tensor) -> dict[str, Tensor]:
    """[M, P] -> {name: [M, *shape]} of the parameters, as views."""
    parts = flat.split([prod(shape) for shape in architecture.parameters.values()], dim=1)
    return {
        name: part.unflatten(1, shape)
        for part, (name, shape) in zip(parts, architecture.parameters.items(), strict=True)
    }


def flat(architecture: Architecture, parameters: dict[str, Tensor]) -> Tensor:
    """{name: [M, *shape]} -> [M, P], the inverse of ``named``."""
    return torch.cat([parameters[name].flatten(1) for name in architecture.parameters], dim=1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the examples: [M, B, classes], [M, B] or [B] -> [M]."""
    labels = labels.expand(logits.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)


def segments(left: np.ndarray, batch_size: int) -> Iterator[tuple[slice, int]]:
    """Neighbouring models that have equally many images in this step, and how many; ``left`` falls along the models."""
    sizes = np.minimum(left, batch_size)
    sizes = sizes[sizes > 0]
    for batch in np.unique(sizes)[::-1]:
        where = np.flatnonzero(sizes == batch)
        yield slice(int(where[0]), int(where[-1]) + 1), int(batch)


class Active:
    """The runs still in training.

    Attributes:
        runs: their settings.
        weights: [M, P], each model's parameters flat, in the order of ``architecture.parameters``.
        buffers: {name: [M, *shape]}, as ``architecture.buffers``.
        first, second: [M, P], the optimizer's moments; SGD and RMSprop keep their momentum in the first.
        steps: int64 [M], steps taken.
        subset: int64 [M, largest size], each run's training images; what is beyond its own size is 0.
        indices: the same in the order of this epoch.
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


class _Recorder:
    """Evaluates runs and collects the checkpoints of one table of them."""

    def __init__(self, engine: Engine, architecture: Architecture, data: Dataset, batch_size: int, runs: int) -> None:
        self.engine, self.architecture, self.data, self.batch_size = engine, architecture, data, batch_size
        self.tables: list[pd.DataFrame] = []
        self.weights: list[dict[str, Tensor]] = []
        self.logits = torch.full((runs, len(data.test_labels), architecture.classes), torch.nan, dtype=torch.float16)

    def checkpoint(self, active: Active, epoch: int) -> Tensor:
        """Evaluates on the test images; returns the logits."""
        logits = self.engine.logits(self.architecture, active.parameters(self.architecture), self.data.test_images)
        loss, accuracy = _figures(logits, self.data.test_labels.to(logits.device))
        self._add(active, epoch, "ok", test_loss=loss, test_accuracy=accuracy)
        return logits

    def last(self, active: Active, epoch: int, status: str) -> None:
        """The last checkpoint of these runs: training figures, training statistics and outputs as well."""
        if not len(active):
            return
        logits = self.checkpoint(active, epoch)
        self.logits[torch.as_tensor(active.runs.order)] = logits.to("cpu", torch.float16)
        loss, accuracy = self._training_figures(active)
        active.noise[:, 1] = self.gradient_variance(active)
        statistics = dict(zip(STATISTICS, (*active.steps_to.T, *active.noise.T), strict=True))
        self.tables[-1] = self.tables[-1].assign(
            train_loss=loss.cpu().numpy(), train_accuracy=accuracy.cpu().numpy(), status=status, **statistics
        )

    def diverged(self, active: Active, epoch: int) -> None:
        self._add(active, epoch, "diverged")

    def near(self, active: Active, stop: float | None) -> np.ndarray:
        """Each run's training cross-entropy where it may have reached a value that is still waited for; else infinite.

        Returns:
            float64 [M].
        """
        wanted = np.where(np.isinf(active.steps_to), STEPS_TO, 0).max(1)
        if stop is not None:
            wanted = np.maximum(wanted, stop)
        sample = self._training_figures(active, _SAMPLE)[0].cpu().numpy()
        found = np.full(len(active), np.inf)
        if len(near := np.flatnonzero(sample <= _NEAR * wanted)):
            found[near] = self._training_figures(active.take(near))[0].cpu().numpy()
        return found

    def gradient_variance(self, active: Active) -> np.ndarray:
        """The total variance of mini-batch gradients with the weights held fixed, float64 [M].

        sum_b ||g_b - mean g||^2 / (n - 1) over n <= ``GRADIENT_BATCHES`` batches without common images, in eval mode
        (arXiv:1912.02178, eq. 65 and 66, which leave mode and estimator open); NaN where there are fewer than two.
        """
        counts = np.minimum(active.runs.sizes // self.batch_size, GRADIENT_BATCHES)
        mean = torch.zeros_like(active.weights, dtype=torch.float64)
        squares = torch.zeros(len(active), dtype=torch.float64, device=mean.device)
        batches = active.subset.copy()
        for row, (identity, size) in enumerate(zip(active.runs.order_ids, active.runs.sizes, strict=True)):
            batches[row, :size] = active.subset[row, numpy_stream(identity, "gradient variance").permutation(size)]
        images, labels = self.data.train_images.to(mean.device), self.data.train_labels.to(mean.device)
        for batch in range(counts.max(initial=0)):
            models = slice(0, int((counts > batch).sum()))  # sizes fall along the models
            chosen = batches[models, batch * self.batch_size : (batch + 1) * self.batch_size]
            weights, buffers = active.weights[models], {k: v[models] for k, v in active.buffers.items()}
            gradient = self.engine.gradient(self.architecture, weights, buffers, images, labels, chosen).double()
            off = gradient - mean[models]  # Welford's update
            mean[models] += off / (batch + 1)
            squares[models] += (off * (gradient - mean[models])).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 1, squares.cpu().numpy() / (counts - 1), np.nan)

    def trained(self) -> Trained:
        table = pd.concat(self.tables, ignore_index=True)
        order = np.lexsort((table["epoch"], table["run"]))
        index = torch.as_tensor(order)
        weights = {
            name: torch.cat([checkpoint[name] for checkpoint in self.weights])[index]
            for name in self.architecture.tensors
        }
        return Trained(table.iloc[order].reset_index(drop=True), weights, self.logits)

    def _training_figures(self, active: Active, first: int | None = None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy [M] of each run on its own training images, or the ``first`` of them."""
        losses, accuracies = [], []
        for models, size in segments(active.runs.sizes, first or int(active.runs.sizes.max())):
            indices = active.subset[models, :size]
            parameters = active.parameters(self.architecture, models)
            logits = self.engine.logits(self.architecture, parameters, self.data.train_images, indices)
            loss, accuracy = _figures(logits, self.data.train_labels[torch.as_tensor(indices)].to(logits.device))
            losses.append(loss)
            accuracies.append(accuracy)
        return torch.cat(losses), torch.cat(accuracies)

    def _add(self, active: Active, epoch: int, status: str, **figures: Tensor) -> None:
        columns = dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy", *STATISTICS), np.nan)
        columns |= {name: value.cpu().numpy() for name, value in figures.items()}
        steps = active.steps.cpu().numpy()
        self.tables.append(
            pd.DataFrame({"run": active.runs.order, "epoch": epoch, "steps": steps, "status": status, **columns})
        )
        parameters = active.parameters(self.architecture)
        self.weights.append({k: v.to("cpu", torch.float32, copy=True) for k, v in parameters.items()})


def _figures(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy, both float64 [M]."""
    return cross_entropy(logits.double(), labels), (logits.argmax(2) == labels).double().mean(1)
