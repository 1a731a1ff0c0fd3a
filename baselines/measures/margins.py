"""Margins at the input, hidden layers and the output: distances of a layer's values to a tie of the two best classes.

For the correct class y and the best other class j, the distance of an image to a tie at the layer h is, to first order,
(f_y - f_j) / ||grad_h (f_y - f_j)|| (Jiang et al. 2018, arXiv:1810.00113). Distances at different layers become
comparable after division by a width of the layer: the square root of its total variation (the variance over images,
summed over units), or its k-variance, the cost of moving one half of the images of a label onto the other half (Chuang
et al. 2021, arXiv:2106.03314). Margins keep their sign: that of a misclassified image is negative.

Measures read a model's first 2,000 training images, which are in a random order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import trim_mean
from torch import Tensor

from baselines.measures.chunks import Chunk, image_chunks, stack_chunks
from baselines.measures.context import Group, MeasureContext, margins
from baselines.measures.hidden_layers import Segment, at_first_hidden_layer
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.architecture import Activation, Architecture, Residual

IMAGES = 2000
ALTERED_IMAGES = 1000
LAYERS = ("input", "first", "lower", "middle", "last", "output")
CONSTANT_LAYER = "a layer has the same output for every image"


def layer_rows(architecture: Architecture) -> dict[str, int]:
    """The positions of ``LAYERS``: {name: the number of rows of the architecture before it}.

    Hidden layers are the outputs of activations (in a linear network, of layers with weights) that no shortcut
    bypasses. "first" is the first hidden layer; "lower", "middle" and "last" end the three thirds of the hidden layers,
    so that they are all hidden layers of a network with three, and the ends of the blocks of a network in network with
    three blocks, as in DEMOGEN. With fewer than three hidden layers, some coincide.

    Raises:
        NotApplicable: there is no hidden layer.
    """
    places = architecture.places
    bypassed = {
        row
        for number, layer in enumerate(architecture.layers)
        if isinstance(layer, Residual)
        for row in range(number - layer.span, number)
    }
    activations = [row for row, place in enumerate(places) if isinstance(place.layer, Activation)]
    hidden = activations or [places.index(place) for place in architecture.weighted[:-1]]
    hidden = [row + 1 for row in hidden if row not in bypassed]
    if not hidden:
        raise NotApplicable("the networks have no hidden layer that all paths go through")
    ends = [hidden[-(-len(hidden) * third // 3) - 1] for third in (1, 2, 3)]
    return dict(zip(LAYERS, (0, hidden[0], *ends, len(places)), strict=True))


@dataclass(frozen=True)
class ImageMargins:
    """The margins of one model's n images, and their gradients at its layers.

    Attributes:
        labels: int64 [n].
        margins: float64 [n], f_y - f_j.
        gradients: {layer: float64 [n]}, the norm of the gradient of f_y - f_j with respect to the layer.
        variations: {layer: its total variation}.
    """

    labels: Tensor
    margins: Tensor
    gradients: dict[str, Tensor]
    variations: dict[str, float]

    def distances(self, layer: str) -> Tensor:
        """Jiang's normalized distances, with 1e-6 added to the squared norm: float64 [n]; NaN at constant layers."""
        variation = self.variations[layer] or torch.nan
        return self.margins / (1e-6 + self.gradients[layer].square()).sqrt() / variation**0.5


def image_margins(context: MeasureContext) -> list[ImageMargins]:
    """The margins of all M models. One forward and one backward pass serve all layers, since images are independent."""
    places = layer_rows(context.architecture)
    cuts = sorted(set(places.values()))
    number_of = {layer: cuts.index(row) for layer, row in places.items()}
    segments = [Segment.between(context.architecture, *ends) for ends in pairwise(cuts)]
    pixels = context.train.images
    found: dict[int, ImageMargins] = {}
    for group in context.groups(IMAGES):
        labels, own = group.labels, torch.from_numpy(group.indices)
        differences = torch.empty(labels.shape, dtype=torch.float64)
        norms = torch.empty(len(cuts), *labels.shape, dtype=torch.float64)
        variations = torch.empty(len(cuts), len(labels), dtype=torch.float64)
        for models, stack in stack_chunks(group.stack):
            spreads = [_Spread() for _ in cuts]
            for chunk in image_chunks(labels.shape[1]):
                at = models, chunk
                states = [scaled(pixels[own[at]]).requires_grad_()]
                for segment in segments:
                    states.append(segment(stack, states[-1]))
                difference = margins(states[-1].flatten(2), labels[at])
                gradients = torch.autograd.grad(difference.sum(), states)
                differences[at] = difference.detach()
                for number, gradient in enumerate(gradients):
                    norms[number][at] = torch.linalg.vector_norm(gradient, dim=(2, 3, 4)).double()
                    spreads[number].add(states[number].detach())
            for number, spread in enumerate(spreads):
                variations[number, models] = spread.total_variation()
        for position, model in enumerate(group.members.tolist()):
            found[model] = ImageMargins(
                labels[position],
                differences[position],
                {layer: norms[number, position] for layer, number in number_of.items()},
                {layer: float(variations[number, position]) for layer, number in number_of.items()},
            )
    return [found[model] for model in range(len(context))]


