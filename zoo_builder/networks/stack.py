"""A stack: M networks of one architecture that are computed together."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_builder.networks import dropout as dropout_masks
from zoo_builder.networks.architecture import (
    NORM_EPSILON,
    NORM_MOMENTUM,
    Activation,
    Architecture,
    Conv,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Norm,
    Place,
    Residual,
    shortcut_stride,
)

if TYPE_CHECKING:
    # The tests import it for real and check every call against the axes.
    from jaxtyping import Float


@dataclass(frozen=True)
class Stack:
    """M networks of one architecture.

    Attributes:
        architecture: that of every network.
        parameters: {name: tensor [M, *shape]}, names and shapes as ``architecture.tensors``.
        rows: int64 [M], the models' rows in the table (or the view).
    """

    architecture: Architecture
    parameters: dict[str, Tensor]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Stack:
        moved = {name: value.to(device, dtype) for name, value in self.parameters.items()}
        return Stack(self.architecture, moved, self.rows)

    def take(self, positions: np.ndarray) -> Stack:
        """The models at ``positions``, in that order."""
        index = torch.as_tensor(positions)
        chosen = {name: value[index.to(value.device)] for name, value in self.parameters.items()}
        return Stack(self.architecture, chosen, self.rows[positions])


def forward(
    architecture: Architecture,
    parameters: dict[str, Tensor],
    images: Float[Tensor, "batch channels height width"] | Float[Tensor, "models batch channels height width"],
    dropout: dropout_masks.Dropout | None = None,
    features: dict[str, Tensor] | None = None,
    training: bool = False,
) -> Float[Tensor, "models batch classes"]:
    """The logits of M networks; differentiable, for any floating dtype and device.

    Args:
        architecture: that of all M networks.
        parameters: {name: [M, *shape]}.
        images: scaled, not uint8: [B, C, H, W] for all models, or [M, B, C, H, W] with each model's own.
        dropout: the masks of a training step; None drops nothing.
        features: a dictionary to fill with the output of every layer, {layer name: [M, B, *output_shape]}.
        training: norms use the statistics of this batch, and update their running statistics in place.

    Returns:
        [M, B, classes].
    """
    models = next(iter(parameters.values())).shape[0]
    shared = images.dim() == 4
    # Images are [B, M*C, H, W] in channels-last memory: M convolutions are one grouped convolution.
    # A batch shared by all models stays [B, C, H, W] until the first layer with weights.
    hidden = images if shared else images.transpose(0, 1).flatten(1, 2)
    hidden = hidden.contiguous(memory_format=torch.channels_last)
    states = [(hidden, shared)]
    for place in architecture.places:
        match place.layer:
            case Conv(stride=stride, padding=padding):
                weight, bias = (parameters[f"{place.name}.{kind}"].flatten(0, 1) for kind in ("weight", "bias"))
                hidden = F.conv2d(hidden, weight, bias, stride, padding, groups=1 if shared else models)
                shared = False
            case Linear():
                weight, bias = parameters[f"{place.name}.weight"], parameters[f"{place.name}.bias"]
                if len(place.input_shape) == 3:
                    hidden = hidden.flatten(1) if shared else _by_model(hidden, models).flatten(2)
                hidden = torch.baddbmm(bias[:, None], hidden.expand(models, -1, -1), weight.transpose(1, 2))
                shared = False
            case Norm():
                if shared:
                    hidden = hidden.repeat(1, models, 1, 1) if hidden.dim() == 4 else hidden.expand(models, -1, -1)
                    shared = False
                hidden = _normalized(place, parameters, hidden, training)
            case Activation(kind):
                hidden = _ACTIVATION[kind](hidden)
            case Residual(span):
                earlier, was_shared = states[-1 - span]
                if was_shared and not shared:
                    earlier = earlier.repeat(1, models, 1, 1)
                hidden = hidden + shortcut(earlier, hidden, 1 if shared else models)
            case MaxPool(size):
                hidden = F.max_pool2d(hidden, size)
            case GlobalAveragePool():
                hidden = hidden.mean((2, 3))
                hidden = hidden if shared else _by_model(hidden, models)
            case Dropout() if dropout is not None:
                hidden = hidden * _dropout_factors(dropout, place, hidden)
        states.append((hidden, shared))
        if features is not None:
            seen = hidden.expand(models, *hidden.shape) if shared else hidden
            features[place.name] = _by_model(seen, models) if len(place.output_shape) == 3 and not shared else seen
    return hidden


_ACTIVATION = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky-relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
}


def _normalized(place: Place, parameters: dict[str, Tensor], hidden: Tensor, training: bool) -> Tensor:
    """Batch normalization of [B, M*C, H, W] or [M, B, C], with the channels of all models side by side."""
    if hidden.dim() == 3:
        flat = _normalized(place, parameters, hidden.transpose(0, 1).flatten(1)[..., None, None], training)
        return _by_model(flat[..., 0, 0], len(hidden))
    weight, bias = (parameters[f"{place.name}.{kind}"].flatten() for kind in ("weight", "bias"))
    # Views, because batch_norm writes to them.
    mean, variance = (parameters[f"{place.name}.running_{kind}"].view(-1) for kind in ("mean", "var"))
    return F.batch_norm(hidden, mean, variance, weight, bias, training, NORM_MOMENTUM, NORM_EPSILON)


def shortcut(earlier: Tensor, later: Tensor, models: int) -> Tensor:
    """``earlier`` in the shape of ``later``, both [B, M*C, H, W] or both [..., C]; see ``Residual``."""
    if later.dim() < 4:
        return F.pad(earlier, (0, later.shape[-1] - earlier.shape[-1]))
    stride = shortcut_stride(tuple(earlier.shape[1:]), tuple(later.shape[1:]))
    split = earlier[:, :, ::stride, ::stride].unflatten(1, (models, -1))
    return F.pad(split, (0, 0, 0, 0, 0, later.shape[1] // models - split.shape[2])).flatten(1, 2)


def _by_model(hidden: Tensor, models: int) -> Tensor:
    """[B, M*C, ...] -> [M, B, C, ...]."""
    return hidden.unflatten(1, (models, -1)).transpose(0, 1)


def _dropout_factors(dropout: dropout_masks.Dropout, place: Place, hidden: Tensor) -> Tensor:
    """The factors in the layout of ``hidden``: [B, M*C, H, W] for images, [M, B, C] otherwise."""
    if len(place.input_shape) == 3:
        channels, height, width = place.input_shape
        factors = dropout.factors(place.name, hidden.shape[0], height * width, channels, hidden.dtype)
        return factors.flatten(2).unflatten(1, (height, width)).permute(0, 3, 1, 2)
    return dropout.factors(place.name, hidden.shape[1], 1, place.input_shape[0], hidden.dtype)[:, 0].transpose(0, 1)


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
