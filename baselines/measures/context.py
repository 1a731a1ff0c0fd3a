"""What the measures of one stack read, each thing computed once. No measure's formula stands here."""

import copy
from collections.abc import Callable
from functools import cached_property, wraps
from time import perf_counter
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from baselines.folding import without_norms
from baselines.interface import NotApplicable, TrainData, View
from zoo_builder.architecture import Architecture
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks import Stack
from zoo_builder.training import training_subset

IMAGES_AT_ONCE = 4096  # per model, which bounds the memory for logits

Value = TypeVar("Value")


def shared(compute: Callable[[Any], Value]) -> Value:
    """A property that is computed once per context.

    Every reader gets a copy, so that a measure which writes to what it was given hurts no other. What the value cost is
    added to ``context.borrowed`` when it is read again, so that a measure's time does not depend on who came first.
    """
    name = compute.__name__

    @wraps(compute)
    def get(context: "MeasureContext") -> Value:
        if name in context._values:
            context.borrowed += context._seconds[name]
        else:
            start, borrowed = perf_counter(), context.borrowed
            context._values[name] = compute(context)
            context._seconds[name] = perf_counter() - start + context.borrowed - borrowed
        return copy.deepcopy(context._values[name])

    return cast(Value, property(get))


class MeasureContext:
    """M models of one architecture, numbered 0 .. M-1.

    Norms are folded into the layers before them: architecture, parameters and initialization are those of networks
    without norms that compute the same.

    Attributes:
        reasons: {model: why the measure is undefined for it}, filled by ``undefined``.
        borrowed: seconds that earlier readers spent on what has been read so far.
    """

    def __init__(self, view: View):
        """``view`` holds the models of one stack."""
        self._view = view
        self._values: dict[str, Any] = {}
        self._seconds: dict[str, float] = {}
        self.reasons: dict[int, str] = {}
        self.borrowed = 0.0

    def __len__(self) -> int:
        return self._view.size

    @cached_property
    def _stack(self) -> Stack:
        (stack,) = self._view.stacks
        return without_norms(stack)

    @property
    def architecture(self) -> Architecture:
        """What each of them is.

        Raises:
            NotApplicable: a norm cannot be folded; so do all that read weights.
        """
        return self._stack.architecture

    def undefined(self, mask: Tensor, reason: str) -> None:
        """The measure has no value where ``mask`` (bool [M]) holds; whatever it returns there becomes NaN."""
        for model in torch.nonzero(mask).flatten().tolist():
            self.reasons.setdefault(model, reason)

    @property
    def train(self) -> TrainData:
        """Training images and what is known of these models on them; its per-model arrays have M entries."""
        return cast(TrainData, self._view.train).take(np.arange(len(self)))

    @shared
    def parameters(self) -> dict[str, Tensor]:
        """{name: float64 [M, *shape]}, input to output, weight before bias."""
        return _in_float64(self._stack)

    @shared
    def initial(self) -> dict[str, Tensor]:
        """The parameters at epoch 0.

        Raises:
            NotApplicable: the zoo has no epoch-0 checkpoints.
        """
        if self._view.initial is None:
            raise NotApplicable("the zoo has no epoch-0 checkpoints, so the initialization is unknown")
        return _in_float64(without_norms(self._view.initial[0]))

    @shared
    def matrices(self) -> list[Tensor]:
        """The weights of each layer as float64 [M, out, rest], without biases."""
        weighted = self.architecture.weighted
        return [self._stack.parameters[f"{place.name}.weight"].double().flatten(2) for place in weighted]

    @shared
    def singular_values(self) -> list[Tensor]:
        """Those of each layer's matrix, float64 [M, min(out, rest)], largest first."""
        return [torch.linalg.svdvals(matrix) for matrix in self.matrices]

    @shared
    def margins(self) -> list[Tensor]:
        """f_y - max_{j != y} f_j on each model's own training images: M tensors, float64 [subset size]."""
        train, total = self.train, len(self.train.images)
        margins = [torch.empty(0)] * len(self)
        # Models with equally many images are computed together.
        for size in np.unique(train.subset_size).tolist():
            members = np.flatnonzero(train.subset_size == size)
            subsets = [training_subset(int(train.subset_seed[model]), size, total) for model in members]
            for model, values in zip(
                members, _margins(self._stack.take(members), train, np.stack(subsets)), strict=True
            ):
                margins[model] = values
        return margins

    @shared
    def margin(self) -> Tensor:
        """The 10th percentile of each model's margins (linear interpolation), float64 [M]."""
        return torch.from_numpy(np.array([np.quantile(values.numpy(), 0.1) for values in self.margins]))


def _in_float64(stack: Stack) -> dict[str, Tensor]:
    return {name: stack.parameters[name].double() for name in stack.architecture.parameters}


def _margins(stack: Stack, train: TrainData, indices: np.ndarray) -> Tensor:
    """Margins of each model at its own images ``indices`` (int64 [M, B]): float64 [M, B]."""
    engine, blocks = TorchEngine(), []
    for start in range(0, indices.shape[1], IMAGES_AT_ONCE):
        block = indices[:, start : start + IMAGES_AT_ONCE]
        logits = engine.logits(stack.architecture, stack.parameters, train.images, block)
        labels = train.labels[torch.from_numpy(block)][..., None]
        others = logits.scatter(2, labels, -torch.inf).amax(2)
        blocks.append((logits.gather(2, labels)[..., 0] - others).double())
    return torch.cat(blocks, dim=1)
