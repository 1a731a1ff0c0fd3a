"""Measures of hidden representations: how well they separate the labels, and how they vary."""

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.measures.chunks import image_chunks, stack_chunks
from baselines.measures.context import MeasureContext
from baselines.measures.hidden_layers import at_first_hidden_layer, at_last_hidden_layer
from baselines.measures.measure import Measure
from baselines.measures.mixup import ONE_LABEL, mixup_error
from zoo_builder.datasets.dataset import scaled

IMAGES = 1000
GRAPH_IMAGES = 500
# Squared distances of unit vectors that count as equal; rounding errors are far smaller.
SAME_DISTANCE = 1e-6


def davies_bouldin(context: MeasureContext) -> Tensor:
    """The Davies-Bouldin index of the first hidden layer, labels as clusters; images max-pooled by 4 x 4."""
    index = context.once(index_of_first_hidden_layer)
    context.undefined(index.isnan(), ONE_LABEL)
    context.undefined(index.isinf(), "two labels have the same mean representation")
    return index


@torch.no_grad()
def index_of_first_hidden_layer(context: MeasureContext) -> Tensor:
    """The ``davies_bouldin_index`` of the first hidden layer, float64 [M]."""
    halves = at_first_hidden_layer(context.architecture)
    size = min(4, *halves.upper.input_shape[1:])
    pixels = context.train.images
    index = torch.empty(len(context), dtype=torch.float64)
    for group in context.groups(IMAGES):
        own, labels = torch.from_numpy(group.indices), group.labels
        for models, stack in stack_chunks(group.stack):
            points = []
            for chunk in image_chunks(own.shape[1]):
                hidden = halves.hidden(stack, scaled(pixels[own[models, chunk]]))
                pooled = F.max_pool2d(hidden.flatten(0, 1), size)
                points.append(pooled.unflatten(0, hidden.shape[:2]).flatten(2))
            index[group.members[models]] = davies_bouldin_index(torch.cat(points, 1), labels[models])
    return index


def davies_bouldin_index(points: Tensor, labels: Tensor) -> Tensor:
    """mean_a max_{b != a} (s_a + s_b) / |c_a - c_b|, c the mean of a label's points, s their mean distance to c.

    Args:
        points: [M, n, D].
        labels: int64 [M, n].

    Returns:
        float64 [M]; infinite where two means coincide, NaN where all points have one label.
    """
    points, member = points.double(), F.one_hot(labels).double()
    counts = member.sum(1)
    means = torch.einsum("mnd,mnk->mkd", points, member) / counts.clamp(min=1)[..., None]
    away = (points - means.gather(1, labels[..., None].expand_as(points))).norm(dim=2)
    spread = torch.einsum("mn,mnk->mk", away, member) / counts.clamp(min=1)
    between = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
    ratios = (spread[:, :, None] + spread[:, None, :]) / between
    ratios = torch.where(between == 0, torch.inf, ratios)
    present = counts > 0
    others = present[:, :, None] & present[:, None, :] & ~torch.eye(counts.shape[1], dtype=torch.bool)
    worst = ratios.masked_fill(~others, -torch.inf).amax(2)
    index = torch.where(present, worst, 0).sum(1) / present.sum(1)
    return torch.where(present.sum(1) > 1, index, torch.nan)


def davies_bouldin_mixup(context: MeasureContext) -> Tensor:
    """The Davies-Bouldin index times ``mixup_error``."""
    return davies_bouldin(context) * mixup_error(context)


@torch.no_grad()
def penultimate_norm_variance(context: MeasureContext) -> Tensor:
    """The variance over training images of the Euclidean norm of the last layer's input."""
    halves = at_last_hidden_layer(context.architecture)
    pixels = context.train.images
    variances = torch.empty(len(context), dtype=torch.float64)
    for group in context.groups(IMAGES):
        own = torch.from_numpy(group.indices)
        for models, stack in stack_chunks(group.stack):
            hidden = [halves.hidden(stack, scaled(pixels[own[models, chunk]])) for chunk in image_chunks(own.shape[1])]
            norms = torch.cat([some.flatten(2).double().norm(dim=2) for some in hidden], 1)
            variances[group.members[models]] = norms.var(dim=1, correction=0)
    return variances


