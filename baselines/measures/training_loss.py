"""The training loss as a function of all weights on a model's first training images, and averages over random draws."""

import torch
from torch import Tensor

from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import forward, named
from zoo_builder.streams import torch_stream

IMAGES = 1000  # per model
SAMPLE = f"{IMAGES:,} images"


def repeats_of(draws: int, images: int, images_of_a_draw: int) -> int:
    """How many draws each chunk of images needs for this many in total; at least 4, for the standard error."""
    return max(4, -(-draws // -(-images // images_of_a_draw)))


def mean_and_error(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of independent estimates [repeats, ...] and its standard error, each [...]."""
    return estimates.mean(0), estimates.std(0) / len(estimates) ** 0.5


def logits_at(architecture: Architecture, weights: Tensor, images: Tensor) -> Tensor:
    """[m, B, classes] in float64: for well fitted images, float32 rounds the cross-entropy and its gradient to 0."""
    return forward(architecture, named(architecture, weights), images).double()


def draws_for(purpose: str) -> torch.Generator:
    return torch_stream("curvature", purpose)
