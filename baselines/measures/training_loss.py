"""The training loss as a function of all weights, on a sample of a model's training images, and averages over draws."""

import torch
from torch import Tensor

from baselines.measures.context import Group, MeasureContext
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import forward, named
from zoo_builder.streams import torch_stream

IMAGES = 1000  # a model
SAMPLE = f"{IMAGES:,} images"


def repeats_of(draws: int, images: int, images_of_a_draw: int) -> int:
    """How many draws each block of images needs for so many in all; at least 4, which tell the standard error."""
    return max(4, -(-draws // -(-images // images_of_a_draw)))


def mean_and_error(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """Of independent estimates [repeats, ...]: their mean and its standard error, [...]."""
    return estimates.mean(0), estimates.std(0) / len(estimates) ** 0.5


def remark_on_chance(context: MeasureContext, means: Tensor, errors: Tensor) -> None:
    context.remark(errors > 0.2 * means.abs(), "the standard error of the estimate is above 20 % of the value")


def sampled_groups(context: MeasureContext, most: int) -> list[Group]:
    _ = context.architecture  # raises where a norm cannot be folded, which passes alone would not mind
    return context.groups(most)


def logits_at(architecture: Architecture, weights: Tensor, images: Tensor) -> Tensor:
    """[m, B, classes] in float64: of well fitted images float32 would round the cross-entropy, and its slope, to 0."""
    return forward(architecture, named(architecture, weights), images).double()


def draw_stream(purpose: str) -> torch.Generator:
    return torch_stream("curvature", purpose)