@torch.no_grad()
def penultimate_label_variation(context: MeasureContext) -> Tensor:
    """The label variation of mixed images in the graph of nearest neighbors at the input of the last layer.

    Each image is mixed with another, (1 - a) x + a x', and its label likewise, with a from Beta(2, 2) and equal draws
    for all models. Team BrAIn's VPM (arXiv:2011.12737) as in their code: one neighbor, edges not symmetrized.
    """
    halves = at_last_hidden_layer(context.architecture)
    pixels = context.train.images
    variations = torch.empty(len(context), dtype=torch.float64)
    for group in context.groups(GRAPH_IMAGES):
        own = torch.from_numpy(group.indices)
        share, partner = mixing_draws(own.shape[1])
        labels = F.one_hot(group.labels).double()
        labels = torch.lerp(labels, labels[:, partner], share[:, None])
        for models, stack in stack_chunks(group.stack):
            points = []
            for chunk in image_chunks(own.shape[1]):
                images, mates = scaled(pixels[own[models, chunk]]), scaled(pixels[own[models][:, partner[chunk]]])
                mixed = torch.lerp(images, mates, share[chunk, None, None, None].float())
                points.append(halves.hidden(stack, mixed).flatten(2))
            variations[group.members[models]] = label_variation(torch.cat(points, 1), labels[models])
    return variations


def mixing_draws(count: int) -> tuple[Tensor, Tensor]:
    """Random shares from Beta(2, 2), float64 [count], and partners, a permutation of the positions, int64 [count]."""
    stream = torch.Generator().manual_seed(0)
    # The median of three uniform numbers has this distribution.
    share = torch.rand(count, 3, generator=stream, dtype=torch.float64).median(1).values
    return share, torch.randperm(count, generator=stream)


def label_variation(points: Tensor, labels: Tensor) -> Tensor:
    """The mean over points of <y, y - y'>, y' the label of its nearest neighbor (the mean over ties).

    Neighbors are nearest by angle; a zero vector stays zero.

    Args:
        points: [M, n, D].
        labels: float64 [M, n, classes], the share of each class.
    """
    unit = F.normalize(points.double(), dim=2)
    distances = torch.cdist(unit, unit).square()
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    near = (distances <= distances.amin(2, keepdim=True) + SAME_DISTANCE).double()
    neighbors = near @ labels / near.sum(2, keepdim=True)
    return (labels * (labels - neighbors)).sum(2).mean(1)


_CITATION = "Natekar & Sharma 2020, arXiv:2012.02775"

MEASURES = (
    Measure(
        name="davies-bouldin",
        function=davies_bouldin,
        access="train-data",
        cost="multi-pass",
        formula="Davies-Bouldin index of the first hidden layer (max-pooled 4x4), labels as clusters; 1,000 images",
        citation=_CITATION,
    ),
    Measure(
        name="davies-bouldin-mixup",
        function=davies_bouldin_mixup,
        access="train-data",
        cost="multi-pass",
        formula="davies-bouldin x mixup-error",
        citation=f"{_CITATION}, winner of PGDL",
    ),
    Measure(
        name="penultimate-norm-variance",
        function=penultimate_norm_variance,
        access="train-data",
        cost="multi-pass",
        formula="variance over images of ||h||, h = input of the last layer; 1,000 images",
        citation="a simple companion of penultimate-label-variation",
    ),
    Measure(
        name="penultimate-label-variation",
        function=penultimate_label_variation,
        access="train-data",
        cost="multi-pass",
        formula="mean <y, y - y'>, y' = label of the nearest neighbor at the input of the last layer; 500 "
        "images, mixed",
        citation="Lassance et al. 2020, arXiv:2011.12737 (VPM, team BrAIn of PGDL)",
    ),
)
