"""Chunks of the models of a stack and of their images, for passes over images that are in no data set.

``Engine.logits`` passes the training images as they are; altered ones (mixed, augmented) go through these chunks.
"""

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np

from zoo_builder.networks.stack import Stack

CHUNK_IMAGES = 64
# Activations of this size stay in a core's cache.
_CHUNK_BYTES = 4 << 20
Chunk = tuple[slice, slice]  # some models and some of their images, as an index into a table [M, images]


def model_chunks(models: int, images: int, units: int) -> list[slice]:
    """Models 0 .. models-1 in chunks that fit ``_CHUNK_BYTES``, with ``units`` float32 numbers for each image."""
    size = max(1, _CHUNK_BYTES // (4 * images * units))
    return [slice(start, min(start + size, models)) for start in range(0, models, size)]


def stack_chunks(stack: Stack) -> Iterator[tuple[slice, Stack]]:
    """Chunks of models, for passes over ``CHUNK_IMAGES`` images: their positions in the stack, and their stack."""
    units = prod(stack.architecture.input_shape) + stack.architecture.units
    for models in model_chunks(len(stack), CHUNK_IMAGES, units):
        yield models, stack.take(np.arange(models.start, models.stop))


def image_chunks(images: int) -> list[slice]:
    """Images 0 .. images-1 in chunks of ``CHUNK_IMAGES``.

    >>> image_chunks(100)
    [slice(0, 64, None), slice(64, 128, None)]
    """
    return [slice(start, start + CHUNK_IMAGES) for start in range(0, images, CHUNK_IMAGES)]


def chunks(stack: Stack, images: int) -> Iterator[tuple[Chunk, Stack]]:
    """Chunks of models and images: an index into a table [M, images], and the stack of these models."""
    for (models, some), image_chunk in product(stack_chunks(stack), image_chunks(images)):
        yield (models, image_chunk), some