class _Spread:
    """The total variation of a layer's values [m, B, C, H, W], which are added a chunk of images at a time."""

    def __init__(self) -> None:
        self.origin: Tensor | None = None
        self.count = 0

    def add(self, values: Tensor) -> None:
        if self.origin is None:
            # Differences to one image are small where the layer varies little, and exactly 0 where it is constant.
            self.origin = values[:, :1].clone()
            self.sums, self.squares = torch.zeros_like(self.origin[:, 0], dtype=torch.float64), 0
        values = values - self.origin
        self.count += values.shape[1]
        self.sums += values.sum(1)
        self.squares = self.squares + torch.linalg.vector_norm(values, dim=(1, 2, 3, 4)).double().square()

    def total_variation(self) -> Tensor:
        """float64 [m]."""
        mean = self.sums / self.count
        return (self.squares / self.count - mean.square().sum((1, 2, 3))).clamp(min=0)


@torch.no_grad()
def k_variances(context: MeasureContext) -> dict[str, Tensor]:
    """{"first" and "last": float64 [M, classes]}, the k-variance of each label at that layer; NaN below two images.

    It is the Wasserstein-1 distance with Euclidean costs between the features of the first k images of the label and of
    the next k, where k is half their number.
    """
    places = layer_rows(context.architecture)
    cuts = sorted({0, places["first"], places["last"]})
    segments = [Segment.between(context.architecture, *ends) for ends in pairwise(cuts)]
    pixels, classes = context.train.images, context.architecture.classes
    found = torch.full((2, len(context), classes), torch.nan, dtype=torch.float64)
    for group in context.groups(IMAGES):
        for position, model in enumerate(group.members.tolist()):
            stack, labels = group.stack.take(np.array([position])), group.labels[position]
            for label in labels.unique().tolist():
                own = torch.from_numpy(group.indices[position])[labels == label]
                half = len(own) // 2
                if not half:
                    continue
                states = [scaled(pixels[own[: 2 * half]])[None]]
                for segment in segments:
                    states.append(segment(stack, states[-1]))
                for layer, state in enumerate((states[1], states[-1])):
                    found[layer, model, label] = transport_cost(*state[0].flatten(1).split(half))
    return dict(zip(("first", "last"), found, strict=True))


def transport_cost(one: Tensor, other: Tensor) -> float:
    """The Wasserstein-1 distance with Euclidean costs between points [k, F] and [k, F] of weight 1/k.

    Infinite where a distance overflows.

    >>> transport_cost(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [1.0]]))
    1.5
    """
    # Distances come from inner products, which are exact only near the origin.
    distances = torch.cdist(one - one[:1], other - one[:1]).double().numpy()
    if not np.isfinite(distances).all():
        return np.inf
    return float(distances[linear_sum_assignment(distances)].mean())


def k_variance_margin(context: MeasureContext, layer: str) -> Tensor:
    """-median(f_y - f_j) / sum_c p_c V_c L_c; label c has share p_c, k-variance V_c and largest gradient norm L_c."""
    images = context.once(image_margins)
    classes = context.architecture.classes
    largest = torch.zeros(len(context), classes, dtype=torch.float64)
    for model, one in enumerate(images):
        largest[model].scatter_reduce_(0, one.labels, one.gradients[layer], "amax")
    return _over_k_variance(context, [one.margins for one in images], layer, largest)


def k_variance_gn_margin(context: MeasureContext, layer: str) -> Tensor:
    """-median((f_y - f_j) / (gradient norm + 1e-6)) / sum_c p_c V_c."""
    values = [one.margins / (one.gradients[layer] + 1e-6) for one in context.once(image_margins)]
    return _over_k_variance(context, values, layer, torch.ones(()))


def _over_k_variance(context: MeasureContext, values: list[Tensor], layer: str, factors: Tensor) -> Tensor:
    variances = context.once(k_variances)[layer]
    known = ~variances.isnan()
    context.undefined(~known.any(1), "no two of its training images have the same label")
    labels = [one.labels for one in context.once(image_margins)]
    counts = torch.stack([own.bincount(minlength=variances.shape[1]) for own in labels]) * known
    widths = (counts * variances.nan_to_num() * factors).sum(1) / counts.sum(1)
    context.undefined(
        widths == 0, "the layer has the same output for all images of a label, or does not affect the logits"
    )
    context.undefined(~widths.isfinite(), "the outputs of the layer overflow")
    return -_medians(values) / widths


