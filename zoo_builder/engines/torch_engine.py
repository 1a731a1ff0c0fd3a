"""The reference engine: stacks of networks as grouped convolutions and batched matrix products, on a CPU or a GPU."""

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_builder.architecture import Architecture
from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.dropout import Dropout
from zoo_builder.errors import InputError
from zoo_builder.networks import forward
from zoo_builder.training import (
    ADAM_BETAS,
    ADAM_EPSILON,
    RMSPROP_EPSILON,
    RMSPROP_SMOOTHING,
    Runs,
    Trained,
    epoch_order,
    initialize,
    subset_seed,
    training_subset,
)

# So many examples, and activations of so many bytes, are computed at once: on a CPU what stays in a core's cache (more
# of either ran 2 to 3 times slower), on a GPU enough to fill it.
_EXAMPLES_AT_ONCE = {"cpu": 64, "cuda": 4096}
_BYTES_AT_ONCE = {"cpu": 4 << 20, "cuda": 1 << 30}
# Whether a loss has left the finite numbers is looked up once in so many steps: on a GPU each look waits for it.
_STEPS_BETWEEN_CHECKS = 50


def resolve_device(device: str) -> torch.device:
    """ "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        InputError: a GPU was asked for and torch finds none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device on this machine; use --device cpu or auto")
    if device not in _BYTES_AT_ONCE:
        raise InputError(f"unknown device {device!r}: use auto, cpu or cuda")
    return torch.device(device)


class TorchEngine:
    """Trains and evaluates stacks with torch.

    Args:
        device: where.
        dtype: of weights and activations while training; results are stored as float32.
    """

    name = "torch"

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.device = torch.device(device)
        self.dtype = dtype
        self._examples = _EXAMPLES_AT_ONCE[self.device.type]

    def gradients(
        self,
        architecture: Architecture,
        weights: Tensor,
        images: Tensor,
        labels: Tensor,
        indices: Tensor,
        dropout: Dropout | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy [M] of one batch per model and its gradient [M, P].

        Args:
            weights: [M, P], each model's parameters flat, in the order of ``architecture.parameters``.
            images, labels: uint8 [N, C, H, W] and int64 [N].
            indices: int64 [M, B], each model's batch.
        """
        loss = weights.new_zeros(len(weights))
        gradient = torch.zeros_like(weights)
        batch = indices.shape[1]
        for models in self._slices(architecture, len(weights), batch):
            for first in range(0, batch, self._examples):
                chosen = indices[models, first : first + self._examples]
                flat = weights[models].detach().requires_grad_()
                masks = dropout.take(models, first) if dropout else None
                logits = forward(architecture, named(architecture, flat), scaled(images[chosen], self.dtype), masks)
                share = cross_entropy(logits, labels[chosen]) * (chosen.shape[1] / batch)
                gradient[models] += torch.autograd.grad(share.sum(), flat)[0]
                loss[models] += share.detach()
        return loss, gradient

    @torch.no_grad()
    def logits(
        self,
        architecture: Architecture,
        parameters: dict[str, Tensor],
        images: Tensor,
        indices: np.ndarray | None = None,
    ) -> Tensor:
        """See ``Engine.logits``."""
        parameters = {name: value.to(self.device, self.dtype) for name, value in parameters.items()}
        models = len(next(iter(parameters.values())))
        count = len(images) if indices is None else indices.shape[1]
        which = None if indices is None else torch.as_tensor(indices, device=images.device)
        out = torch.empty(models, count, architecture.classes, dtype=self.dtype, device=self.device)
        for start in range(0, count, self._examples):
            block = slice(start, start + self._examples)
            for some in self._slices(architecture, models, count):
                seen = scaled(
                    (images[block] if which is None else images[which[some, block]]).to(self.device), self.dtype
                )
                out[some, block] = forward(architecture, {k: v[some] for k, v in parameters.items()}, seen)
        return out

    def train(
        self,
        architecture: Architecture,
        runs: pd.DataFrame,
        data: Dataset,
        checkpoints: Sequence[int],
        stop_cross_entropy: float | None = None,
        progress: Callable[[int], object] = lambda model_epochs: None,
    ) -> Trained:
        """See ``Engine.train``."""
        images, labels = data.train_images.to(self.device), data.train_labels.to(self.device)
        batch_size = int(runs["batch_size"].iloc[0])
        active = _Active(architecture, runs, data, self.device, self.dtype)
        record = _Recorder(self, architecture, data, len(runs))
        if 0 in checkpoints:
            record.checkpoint(active, 0)
        for epoch in range(1, checkpoints[-1] + 1):
            progress(len(active))
            for diverged in self._epoch(architecture, active, epoch, batch_size, images, labels):
                record.diverged(diverged, epoch)
            if stop_cross_entropy is not None and len(active):
                reached = record.training_figures(active)[0] <= stop_cross_entropy
                record.last(active.split_off(reached), epoch, "ok")
            if epoch == checkpoints[-1]:
                record.last(active, epoch, "ok" if stop_cross_entropy is None else "not-converged")
            elif epoch in checkpoints:
                record.checkpoint(active, epoch)
            if not len(active):
                break
        return record.trained()

    def _epoch(
        self, architecture: Architecture, active: "_Active", epoch: int, batch_size: int, images: Tensor, labels: Tensor
    ) -> Iterator["_Active"]:
        """One pass of every run over its own images; yields runs whose loss or weights are no longer finite."""
        active.shuffle(epoch)
        finite = torch.ones(len(active), dtype=torch.bool, device=self.device)
        steps = -(-int(active.runs.sizes.max(initial=0)) // batch_size)
        for step in range(steps):
            start = step * batch_size
            for models, batch in _segments(active.runs.sizes - start, batch_size):
                chosen = active.indices[models, start : start + batch]
                weights = active.weights[models]
                loss, gradient = self.gradients(architecture, weights, images, labels, chosen, active.dropout(models))
                finite[models] &= loss.isfinite()
                active.update(models, gradient)
            last = step == steps - 1
            if last or (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
                if last:
                    finite &= active.weights.isfinite().all(1)
                if not finite.all():
                    yield active.split_off(~finite)
                    finite = finite[finite]

    def _slices(self, architecture: Architecture, models: int, batch: int) -> Iterator[slice]:
        units = sum(prod(place.output_shape) for place in architecture.weighted)
        at_once = max(1, _BYTES_AT_ONCE[self.device.type] // (4 * min(batch, self._examples) * units))
        return (slice(start, min(start + at_once, models)) for start in range(0, models, at_once))


def named(architecture: Architecture, flat: Tensor) -> dict[str, Tensor]:
    """[M, P] -> {name: [M, *shape]}, as views."""
    parts = flat.split([prod(shape) for shape in architecture.parameters.values()], dim=1)
    return {
        name: part.unflatten(1, shape)
        for part, (name, shape) in zip(parts, architecture.parameters.items(), strict=True)
    }


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the examples: [M, B, classes], [M, B] or [B] -> [M]."""
    labels = labels.expand(logits.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)


def _segments(left: np.ndarray, batch_size: int) -> Iterator[tuple[slice, int]]:
    """Neighbouring models that have equally many images in this step, and how many; ``left`` falls along the models."""
    sizes = np.minimum(left, batch_size)
    sizes = sizes[sizes > 0]
    for batch in np.unique(sizes)[::-1]:
        where = np.flatnonzero(sizes == batch)
        yield slice(int(where[0]), int(where[-1]) + 1), int(batch)


class _Active:
    """The runs still in training: settings, weights, optimizer state, data order."""

    def __init__(
        self, architecture: Architecture, table: pd.DataFrame, data: Dataset, device: torch.device, dtype: torch.dtype
    ) -> None:
        total = len(data.train_labels)
        self.runs = Runs.of(architecture, table, total, dtype).to(device)
        rows = table.iloc[self.runs.order]
        initial = (
            initialize(architecture, row.model_id, row.initialization, row.initialization_std)
            for row in rows[["model_id", "initialization", "initialization_std"]].itertuples()
        )
        flat = torch.stack([torch.cat([value.flatten() for value in parameters.values()]) for parameters in initial])
        self.weights = flat.to(device, dtype)
        # SGD and RMSprop keep their momentum in the first moment.
        self.first = torch.zeros_like(self.weights)
        self.second = torch.zeros_like(self.weights)
        self.steps = torch.zeros(len(self.runs), dtype=torch.int64, device=device)
        subsets = (
            training_subset(subset_seed(model_id), size, total)
            for model_id, size in zip(self.runs.model_ids, self.runs.sizes, strict=True)
        )
        self.subset = np.zeros((len(self.runs), int(self.runs.sizes.max())), dtype=np.int64)
        for row, subset in enumerate(subsets):
            self.subset[row, : len(subset)] = subset
        self.indices = torch.as_tensor(self.subset, device=device)

    def __len__(self) -> int:
        return len(self.runs)

    def shuffle(self, epoch: int) -> None:
        indices = self.subset.copy()
        for row, (model_id, size) in enumerate(zip(self.runs.model_ids, self.runs.sizes, strict=True)):
            indices[row, :size] = self.subset[row, epoch_order(model_id, epoch, size)]
        self.indices = torch.as_tensor(indices, device=self.weights.device)

    def dropout(self, models: slice) -> Dropout | None:
        return Dropout(self.runs.dropout, self.runs.seeds, self.steps).take(models) if self.runs.seeds else None

    def update(self, models: slice, gradient: Tensor) -> None:
        """One optimizer step; the rules and their defaults are those of ``torch.optim``."""
        self.steps[models] += 1
        names = np.array(self.runs.optimizers[models])
        changes = np.flatnonzero(names[1:] != names[:-1]) + 1
        for start, stop in zip([0, *changes], [*changes, len(names)], strict=True):
            some = slice(models.start + start, models.start + stop)
            weights, first, second = self.weights[some], self.first[some], self.second[some]
            rate, momentum = self.runs.learning_rate[some], self.runs.momentum[some]
            slope = gradient[start:stop].addcmul(self.runs.l2[some], weights)
            match names[start]:
                case "sgd":
                    first.mul_(momentum).add_(slope)
                    weights.addcmul_(rate, first, value=-1)
                case "adam":
                    step = self.steps[some, None].double()
                    bias1, bias2 = ((1 - beta**step).to(weights.dtype) for beta in ADAM_BETAS)
                    first.lerp_(slope, 1 - ADAM_BETAS[0])
                    second.mul_(ADAM_BETAS[1]).addcmul_(slope, slope, value=1 - ADAM_BETAS[1])
                    root = second.sqrt().div_(bias2.sqrt()).add_(ADAM_EPSILON)
                    weights.addcdiv_(first * (rate / bias1), root, value=-1)
                case "rmsprop":
                    second.mul_(RMSPROP_SMOOTHING).addcmul_(slope, slope, value=1 - RMSPROP_SMOOTHING)
                    first.mul_(momentum).addcdiv_(slope, second.sqrt().add_(RMSPROP_EPSILON))
                    weights.addcmul_(rate, first, value=-1)
                case unknown:
                    raise ValueError(f"unknown optimizer {unknown!r}")

    def split_off(self, leaving: Tensor) -> "_Active":
        """Removes the runs where ``leaving`` is true and returns them."""
        gone = _Active.__new__(_Active)
        for target, mask in ((gone, leaving.cpu().numpy()), (self, ~leaving.cpu().numpy())):
            kept = np.flatnonzero(mask)
            target.runs, target.subset = self.runs.take(kept), self.subset[kept]
            index = torch.as_tensor(kept, device=self.weights.device)
            for name in ("weights", "first", "second", "steps", "indices"):
                setattr(target, name, getattr(self, name)[index])
        return gone


class _Recorder:
    """Collects the checkpoints of one table of runs."""

    def __init__(self, engine: TorchEngine, architecture: Architecture, data: Dataset, runs: int) -> None:
        self.engine, self.architecture, self.data = engine, architecture, data
        self.tables: list[pd.DataFrame] = []
        self.weights: list[Tensor] = []
        self.logits = torch.full((runs, len(data.test_labels), architecture.classes), torch.nan, dtype=torch.float16)

    def checkpoint(self, active: _Active, epoch: int) -> Tensor:
        """Evaluates on the test images; returns the logits."""
        logits = self.engine.logits(self.architecture, named(self.architecture, active.weights), self.data.test_images)
        loss, accuracy = _figures(logits, self.data.test_labels.to(logits.device))
        self._add(active, epoch, "ok", test_loss=loss, test_accuracy=accuracy)
        return logits

    def last(self, active: _Active, epoch: int, status: str) -> None:
        """The last checkpoint of these runs: training figures and outputs as well."""
        if not len(active):
            return
        logits = self.checkpoint(active, epoch)
        self.logits[torch.as_tensor(active.runs.order)] = logits.to("cpu", torch.float16)
        loss, accuracy = self.training_figures(active)
        self.tables[-1] = self.tables[-1].assign(
            train_loss=loss.cpu().numpy(), train_accuracy=accuracy.cpu().numpy(), status=status
        )

    def diverged(self, active: _Active, epoch: int) -> None:
        self._add(active, epoch, "diverged")

    def training_figures(self, active: _Active) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy [M] of each run on its own training images, in eval mode."""
        losses, accuracies = [], []
        for models, size in _segments(active.runs.sizes, int(active.runs.sizes.max())):
            indices = active.subset[models, :size]
            parameters = named(self.architecture, active.weights[models])
            logits = self.engine.logits(self.architecture, parameters, self.data.train_images, indices)
            loss, accuracy = _figures(logits, self.data.train_labels[torch.as_tensor(indices)].to(logits.device))
            losses.append(loss)
            accuracies.append(accuracy)
        return torch.cat(losses), torch.cat(accuracies)

    def trained(self) -> Trained:
        table = pd.concat(self.tables, ignore_index=True)
        order = np.lexsort((table["epoch"], table["run"]))
        weights = torch.cat(self.weights)[torch.as_tensor(order)]
        parameters = {name: value.contiguous() for name, value in named(self.architecture, weights).items()}
        return Trained(table.iloc[order].reset_index(drop=True), parameters, self.logits)

    def _add(self, active: _Active, epoch: int, status: str, **figures: Tensor) -> None:
        columns = dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), np.nan)
        columns |= {name: value.cpu().numpy() for name, value in figures.items()}
        steps = active.steps.cpu().numpy()
        self.tables.append(
            pd.DataFrame({"run": active.runs.order, "epoch": epoch, "steps": steps, "status": status, **columns})
        )
        self.weights.append(active.weights.to("cpu", torch.float32, copy=True))


def _figures(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy, both float64 [M]."""
    return cross_entropy(logits.double(), labels), (logits.argmax(2) == labels).double().mean(1)
