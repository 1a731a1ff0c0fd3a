"""Passes of images that no data set holds (mixed, augmented), and networks cut in two at a hidden layer.

``Engine.logits`` serves what reads the training images as they are; these are for the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from torch import Tensor

from baselines.interface import NotApplicable
from zoo_builder.architecture import Activation, Architecture, GlobalAveragePool
from zoo_builder.errors import InputError
from zoo_builder.networks import Stack, forward

IMAGES_AT_ONCE = 64
# Activations of so many bytes are computed at once: what stays in a core's cache.
_BYTES_AT_ONCE = 4 << 20
Pieces = tuple[slice, slice]  # some models and some of their images, as the index into a table [M, images]


def portions(stack: Stack) -> Iterator[tuple[slice, Stack]]:
    """A few models at a time: where they stand in the stack, and they themselves."""
    units = prod(stack.architecture.input_shape) + stack.architecture.units
    at_once = max(1, _BYTES_AT_ONCE // (4 * IMAGES_AT_ONCE * units))
    for start in range(0, len(stack), at_once):
        models = slice(start, min(start + at_once, len(stack)))
        yield models, stack.take(np.arange(models.start, models.stop))


def blocks(images: int) -> list[slice]:
    """0 .. images-1, a few at a time."""
    return [slice(start, start + IMAGES_AT_ONCE) for start in range(0, images, IMAGES_AT_ONCE)]


def pieces(stack: Stack, images: int) -> Iterator[tuple[Pieces, Stack]]:
    """A few models and a few images at a time."""
    for (models, some), block in product(portions(stack), blocks(images)):
        yield (models, block), some


@dataclass(frozen=True)
class Halves:
    """A network cut in two. What a hidden layer gives has the shape of images, a vector that of 1 x 1 images.

    Attributes:
        lower, upper: the rows up to the cut and from it on.
        names: {tensor of ``upper``: its name in the whole network}.
        layer: the name of the last row before the cut.
    """

    lower: Architecture
    upper: Architecture
    names: dict[str, str]
    layer: str

    def hidden(self, stack: Stack, images: Tensor) -> Tensor:
        """What is at the cut: [M, B, C, H, W] for images [M, B, C, H, W]."""
        features: dict[str, Tensor] = {}
        forward(self.lower, stack.parameters, images, features=features)
        hidden = features[self.layer]
        return hidden if hidden.dim() == 5 else hidden[..., None, None]

    def logits(self, stack: Stack, hidden: Tensor) -> Tensor:
        """[M, B, classes]; differentiable."""
        return forward(self.upper, {new: stack.parameters[old] for new, old in self.names.items()}, hidden)


def at_first_hidden_layer(architecture: Architecture) -> Halves:
    """Cut after the first hidden layer: after the first activation, in a linear network after the first weights.

    Raises:
        NotApplicable: there is no hidden layer, or a shortcut passes by it.
    """
    rows = [number for number, layer in enumerate(architecture.layers) if isinstance(layer, Activation)]
    return _cut(architecture, 1 + (rows[0] if rows else architecture.places.index(architecture.weighted[0])))


def at_last_hidden_layer(architecture: Architecture) -> Halves:
    """Cut before the last layer with weights.

    Raises:
        NotApplicable: there is no hidden layer, or a shortcut passes by it.
    """
    return _cut(architecture, architecture.places.index(architecture.weighted[-1]))


def _cut(architecture: Architecture, row: int) -> Halves:
    before, after = architecture.places[:row], architecture.places[row:]
    if not set(before) & set(architecture.weighted) or not set(after) & set(architecture.weighted):
        raise NotApplicable("the networks have no hidden layer")
    channels, *size = before[-1].output_shape
    try:
        upper = Architecture((channels, *(size or (1, 1))), architecture.layers[row:])
    except InputError as error:
        raise NotApplicable(f"a shortcut passes by the hidden layer: {error}") from None
    names = {
        new: old
        for place, original in zip(upper.places, after, strict=True)
        for new, old in zip((*place.parameters, *place.buffers), (*original.parameters, *original.buffers), strict=True)
    }
    # A forward pass ends with a vector.
    end = (GlobalAveragePool(),) if size else ()
    lower = Architecture(architecture.input_shape, (*architecture.layers[:row], *end))
    return Halves(lower, upper, names, before[-1].name)
