"""Shared inputs of the measures, computed lazily and cached. Formulas are in the files of the families."""

import copy
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from time import process_time
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from baselines.access import View
from baselines.fields import Train, TrainData
from baselines.methods import NotApplicable
from baselines.weight_space.norms import without_norms
from zoo_builder.datasets.dataset import scaled
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import Stack, flat
from zoo_builder.training.engine import Engine
from zoo_builder.training.settings import training_subset

Value = TypeVar("Value")


def shared(compute: Callable[[Any], Value]) -> Value:
    """A property of the context that is computed once (see ``MeasureContext.once``)."""
    return cast(Value, property(lambda context: context.once(compute)))


@dataclass(frozen=True)
class Group:
    """Models that have equally many training images.

    Attributes:
        members: int64 [m], numbers of the models in the context.
        stack: the same m networks, for forward and backward passes.
        indices: int64 [m, n], each model's own training images by their index in the data set, in a random order.
    """

    members: np.ndarray
    stack: Stack
    indices: np.ndarray
    _train: TrainData

    @property
    def labels(self) -> Tensor:
        """int64 [m, n]."""
        return self._train.labels[torch.from_numpy(self.indices)]

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """At most ``size`` images per model at a time: float32 [m, B, C, H, W] in [-1, 1], labels int64 [m, B]."""
        for chunk in torch.from_numpy(self.indices).split(size, dim=1):
            yield scaled(self._train.images[chunk], torch.float32), self._train.labels[chunk]


