"""Adaptive sharpness: how fast the training loss rises in a neighbourhood that scales with the weights."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from baselines.measures.chunks import slices
from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.training_loss import (
    IMAGES,
    SAMPLE,
    draw_stream,
    logits_at,
    mean_and_error,
    remark_on_chance,
    repeats_of,
    sampled_groups,
)
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import cross_entropy, flat, named

_IMAGES_OF_WORST = 512
_DRAWS, _IMAGES_OF_A_DRAW = 50, 50
_ASCENT_BATCH, _ASCENT_STEPS = 128, 10
_RHO_WORST, _RHO_AVERAGE = 0.008, 0.1  # from the ranges for convolutional networks in Andriushchenko et al. 2023

Loss = Callable[[Tensor, Tensor], Tensor]


def adaptive_sharpness_worst(context: MeasureContext) -> Tensor:
    """Mean over batches of max L(w + u) - L(w) over |u_i| <= rho |w_i|."""
    return context.once(_worst, cross_entropy)


def adaptive_sharpness_worst_normalized(context: MeasureContext) -> Tensor:
    """``adaptive_sharpness_worst`` with normalized logits: larger logits alone change nothing."""
    return context.once(_worst, _normalized_cross_entropy)


def _worst(context: MeasureContext, loss: Loss) -> Tensor:
    """The rise that projected sign ascent finds; it starts at 0, so the rise is never negative.

    A lower bound of the maximum. On small CNNs neither twice the steps nor the paper's APGD found 1.001 times as much.
    """
    architecture = context.architecture
    rises = torch.zeros(len(context), dtype=torch.float64)
    for group in sampled_groups(context, _IMAGES_OF_WORST):
        weights = flat(architecture, group.stack.parameters)
        for images, labels in group.blocks(_ASCENT_BATCH):
            share = images.shape[1] / group.indices.shape[1]
            for some in slices(len(weights), images.shape[1], architecture.units):
                rise = _ascent(architecture, weights[some], images[some], labels[some], loss)
                rises[group.members[some]] += share * rise
    return rises


def _ascent(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The largest loss on the way less the loss at its start, [m]."""
    moves = torch.zeros_like(weights)  # in units of |w|
    heights = []
    for step in range(_ASCENT_STEPS + 1):
        at = (weights + moves * weights.abs()).requires_grad_()
        height = loss(logits_at(architecture, at, images), labels)
        (slope,) = torch.autograd.grad(height.sum(), at)
        heights.append(height.detach())
        # From corner to corner at first, in ever smaller steps later.
        length = 2 * _RHO_WORST * (1 - step / _ASCENT_STEPS)
        moves = (moves + length * slope.sign()).clamp(-_RHO_WORST, _RHO_WORST)
    return torch.stack(heights).amax(0) - heights[0]


def adaptive_sharpness_average(context: MeasureContext) -> Tensor:
    """E L(w + u) - L(w) for normal u with standard deviation rho |w_i|."""
    mean, error = context.once(_average)[0]
    remark_on_chance(context, mean, error)
    return mean


def adaptive_sharpness_average_normalized(context: MeasureContext) -> Tensor:
    """``adaptive_sharpness_average`` with normalized logits: larger logits alone change nothing."""
    mean, error = context.once(_average)[1]
    remark_on_chance(context, mean, error)
    return mean


def _average(context: MeasureContext) -> Tensor:
    """Both average sharpnesses (plain, normalized), each with its standard error: float64 [2, 2, M].

    Draws come in pairs u, -u: what is linear in u, most of the noise, cancels.
    """
    architecture, images, labels = context.architecture, context.train.images, context.train.labels
    found = torch.empty(2, 2, len(context), dtype=torch.float64)
    for group in sampled_groups(context, IMAGES):
        weights, images_in_all = flat(architecture, group.stack.parameters), group.indices.shape[1]
        stream = draw_stream("noise")
        repeats = repeats_of(_DRAWS, images_in_all, _IMAGES_OF_A_DRAW)
        totals = torch.zeros(repeats, 2, len(weights), dtype=torch.float64)
        for first in range(0, images_in_all, _IMAGES_OF_A_DRAW):
            block = group.indices[:, first : first + _IMAGES_OF_A_DRAW]
            own = labels[torch.from_numpy(block)]

            def heights(at: Tensor, block: np.ndarray = block, own: Tensor = own) -> Tensor:
                logits = context.engine.logits(architecture, named(architecture, at), images, block).cpu().double()
                return torch.stack([loss(logits, own) for loss in (cross_entropy, _normalized_cross_entropy)])

            share, base = block.shape[1] / images_in_all, heights(weights)
            for total in totals:
                noise = _RHO_AVERAGE * weights.abs() * torch.randn(weights.shape[1], generator=stream)
                total += share * ((heights(weights + noise) + heights(weights - noise)) / 2 - base)
        found[:, :, group.members] = torch.stack(mean_and_error(totals), dim=1)
    return found


def _normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits that are centred and divided by their Euclidean norm, image by image: -> [M]."""
    centred = logits - logits.mean(-1, keepdim=True)
    return cross_entropy(centred / centred.norm(dim=-1, keepdim=True).clamp_min(1e-10), labels)


_WORST = (
    f"max over |u_i| <= {_RHO_WORST} |w_i| of L(w + u) - L(w), {_ASCENT_STEPS} steps; mean over batches of "
    f"{_ASCENT_BATCH} of {_IMAGES_OF_WORST} images"
)
_MEAN = f"E L(w + u) - L(w), u_i ~ N(0, ({_RHO_AVERAGE} w_i)^2), at least {_DRAWS} pairs u, -u; {SAMPLE}"
_NORMALIZED = "; logits centred, of norm 1"
_SHARPNESS = "Andriushchenko et al. 2023, arXiv:2302.07011; scaling of Kwon et al. 2021, arXiv:2102.11600"

MEASURES = (
    *(
        Measure(
            name=f"adaptive-sharpness-{name}",
            function=function,
            access="train-data",
            cost=cost,
            formula=formula,
            citation=_SHARPNESS,
        )
        for name, function, cost, formula in (
            ("worst", adaptive_sharpness_worst, "search", _WORST),
            ("worst-normalized", adaptive_sharpness_worst_normalized, "search", _WORST + _NORMALIZED),
            ("average", adaptive_sharpness_average, "passes", _MEAN),
            ("average-normalized", adaptive_sharpness_average_normalized, "passes", _MEAN + _NORMALIZED),
        )
    ),
)