def negative_median_distance(context: MeasureContext, layer: str) -> Tensor:
    """-median of Jiang's normalized distance at a layer; undefined where the layer is constant."""
    images = context.once(image_margins)
    context.undefined(torch.tensor([one.variations[layer] == 0 for one in images]), CONSTANT_LAYER)
    return -_medians([one.distances(layer) for one in images])


def _medians(values: list[Tensor]) -> Tensor:
    return torch.from_numpy(np.array([np.median(own.numpy()) for own in values]))


def hidden_margin(context: MeasureContext, altered: Callable[[Group], Callable[[Chunk], Tensor]]) -> Tensor:
    """The mean normalized margin of altered training images at the first hidden layer h, float64 [M].

    The margin of an image is (f_y - f_j) / ||grad_h (f_y - f_j)||, j the best other class, negative where the image is
    misclassified and undefined where the gradient is zero. Margins are divided by the square root of the variance of h
    over images, averaged over its units without the lowest and the highest 5 %. After the code of Natekar & Sharma 2020
    (arXiv:2012.02775), which adds 1e-7 to both denominators.

    Args:
        altered: altered(group)(chunk) is float32 [m, B, C, H, W], the altered images of a chunk of the group.
    """
    halves = at_first_hidden_layer(context.architecture)
    means, widths = torch.empty(2, len(context), dtype=torch.float64)
    for group in context.groups(ALTERED_IMAGES):
        labels, images = group.labels, altered(group)
        distances = torch.empty(labels.shape, dtype=torch.float64)
        for models, stack in stack_chunks(group.stack):
            values = squares = torch.zeros(1)
            origin = None
            for chunk in image_chunks(labels.shape[1]):
                at = models, chunk
                with torch.no_grad():
                    hidden = halves.hidden(stack, images(at))
                hidden.requires_grad_()
                margin = margins(halves.logits(stack, hidden), labels[at])
                (gradient,) = torch.autograd.grad(margin.sum(), hidden)
                distances[at] = margin.detach() / gradient.flatten(2).double().norm(dim=2)
                flat = hidden.detach().flatten(2).double()
                # Relative to one image, the variance of a constant unit is exactly 0.
                origin = flat[:, :1] if origin is None else origin
                values, squares = values + (flat - origin).sum(1), squares + (flat - origin).square().sum(1)
            variances = squares / labels.shape[1] - (values / labels.shape[1]).square()
            widths[group.members[models]] = torch.from_numpy(trim_mean(variances.numpy(), 0.05, axis=1)).sqrt()
        distances[~distances.isfinite()] = torch.nan
        means[group.members] = distances.nanmean(1)
    context.undefined(widths == 0, "the first hidden layer has the same output for every image")
    context.undefined(means.isnan(), "the logits do not depend on the first hidden layer")
    return means / widths


_SAMPLE = "2,000 images"
_WHERE = {
    "input": "h the image",
    "first": "h after the first activation",
    "middle": "h after a middle activation",
    "last": "h after the last activation",
}


def _rows(
    name: str, function: Callable[..., Tensor], layers: tuple[str, ...], formula: str, citation: str
) -> list[Measure]:
    return [
        Measure(
            name=f"{name}-{layer}",
            function=partial(function, layer=layer),
            access="train-data",
            cost="multi-pass",
            formula=f"{formula}, {_WHERE[layer]}; {_SAMPLE}",
            citation=citation,
        )
        for layer in layers
    ]


MEASURES = (
    *_rows(
        "negative-layer-margin",
        negative_median_distance,
        ("input", "first", "middle", "last"),
        "-median of (f_y - f_j) / sqrt(1e-6 + ||grad_h (f_y - f_j)||^2) / sqrt(total variation of h)",
        "Jiang et al. 2018, arXiv:1810.00113",
    ),
    *_rows(
        "k-variance-margin",
        k_variance_margin,
        ("first", "last"),
        "-median(f_y - f_j) / sum_c p_c V_c max_c ||grad_h (f_y - f_j)||, V_c = W1 between halves of label c's h",
        "Chuang et al. 2021, arXiv:2106.03314, kV-Margin",
    ),
    *_rows(
        "k-variance-gn-margin",
        k_variance_gn_margin,
        ("first", "last"),
        "-median((f_y - f_j)/(||grad_h (f_y - f_j)|| + 1e-6)) / sum_c p_c V_c, V_c = W1 between halves of label c's h",
        "Chuang et al. 2021, arXiv:2106.03314, kV-GN-Margin",
    ),
)
