"""Passes of images that no data set holds (mixed, augmented), and networks cut in two at a hidden layer.

``Engine.logits`` serves what reads the training images as they are; these are for the rest.
"""

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np

from zoo_builder.networks.stack import Stack

IMAGES_AT_ONCE = 64
# Activations of so many bytes are computed at once: what stays in a core's cache.
_BYTES_AT_ONCE = 4 << 20
Pieces = tuple[slice, slice]  # some models and some of their images, as the index into a table [M, images]


def slices(models: int, images: int, units: int) -> list[slice]:
    """0 .. models-1, a few at a time: as many as have ``_BYTES_AT_ONCE`` of ``units`` numbers for each image."""
    at_once = max(1, _BYTES_AT_ONCE // (4 * images * units))
    return [slice(start, min(start + at_once, models)) for start in range(0, models, at_once)]


def portions(stack: Stack) -> Iterator[tuple[slice, Stack]]:
    """A few models at a time: where they stand in the stack, and they themselves."""
    units = prod(stack.architecture.input_shape) + stack.architecture.units
    for models in slices(len(stack), IMAGES_AT_ONCE, units):
        yield models, stack.take(np.arange(models.start, models.stop))


def blocks(images: int) -> list[slice]:
    """0 .. images-1, a few at a time."""
    return [slice(start, start + IMAGES_AT_ONCE) for start in range(0, images, IMAGES_AT_ONCE)]


def pieces(stack: Stack, images: int) -> Iterator[tuple[Pieces, Stack]]:
    """A few models and a few images at a time."""
    for (models, some), block in product(portions(stack), blocks(images)):
        yield (models, block), some