class MeasureContext:
    """Shared inputs of the measures, computed lazily and cached, for M models of one architecture, numbered 0 .. M-1.

    Weights (``parameters``, ``initial``, ``matrices``, ...) are those of networks that compute the same without norms:
    each norm is folded into the layer before it. Where that is not possible, reading them raises NotApplicable; passes
    are still possible.

    Attributes:
        engine: computes forward and backward passes.
        reasons: {model: why the measure is undefined for it}, filled by ``undefined``.
        remarks: {model: a remark on its value}, filled by ``remark``.
        errors: standard errors of the values, float64 [M], see ``standard_error``; None for a measure without draws.
        borrowed: processor time, in seconds, that earlier readers spent on the values that were read so far.
    """

    def __init__(self, view: View, engine: Engine | None = None):
        """``view`` holds the models of one stack; ``engine`` defaults to torch on the CPU."""
        self._view = view
        self._values: dict[Hashable, Any] = {}
        self._seconds: dict[Hashable, float] = {}
        self.engine = engine or TorchEngine()
        self.reasons: dict[int, str] = {}
        self.remarks: dict[int, str] = {}
        self.errors: Tensor | None = None
        self.borrowed = 0.0

    def __len__(self) -> int:
        return self._view.size

    def once(self, compute: "Callable[..., Value]", *settings: Hashable) -> Value:
        """``compute(context, *settings)``, computed at the first call with these arguments.

        Every call returns a copy, so that a measure that writes to the value does not affect others. When the value is
        read again, its cost is added to ``borrowed``, so that the time of a measure does not depend on the order of the
        measures.
        """
        key = (compute, *settings)
        if key in self._values:
            self.borrowed += self._seconds[key]
        else:
            start, borrowed = process_time(), self.borrowed
            self._values[key] = compute(self, *settings)
            self._seconds[key] = process_time() - start + self.borrowed - borrowed
        return copy.deepcopy(self._values[key])

    @cached_property
    def _folded(self) -> Stack:
        (stack,) = self._view.stacks
        return without_norms(stack)

    @cached_property
    def _for_passes(self) -> Stack:
        try:
            return self._folded
        except NotApplicable:
            return self._view.stacks[0]

    @property
    def architecture(self) -> Architecture:
        """The architecture for passes (in eval mode): without norms, or with them where one cannot be folded."""
        return self._for_passes.architecture

    @property
    def folded_architecture(self) -> Architecture:
        """The architecture that ``parameters`` belong to, without norms.

        Raises:
            NotApplicable: a norm cannot be folded.
        """
        return self._folded.architecture

    def undefined(self, mask: Tensor, reason: str) -> None:
        """Declares that the measure has no value where ``mask`` (bool [M]) holds: its values there become NaN.

        Raises:
            ValueError: another kind of mask, or an empty reason.
        """
        self._note(self.reasons, mask, reason)

    def remark(self, mask: Tensor, text: str) -> None:
        """Adds a remark to the values where ``mask`` (bool [M]) holds, after earlier ones.

        Raises:
            ValueError: another kind of mask, or an empty remark.
        """
        added: dict[int, str] = {}
        self._note(added, mask, text)
        for model in added:
            earlier = self.remarks[model].split("; ") if model in self.remarks else []
            self.remarks[model] = "; ".join([*earlier, *([] if text in earlier else [text])])

    def standard_error(self, errors: Tensor) -> None:
        """Declares the standard errors of the measure's values, float64 [M], where these are means over random draws.

        A later call replaces an earlier one. Errors that are NaN or infinite count as unknown.

        Raises:
            ValueError: no numbers, another shape, or a negative error.
        """
        expected = f"expected a tensor of {len(self)} numbers from 0 on"
        try:
            errors = torch.as_tensor(errors).detach().cpu().double()
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"standard errors as {type(errors).__name__}, {expected}") from None
        if errors.shape != (len(self),):
            raise ValueError(f"standard errors of shape {list(errors.shape)}, {expected}")
        if (errors < 0).any():
            raise ValueError(f"a standard error of {float(errors.nan_to_num().min()):g}, {expected}")
        self.errors = errors

    def _note(self, notes: dict[int, str], mask: Tensor, text: str) -> None:
        mask = torch.as_tensor(mask)
        if mask.shape != (len(self),) or mask.dtype != torch.bool:
            raise ValueError(f"a mask of {mask.dtype} {list(mask.shape)}, expected torch.bool [{len(self)}]")
        if not text.strip():
            raise ValueError("a mask without a text: say what is so where it holds")
        for model in torch.nonzero(mask).flatten().tolist():
            notes.setdefault(model, text)

    @property
    def train(self) -> TrainData:
        """The view's ``TrainData``, for M models.

        Images and labels are not copied, unlike the other arrays: a measure must not write to them.

        Raises:
            NotApplicable: the zoo does not record on which images its models were trained.
        """
        return Train().take(self._view.train, np.arange(len(self)))

    def statistic(self, name: str) -> Tensor:
        """One of ``STATISTICS`` (``zoo_builder.training.results``) as it was recorded, with inf and NaN: float64 [M].

        Raises:
            NotApplicable: the zoo does not record it.
        """
        table = self._view.statistics
        if name not in table:
            raise NotApplicable(f"the zoo does not record {name}")
        return torch.from_numpy(table[name].to_numpy(float, copy=True))

    def groups(self, most: int | None = None) -> list[Group]:
        """The models grouped by their number of training images, with the first ``most`` images of each model's own."""
        train, groups = self.train, []
        for size in np.unique(train.subset_size).tolist():
            members = np.flatnonzero(train.subset_size == size)
            subsets = [training_subset(int(train.subset_seed[model]), size, len(train.images)) for model in members]
            groups.append(Group(members, self._for_passes.take(members), np.stack(subsets)[:, :most], train))
        return groups

    @shared
    def parameters(self) -> dict[str, Tensor]:
        """{name: float64 [M, *shape]}, input to output, weight before bias."""
        return _in_float64(self._folded)

    @shared
    def initial(self) -> dict[str, Tensor]:
        """The parameters at epoch 0.

        Raises:
            NotApplicable: the zoo has no epoch-0 checkpoints.
        """
        return _in_float64(without_norms(self._view.initial[0]))

    @property
    def weights(self) -> Tensor:
        """The parameters as one vector, float64 [M, P], in their order."""
        return flat(self.folded_architecture, self.parameters)

    @property
    def change(self) -> Tensor:
        """``weights`` minus those at epoch 0; raises as ``initial``."""
        return self.weights - flat(self.folded_architecture, self.initial)

    @shared
    def matrices(self) -> list[Tensor]:
        """The weights of each layer as float64 [M, out, rest], without biases."""
        return [self.parameters[f"{place.name}.weight"].flatten(2) for place in self.folded_architecture.weighted]

    @shared
    def singular_values(self) -> list[Tensor]:
        """The singular values of each layer's matrix, float64 [M, min(out, rest)], largest first."""
        return [torch.linalg.svdvals(matrix) for matrix in self.matrices]

    @shared
    def logits(self) -> list[Tensor]:
        """The outputs on each model's own training images, in the order of ``groups``: M of float32 [n, classes]."""
        outputs = [torch.empty(0)] * len(self)
        for group in self.groups():
            found = self.engine.logits(
                group.stack.architecture, group.stack.parameters, self.train.images, group.indices
            )
            for model, logits in zip(group.members, found.cpu(), strict=True):
                outputs[model] = logits
        return outputs

    @shared
    def labels(self) -> list[Tensor]:
        """The labels that belong to ``logits``: M of int64 [n]."""
        labels = [torch.empty(0)] * len(self)
        for group in self.groups():
            for model, own in zip(group.members, group.labels, strict=True):
                labels[model] = own
        return labels

    @shared
    def margins(self) -> list[Tensor]:
        """f_y - max_{j != y} f_j on each model's own training images: M of float64 [n]."""
        return [margins(logits, own) for logits, own in zip(self.logits, self.labels, strict=True)]

    @shared
    def margin(self) -> Tensor:
        """The 10th percentile of each model's margins, float64 [M]."""
        return self.margin_quantile(0.1)

    def margin_quantile(self, quantile: float) -> Tensor:
        """A quantile of each model's margins (linear interpolation), float64 [M]."""
        return torch.from_numpy(np.array([np.quantile(values.numpy(), quantile) for values in self.margins]))


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """f_y - max_{j != y} f_j in float64: logits [..., classes], labels int64 [...] -> [...]."""
    labels = labels[..., None]
    others = logits.scatter(-1, labels, -torch.inf).amax(-1)
    return (logits.gather(-1, labels)[..., 0] - others).double()


def _in_float64(stack: Stack) -> dict[str, Tensor]:
    return {name: stack.parameters[name].double() for name in stack.architecture.parameters}
