"""A stack: M networks of one architecture, computed together; and one network as a plain ``nn.Module``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_builder import dropout as dropout_masks
from zoo_builder.architecture import Activation, Architecture, Conv, Dropout, GlobalAveragePool, Linear, Place

if TYPE_CHECKING:
    # The tests import it for real and check every call against the axes.
    from jaxtyping import Float


@dataclass(frozen=True)
class Stack:
    """M networks of one architecture.

    Attributes:
        architecture: what each of them is.
        parameters: {name: tensor [M, *shape]}, names and shapes as ``architecture.parameters``.
        rows: int64 [M], which rows of the table (or of the view) the models stand at.
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
        """The models at ``positions`` of this stack, in that order."""
        index = torch.as_tensor(positions)
        chosen = {name: value[index.to(value.device)] for name, value in self.parameters.items()}
        return Stack(self.architecture, chosen, self.rows[positions])

    def chunks(self, size: int) -> Iterator[Stack]:
        """The same models in order, at most ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


def forward(
    architecture: Architecture,
    parameters: dict[str, Tensor],
    images: Float[Tensor, "batch channels height width"] | Float[Tensor, "models batch channels height width"],
    dropout: dropout_masks.Dropout | None = None,
    features: dict[str, Tensor] | None = None,
) -> Float[Tensor, "models batch classes"]:
    """The logits of M networks at once; differentiable, any floating dtype, any device.

    Args:
        architecture: what all M are.
        parameters: {name: [M, *shape]}.
        images: [B, C, H, W], seen by every model, or [M, B, C, H, W], each model its own; scaled, not uint8.
        dropout: the masks of a training step; None evaluates.
        features: a dictionary to fill with the output of every layer, {layer name: [M, B, *output_shape]}.

    Returns:
        [M, B, classes].
    """
    models = next(iter(parameters.values())).shape[0]
    shared = images.dim() == 4
    # Images are [B, M*C, H, W] in channels-last memory, so that M convolutions are one grouped convolution.
    # A batch that all models share stays [B, C, H, W] until the first layer with weights.
    hidden = images if shared else images.transpose(0, 1).flatten(1, 2)
    hidden = hidden.contiguous(memory_format=torch.channels_last)
    for place in architecture.places:
        match place.layer:
            case Conv(stride=stride, padding=padding):
                weight, bias = (
                    parameters[f"{place.name}.weight"].flatten(0, 1),
                    parameters[f"{place.name}.bias"].flatten(),
                )
                hidden = F.conv2d(hidden, weight, bias, stride, padding, groups=1 if shared else models)
                shared = False
            case Linear():
                weight, bias = parameters[f"{place.name}.weight"], parameters[f"{place.name}.bias"]
                if len(place.input_shape) == 3:
                    hidden = hidden.flatten(1) if shared else _by_model(hidden, models).flatten(2)
                hidden = torch.baddbmm(bias[:, None], hidden.expand(models, -1, -1), weight.transpose(1, 2))
                shared = False
            case Activation(kind):
                hidden = _ACTIVATION[kind](hidden)
            case GlobalAveragePool():
                hidden = hidden.mean((2, 3))
                hidden = hidden if shared else _by_model(hidden, models)
            case Dropout() if dropout is not None:
                hidden = hidden * _dropout_factors(dropout, place, hidden)
        if features is not None:
            seen = hidden.expand(models, *hidden.shape) if shared else hidden
            features[place.name] = _by_model(seen, models) if len(place.output_shape) == 3 and not shared else seen
    return hidden


_ACTIVATION = {"relu": F.relu, "tanh": torch.tanh}
_MODULE = {"relu": nn.ReLU, "tanh": nn.Tanh}


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


def module(architecture: Architecture, parameters: dict[str, Tensor], dropout: float = 0.0) -> nn.Sequential:
    """One network as an ordinary module in eval mode; ``parameters`` without the model axis are its ``state_dict``."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for place in architecture.places:
        match place.layer:
            case Conv(channels, kernel, stride, padding):
                layers[place.name] = nn.Conv2d(place.input_shape[0], channels, kernel, stride, padding)
            case Linear(features):
                if len(place.input_shape) == 3:
                    layers[f"flatten_{place.name}"] = nn.Flatten()
                layers[place.name] = nn.Linear(prod(place.input_shape), features)
            case Activation(kind):
                layers[place.name] = _MODULE[kind]()
            case Dropout():
                layers[place.name] = nn.Dropout(dropout)
            case GlobalAveragePool():
                layers[place.name] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(layers).to(next(iter(parameters.values())).dtype)
    network.load_state_dict(parameters)
    return network.eval()
