"""Evaluation during training: checkpoints, losses, accuracies and gradient statistics."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import cross_entropy
from zoo_builder.streams import numpy_stream
from zoo_builder.training.engine import Engine
from zoo_builder.training.results import RESULTS, STATISTICS, STEPS_TO, Trained
from zoo_builder.training.state import Active, segments

# A run's training cross-entropy is first computed on this many of its images, and on all of them only if the first
# estimate is within this factor of a threshold.
_SAMPLE, _NEAR = 512, 2.0
# The variance of mini-batch gradients is estimated from at most this many batches.
GRADIENT_BATCHES = 16


class Recorder:
    """Evaluates the runs of a table during training and collects their checkpoints."""

    def __init__(self, engine: Engine, architecture: Architecture, data: Dataset, batch_size: int, runs: int) -> None:
        self.engine, self.architecture, self.data, self.batch_size = engine, architecture, data, batch_size
        self.tables: list[pd.DataFrame] = []
        self.weights: list[dict[str, Tensor]] = []
        self.outputs = torch.full((runs, len(data.test_labels), architecture.classes), torch.nan, dtype=torch.float16)

    def checkpoint(self, active: Active, epoch: int) -> Tensor:
        """Evaluates on the test images; returns the logits."""
        logits = self.engine.logits(self.architecture, active.parameters(self.architecture), self.data.test_images)
        loss, accuracy = _figures(logits, self.data.test_labels.to(logits.device))
        self._add(active, epoch, "ok", test_loss=loss, test_accuracy=accuracy)
        return logits

    def last(self, active: Active, epoch: int, status: str) -> None:
        """The last checkpoint of these runs, with training figures, training statistics and outputs."""
        if not len(active):
            return
        logits = self.checkpoint(active, epoch)
        self.outputs[torch.as_tensor(active.runs.order)] = logits.to("cpu", torch.float16)
        loss, accuracy = self._training_figures(active)
        active.noise[:, 1] = self.gradient_variance(active)
        statistics = dict(zip(STATISTICS, (*active.steps_to.T, *active.noise.T), strict=True))
        self.tables[-1] = self.tables[-1].assign(
            train_loss=loss.cpu().numpy(), train_accuracy=accuracy.cpu().numpy(), status=status, **statistics
        )

    def diverged(self, active: Active, epoch: int) -> None:
        self._add(active, epoch, "diverged")

    def cross_entropies(self, active: Active, stop: float | None) -> np.ndarray:
        """Each run's training cross-entropy, float64 [M], or infinity if it is far above all thresholds on a sample.

        The thresholds of a run are ``stop`` and those of ``STEPS_TO`` that it has not reached.
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

        sum_b ||g_b - mean g||^2 / (n - 1) over n <= ``GRADIENT_BATCHES`` disjoint batches, in eval mode
        (arXiv:1912.02178, eq. 65 and 66, which specify neither mode nor estimator); NaN with fewer than two batches.
        """
        counts = np.minimum(active.runs.sizes // self.batch_size, GRADIENT_BATCHES)
        mean = torch.zeros_like(active.weights, dtype=torch.float64)
        squares = torch.zeros(len(active), dtype=torch.float64, device=mean.device)
        batches = active.subset.copy()
        for row, (identity, size) in enumerate(zip(active.runs.order_ids, active.runs.sizes, strict=True)):
            batches[row, :size] = active.subset[row, numpy_stream(identity, "gradient variance").permutation(size)]
        images, labels = self.data.train_images.to(mean.device), self.data.train_labels.to(mean.device)
        for batch in range(counts.max(initial=0)):
            models = slice(0, int((counts > batch).sum()))  # sizes decrease along the models
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
        return Trained(table.iloc[order].reset_index(drop=True), weights, self.outputs)

    def _training_figures(self, active: Active, first: int | None = None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy [M] of each run on its own training images, or on the ``first`` of them."""
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
        columns = dict.fromkeys([name for name in RESULTS if name not in ("status", "steps")], np.nan)
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
