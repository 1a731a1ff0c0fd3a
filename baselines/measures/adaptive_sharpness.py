"""Adaptive sharpness: how far the training loss rises in a neighborhood that scales with the weights.

L(w) and the random draws are as in ``curvature``.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from baselines.measures.chunks import model_chunks
from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.training_loss import (
    IMAGES,
    SAMPLE,
    draws_for,
    logits_at,
    mean_and_error,
    repeats_of,
)
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import cross_entropy, flat, named

WORST_IMAGES = 512
DRAWS, DRAW_CHUNK = 50, 50
ASCENT_CHUNK, ASCENT_STEPS = 128, 10
RHO_WORST, RHO_AVERAGE = 0.008, 0.1  # from the ranges for convolutional networks in Andriushchenko et al. 2023

Loss = Callable[[Tensor, Tensor], Tensor]


def adaptive_sharpness_worst(context: MeasureContext) -> Tensor:
    """Mean over batches of max L(w + u) - L(w) over |u_i| <= rho |w_i|."""
    return context.once(_worst, cross_entropy)


def adaptive_sharpness_worst_normalized(context: MeasureContext) -> Tensor:
    """``adaptive_sharpness_worst`` with normalized logits: scaling the logits changes nothing."""
    return context.once(_worst, _normalized_cross_entropy)


def _worst(context: MeasureContext, loss: Loss) -> Tensor:
    """The rise that projected sign ascent from u = 0 finds, so that it is never negative: float64 [M].

    A lower bound of the maximum. On small CNNs, neither twice the steps nor the paper's APGD found 1.001 times as much.
    """
    architecture = context.folded_architecture
    rises = torch.zeros(len(context), dtype=torch.float64)
    for group in context.groups(WORST_IMAGES):
        weights = flat(architecture, group.stack.parameters)
        for images, labels in group.chunks(ASCENT_CHUNK):
            share = images.shape[1] / group.indices.shape[1]
            for chunk in model_chunks(len(weights), images.shape[1], architecture.units):
                rise = _ascent(architecture, weights[chunk], images[chunk], labels[chunk], loss)
                rises[group.members[chunk]] += share * rise
    return rises


def _ascent(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The largest loss along the ascent minus the loss at its start, [m]."""
    moves = torch.zeros_like(weights)  # in units of |w|
    losses = []
    for step in range(ASCENT_STEPS + 1):
        at = (weights + moves * weights.abs()).requires_grad_()
        value = loss(logits_at(architecture, at, images), labels)
        (gradient,) = torch.autograd.grad(value.sum(), at)
        losses.append(value.detach())
        # The first step spans the box from corner to corner; later steps get smaller.
        length = 2 * RHO_WORST * (1 - step / ASCENT_STEPS)
        moves = (moves + length * gradient.sign()).clamp(-RHO_WORST, RHO_WORST)
    return torch.stack(losses).amax(0) - losses[0]


def adaptive_sharpness_average(context: MeasureContext) -> Tensor:
    """E L(w + u) - L(w) for normal u with standard deviation rho |w_i|."""
    mean, error = context.once(_average)[0]
    context.standard_error(error)
    return mean


def adaptive_sharpness_average_normalized(context: MeasureContext) -> Tensor:
    """``adaptive_sharpness_average`` with normalized logits: scaling the logits changes nothing."""
    mean, error = context.once(_average)[1]
    context.standard_error(error)
    return mean


def _average(context: MeasureContext) -> Tensor:
    """Both average sharpnesses (plain, normalized), each with its standard error: float64 [2, 2, M].

    Draws come in pairs u, -u, so that the term linear in u, most of the noise, cancels.
    """
    architecture, images, labels = context.folded_architecture, context.train.images, context.train.labels
    found = torch.empty(2, 2, len(context), dtype=torch.float64)
    for group in context.groups(IMAGES):
        weights, total_images = flat(architecture, group.stack.parameters), group.indices.shape[1]
        stream = draws_for("noise")
        repeats = repeats_of(DRAWS, total_images, DRAW_CHUNK)
        totals = torch.zeros(repeats, 2, len(weights), dtype=torch.float64)
        for first in range(0, total_images, DRAW_CHUNK):
            chunk = group.indices[:, first : first + DRAW_CHUNK]
            own = labels[torch.from_numpy(chunk)]

            def losses(at: Tensor, chunk: np.ndarray = chunk, own: Tensor = own) -> Tensor:
                logits = context.engine.logits(architecture, named(architecture, at), images, chunk).cpu().double()
                return torch.stack([loss(logits, own) for loss in (cross_entropy, _normalized_cross_entropy)])

            share, base = chunk.shape[1] / total_images, losses(weights)
            for total in totals:
                noise = RHO_AVERAGE * weights.abs() * torch.randn(weights.shape[1], generator=stream)
                total += share * ((losses(weights + noise) + losses(weights - noise)) / 2 - base)
        found[:, :, group.members] = torch.stack(mean_and_error(totals), dim=1)
    return found


def _normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits that are centered and divided by their Euclidean norm, image by image: -> [M]."""
    centered = logits - logits.mean(-1, keepdim=True)
    return cross_entropy(centered / centered.norm(dim=-1, keepdim=True).clamp_min(1e-10), labels)


_WORST = (
    f"max over |u_i| <= {RHO_WORST} |w_i| of L(w + u) - L(w), {ASCENT_STEPS} steps; mean over batches of "
    f"{ASCENT_CHUNK} of {WORST_IMAGES} images"
)
_MEAN = f"E L(w + u) - L(w), u_i ~ N(0, ({RHO_AVERAGE} w_i)^2), at least {DRAWS} pairs u, -u; {SAMPLE}"
_NORMALIZED = "; logits centered, of norm 1"
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
            ("average", adaptive_sharpness_average, "multi-pass", _MEAN),
            ("average-normalized", adaptive_sharpness_average_normalized, "multi-pass", _MEAN + _NORMALIZED),
        )
    ),
)
