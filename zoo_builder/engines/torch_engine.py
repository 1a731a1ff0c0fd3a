"""The reference engine: stacks of networks as grouped convolutions and batched matrix products, on a CPU or a GPU."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from zoo_builder.datasets.dataset import scaled
from zoo_builder.errors import InputError, one_of
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.dropout import Dropout
from zoo_builder.networks.stack import cross_entropy, forward, named
from zoo_builder.training.settings import ADAM_BETAS, ADAM_EPSILON, RMSPROP_EPSILON, RMSPROP_SMOOTHING
from zoo_builder.training.state import Active, segments

# The size of a chunk, in examples and in bytes of activations: on a CPU it stays in a core's cache (larger chunks of
# either kind ran 2 to 3 times slower), on a GPU it fills the device.
_CHUNK_EXAMPLES = {"cpu": 64, "cuda": 4096}
_CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}
# Steps between checks for losses that are not finite: each check waits for the GPU.
_STEPS_BETWEEN_CHECKS = 50


def resolve_device(device: str) -> torch.device:
    """ "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        InputError: an unknown device, or "cuda" and torch finds no GPU.
    """
    if one_of("device", device, ("auto", *_CHUNK_BYTES)) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("`device` is 'cuda', but torch finds no CUDA device on this machine: use 'cpu' or 'auto'")
    return torch.device(device)


class TorchEngine:
    """Trains and evaluates stacks with torch.

    Args:
        device: "cpu" or "cuda".
        dtype: of weights and activations in training; results are stored as float32.
    """

    name = "torch"

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.device = torch.device(device)
        self.dtype = dtype
        self._examples = _CHUNK_EXAMPLES[self.device.type]

    @property
    def instruction_set(self) -> str:
        return torch.backends.cpu.get_cpu_capability() if self.device.type == "cpu" else "CUDA"

    def gradients(
        self,
        architecture: Architecture,
        weights: Tensor,
        images: Tensor,
        labels: Tensor,
        indices: Tensor,
        dropout: Dropout | None = None,
        buffers: dict[str, Tensor] | None = None,
        training: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy [M] of one batch per model and its gradient [M, P].

        Args:
            weights: [M, P], each model's parameters flat, in the order of ``architecture.parameters``.
            images, labels: uint8 [N, C, H, W] and int64 [N].
            indices: int64 [M, B], each model's batch.
            buffers: {name: [M, *shape]}, as ``architecture.buffers``; updated in place if ``training``.
            training: norms use the statistics of the batch.
        """
        loss = weights.new_zeros(len(weights))
        gradient = torch.zeros_like(weights)
        batch = indices.shape[1]
        # Norms see the whole batch.
        chunk = batch if architecture.buffers else self._examples
        for models in self._chunks(architecture, len(weights), min(batch, chunk)):
            for first in range(0, batch, chunk):
                chosen = indices[models, first : first + chunk]
                flat = weights[models].detach().requires_grad_()
                parameters = named(architecture, flat) | {k: v[models] for k, v in (buffers or {}).items()}
                masks = dropout.take(models, first) if dropout else None
                seen = scaled(images[chosen], self.dtype)
                logits = forward(architecture, parameters, seen, masks, training=training)
                share = cross_entropy(logits, labels[chosen]) * (chosen.shape[1] / batch)
                gradient[models] += torch.autograd.grad(share.sum(), flat)[0]
                loss[models] += share.detach()
        if training:
            # Autograd leaves rounding errors there, which Adam and RMSprop would scale up to full steps.
            for name in architecture.cancelled:
                named(architecture, gradient)[name].zero_()
        return loss, gradient

    def gradient(
        self,
        architecture: Architecture,
        weights: Tensor,
        buffers: dict[str, Tensor],
        images: Tensor,
        labels: Tensor,
        indices: np.ndarray,
    ) -> Tensor:
        """See ``Engine.gradient``."""
        chosen = torch.as_tensor(indices, device=self.device)
        return self.gradients(architecture, weights, images, labels, chosen, buffers=buffers, training=False)[1]

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
            chunk = slice(start, start + self._examples)
            for some in self._chunks(architecture, models, min(count, self._examples)):
                seen = scaled(
                    (images[chunk] if which is None else images[which[some, chunk]]).to(self.device), self.dtype
                )
                out[some, chunk] = forward(architecture, {k: v[some] for k, v in parameters.items()}, seen)
        return out

    def epoch(
        self, architecture: Architecture, active: Active, batch_size: int, images: Tensor, labels: Tensor
    ) -> Iterator[Active]:
        """See ``Engine.epoch``."""
        finite = torch.ones(len(active), dtype=torch.bool, device=self.device)
        indices = torch.as_tensor(active.indices, device=self.device)
        steps = -(-int(active.runs.sizes.max(initial=0)) // batch_size)
        for step in range(steps):
            start = step * batch_size
            for models, batch in segments(active.runs.sizes - start, batch_size):
                chosen = indices[models, start : start + batch]
                buffers = {name: value[models] for name, value in active.buffers.items()}
                masks = _masks(active, models)
                weights = active.weights[models]
                loss, gradient = self.gradients(architecture, weights, images, labels, chosen, masks, buffers)
                finite[models] &= loss.isfinite()
                _update(active, models, gradient)
            last = step == steps - 1
            if last or (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
                if last:
                    finite &= active.weights.isfinite().all(1)
                if not finite.all():
                    yield active.split_off((~finite).cpu().numpy())
                    indices, finite = indices[finite], finite[finite]

    def _chunks(self, architecture: Architecture, models: int, batch: int) -> Iterator[slice]:
        size = max(1, _CHUNK_BYTES[self.device.type] // (4 * batch * architecture.units))
        return (slice(start, min(start + size, models)) for start in range(0, models, size))


def _masks(active: Active, models: slice) -> Dropout | None:
    runs = active.runs
    return Dropout(runs.dropout, runs.seeds, active.steps).take(models) if runs.seeds else None


def _update(active: Active, models: slice, gradient: Tensor) -> None:
    """One optimizer step; the rules and their defaults are those of ``torch.optim``."""
    active.steps[models] += 1
    names = np.array(active.runs.optimizers[models])
    changes = np.flatnonzero(names[1:] != names[:-1]) + 1
    for start, stop in zip([0, *changes], [*changes, len(names)], strict=True):
        some = slice(models.start + start, models.start + stop)
        weights, first, second = active.weights[some], active.first[some], active.second[some]
        rate, momentum = active.runs.learning_rate[some], active.runs.momentum[some]
        decayed = gradient[start:stop].addcmul(active.runs.l2[some], weights)
        match names[start]:
            case "sgd":
                first.mul_(momentum).add_(decayed)
                weights.addcmul_(rate, first, value=-1)
            case "adam":
                step = active.steps[some, None].double()
                bias1, bias2 = ((1 - beta**step).to(weights.dtype) for beta in ADAM_BETAS)
                first.lerp_(decayed, 1 - ADAM_BETAS[0])
                second.mul_(ADAM_BETAS[1]).addcmul_(decayed, decayed, value=1 - ADAM_BETAS[1])
                root = second.sqrt().div_(bias2.sqrt()).add_(ADAM_EPSILON)
                weights.addcdiv_(first * (rate / bias1), root, value=-1)
            case "rmsprop":
                second.mul_(RMSPROP_SMOOTHING).addcmul_(decayed, decayed, value=1 - RMSPROP_SMOOTHING)
                first.mul_(momentum).addcdiv_(decayed, second.sqrt().add_(RMSPROP_EPSILON))
                weights.addcmul_(rate, first, value=-1)
            case unknown:
                raise ValueError(f"unknown optimizer {unknown!r}")
