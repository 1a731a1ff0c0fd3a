"""Mixtures of training images: are they classified like the images that they are mixed from?

The mixture of an image with another at strength a is (1 - a) image + a other, of pixels or of their representations at
the first hidden layer. There are no random draws: the order of a model's training images is already random, and an
image is mixed with the next one of its label (cyclically; with itself if there is no other), or of another label.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.measures.chunks import Chunk, chunks
from baselines.measures.context import Group, MeasureContext
from baselines.measures.hidden_layers import at_first_hidden_layer
from baselines.measures.margins import hidden_margin
from baselines.measures.measure import Measure
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.stack import forward

ERROR_IMAGES = 1000
CURVE_IMAGES = 500
# Strengths of a curve as shares of the largest strength, 1/2, at which both images have the same weight.
STRENGTHS = torch.linspace(0, 1, 11, dtype=torch.float64)
LAYERS = ["input", "hidden"]
ONE_LABEL = "all of its training images have one label"


def next_of_same_label(labels: Tensor) -> Tensor:
    """The next position, cyclically, with the same label: int64 [M, n] -> int64 [M, n].

    >>> next_of_same_label(torch.tensor([[0, 1, 0, 2]]))
    tensor([[2, 1, 0, 3]])
    """
    order = labels.argsort(dim=1, stable=True)
    ranked = labels.gather(1, order)
    first = order.gather(1, torch.searchsorted(ranked, ranked))
    following = torch.where(ranked == ranked.roll(-1, 1), order.roll(-1, 1), first)
    return torch.empty_like(labels).scatter_(1, order, following)


def next_of_other_label(labels: Tensor) -> Tensor:
    """The next position, cyclically, with another label, or the same position if there is none: [M, n] -> [M, n].

    >>> next_of_other_label(torch.tensor([[0, 0, 1]]))
    tensor([[2, 2, 0]])
    """
    count = labels.shape[1]
    positions = torch.arange(2 * count).expand(len(labels), -1)
    last_of_run = (labels != labels.roll(-1, 1)).repeat(1, 2)
    ends = torch.where(last_of_run, positions, 2 * count).flip(1).cummin(1).values.flip(1)[:, :count]
    return torch.where(ends < 2 * count, (ends + 1) % count, positions[:, :count])


def mean_over_labels(values: Tensor, labels: Tensor) -> Tensor:
    """The mean over labels of the mean within each: [M, n] of any dtype, int64 [M, n] -> float64 [M]."""
    member = F.one_hot(labels).double()
    counts = member.sum(1)
    return ((values.double()[..., None] * member).sum(1) / counts).nanmean(1)


def mixup_error(context: MeasureContext) -> Tensor:
    """1 - the accuracy on even mixtures of two training images of one label, which should have that label."""
    return context.once(error_on_mixtures)


@torch.no_grad()
def error_on_mixtures(context: MeasureContext) -> Tensor:
    """``mixup_error``."""
    errors = torch.empty(len(context), dtype=torch.float64)
    pixels = context.train.images
    for group in context.groups(ERROR_IMAGES):
        own, labels = torch.from_numpy(group.indices), group.labels
        other = own.gather(1, next_of_same_label(labels))
        wrong = torch.empty_like(labels, dtype=torch.bool)
        for at, stack in chunks(group.stack, own.shape[1]):
            mixed = (scaled(pixels[own[at]]) + scaled(pixels[other[at]])) / 2
            wrong[at] = forward(stack.architecture, stack.parameters, mixed).argmax(-1) != labels[at]
        errors[group.members] = mean_over_labels(wrong, labels)
    return errors


def mixup_margin(context: MeasureContext) -> Tensor:
    """Minus the mean margin (``hidden_margin``) of even mixtures of two training images of one label."""
    pixels = context.train.images

    def mixtures(group: Group) -> Callable[[Chunk], Tensor]:
        own = torch.from_numpy(group.indices)
        other = own.gather(1, next_of_same_label(group.labels))
        return lambda at: (scaled(pixels[own[at]]) + scaled(pixels[other[at]])) / 2

    return -hidden_margin(context, mixtures)


@torch.no_grad()
def curves(context: MeasureContext) -> dict[tuple[str, str], Tensor]:
    """Accuracy against the strength of mixing: {("intra" or "inter", "input" or "hidden"): float64 [M, strengths]}.

    Each image is mixed with one of its own label ("intra") or of another ("inter"), and the mixture should have the
    label of the image; NaN where there is no other label.
    """
    halves = at_first_hidden_layer(context.architecture)
    partners = {"intra": next_of_same_label, "inter": next_of_other_label}
    pixels = context.train.images
    keys = [(kind, layer) for kind in partners for layer in LAYERS]
    found = {key: torch.empty(len(context), len(STRENGTHS), dtype=torch.float64) for key in keys}
    for group in context.groups(CURVE_IMAGES):
        own, labels = torch.from_numpy(group.indices), group.labels
        others = {kind: own.gather(1, partner(labels)) for kind, partner in partners.items()}
        right = {key: torch.zeros(len(labels), len(STRENGTHS), dtype=torch.float64) for key in keys}
        for at, stack in chunks(group.stack, labels.shape[1]):
            image = scaled(pixels[own[at]])
            hidden = halves.hidden(stack, image)
            unmixed = halves.logits(stack, hidden)
            for kind, other in others.items():
                mate = scaled(pixels[other[at]])
                hidden_mate = halves.hidden(stack, mate)
                for number, share in enumerate((STRENGTHS / 2).tolist()):
                    outputs = {"input": unmixed, "hidden": unmixed}
                    if share:
                        mixed = torch.lerp(image, mate, share)
                        outputs["input"] = forward(stack.architecture, stack.parameters, mixed)
                        outputs["hidden"] = halves.logits(stack, torch.lerp(hidden, hidden_mate, share))
                    for layer, logits in outputs.items():
                        right[kind, layer][at[0], number] += (logits.argmax(-1) == labels[at]).sum(1)
        single = (labels == labels[:, :1]).all(1)
        for (kind, layer), table in right.items():
            if kind == "inter":
                table[single] = torch.nan
            found[kind, layer][group.members] = table / labels.shape[1]
    return found


def gi_score(accuracy: Tensor) -> Tensor:
    """The area between the cumulative curves of a perfectly robust network and of this one: [M, strengths] -> [M].

    The integral over t in [0, 1] of t - P(t), where P(t) is the trapezoidal integral of the accuracy up to strength t.

    >>> gi_score(torch.ones(1, 11, dtype=torch.float64)).abs() < 1e-12
    tensor([True])
    """
    return torch.trapezoid(STRENGTHS - cumulated(accuracy), STRENGTHS)


def pal_ratio(accuracy: Tensor) -> Tensor:
    """The area below P (``gi_score``) over the strongest 60 % of perturbations by that over the weakest 10 %."""
    strong, weak = STRENGTHS >= 0.4 - 1e-9, STRENGTHS <= 0.1 + 1e-9
    below = cumulated(accuracy)
    areas = [torch.trapezoid(below[:, part], STRENGTHS[part]) for part in (strong, weak)]
    return areas[0] / areas[1]


def cumulated(accuracy: Tensor) -> Tensor:
    """P at each strength, the integral of the accuracy from 0: [M, strengths] -> [M, strengths]."""
    return F.pad(torch.cumulative_trapezoid(accuracy, STRENGTHS), (1, 0))


def gi(context: MeasureContext, *, kind: str, layer: str) -> Tensor:
    """``gi_score`` of one of the ``curves``."""
    return gi_score(_curve(context, kind, layer))


def pal(context: MeasureContext, *, kind: str, layer: str) -> Tensor:
    """Minus ``pal_ratio`` of one of the ``curves``; undefined where no weak mixture is classified correctly."""
    accuracy = _curve(context, kind, layer)
    context.undefined((accuracy[:, :2] == 0).all(1), "no image is classified correctly under the weakest perturbations")
    return -pal_ratio(accuracy)


def _curve(context: MeasureContext, kind: str, layer: str) -> Tensor:
    accuracy = context.once(curves)[kind, layer]
    context.undefined(accuracy.isnan().any(1), ONE_LABEL)
    return accuracy


_CITATION = "Natekar & Sharma 2020, arXiv:2012.02775"
_CURVES = {
    "intra": "one of its label",
    "inter": "one of another label",
    "input": "pixels",
    "hidden": "the first hidden layer",
}
_SCORES = {
    "gi-score": (gi, "integral of t - P(t)"),
    "pal-score": (pal, "-(area below P for t >= .4) / (area below P for t <= .1)"),
}

MEASURES = (
    Measure(
        name="mixup-error",
        function=mixup_error,
        access="train-data",
        cost="multi-pass",
        formula="1 - accuracy (mean over labels) on (x + x')/2, x' the next of x's label; 1,000 images",
        citation=f"{_CITATION}, label-wise mixup",
    ),
    Measure(
        name="mixup-margin",
        function=mixup_margin,
        access="train-data",
        cost="multi-pass",
        formula="-mean margin / width at the first hidden layer of (x + x')/2, x' the next of x's label; 1,000 images",
        citation=f"{_CITATION}, mixup margin",
    ),
    *(
        Measure(
            name=f"{score}-{kind}-{layer}",
            function=partial(function, kind=kind, layer=layer),
            access="train-data",
            cost="multi-pass",
            formula=f"{formula}, P = integral of accuracy along mixing strength; with {_CURVES[kind]}, "
            f"{_CURVES[layer]}; 500 images",
            citation="Schiff et al. 2021, arXiv:2106.04765 (first arXiv:2104.03469)",
        )
        for score, (function, formula) in _SCORES.items()
        for kind, layer in product(("intra", "inter"), LAYERS)
    ),
)
