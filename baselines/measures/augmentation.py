"""Alterations of training images that should not change the prediction of a network.

Random parameters of an alteration are drawn once for each image of the data set, from a fixed seed.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from baselines.measures import transformations as to
from baselines.measures.chunks import Chunk, chunks
from baselines.measures.context import Group, MeasureContext
from baselines.measures.margins import hidden_margin
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.stack import Stack, forward

PENALTY_IMAGES = 1000
# The penalty of a changed prediction, by alteration: github.com/sumukhaithal6/pgdl, runner_up_solution/complexity.py.
PENALTIES = {"flip": 6, "saturation": 1, "crop": 2, "sobel": 3, "brightness": 1, "flip-saturation": 12, "erasing": 2}
COLOURED = ("saturation", "flip-saturation")


def alterations(images: Tensor, draws: Tensor) -> dict[str, Tensor]:
    """The images under each alteration of ``PENALTIES``; alterations of colours only with three channels.

    Args:
        images: float [N, C, H, W] in [-1, 1].
        draws: [N, 6] in [0, 1).
    """
    flipped = to.flipped(images)
    altered = {
        "flip": flipped,
        "crop": to.centre(images, 0.9),
        "sobel": to.horizontal_sobel(images),
        "brightness": to.brightened(images, 0.5),
        "erasing": to.erased(images, draws[:, :4]),
    }
    if images.shape[1] == 3:
        still = torch.zeros(len(images))
        altered["saturation"] = to.recoloured(images, still, 0.6 + draws[:, 4])
        altered["flip-saturation"] = to.recoloured(flipped, still, 0.6 + draws[:, 5])
    return altered


@torch.no_grad()
def penalties(context: MeasureContext) -> dict[str, Tensor]:
    """The mean over images of each alteration's penalty: {name: float64 [M]}.

    The penalty is that of ``PENALTIES`` if the prediction changes, and otherwise |change of the probability of the
    predicted class|. Saturation does not alter grey images.

    Raises:
        NotApplicable: the images are too small for a derivative.
    """
    channels, *size = context.architecture.input_shape
    if min(size) < 2:
        raise NotApplicable(f"images of {size[0]}x{size[1]} have no edges")
    pixels = context.train.images
    draws = uniform_draws(len(pixels), 6)
    # [0] whether the prediction changes, [1] otherwise the change of its probability.
    found = {name: torch.zeros(2, len(context), dtype=torch.float64) for name in PENALTIES}
    for group in context.groups(PENALTY_IMAGES):
        own = torch.from_numpy(group.indices)
        for at, stack in chunks(group.stack, own.shape[1]):
            images, members = scaled(pixels[own[at]]), group.members[at[0]]
            probability, prediction = _top(stack, images)
            for name, altered in alterations(images.flatten(0, 1), draws[own[at]].flatten(0, 1)).items():
                new_probability, new_prediction = _top(stack, altered.unflatten(0, images.shape[:2]))
                same = new_prediction == prediction
                shifts = (new_probability - probability).abs() * same
                found[name][:, members] += torch.stack([(~same).sum(1), shifts.sum(1)]) / own.shape[1]
    if channels != 3:
        found["flip-saturation"] = found["flip"]
    return {name: PENALTIES[name] * changed + shift for name, (changed, shift) in found.items()}


def _top(stack: Stack, images: Tensor) -> torch.return_types.max:
    """The largest probability and its class, each [M, B]."""
    return forward(stack.architecture, stack.parameters, images).double().softmax(-1).max(-1)


def uniform_draws(images: int, number: int) -> Tensor:
    """``number`` uniform draws from [0, 1) for every image, the same at every call: float32 [images, number]."""
    return torch.rand(images, number, generator=torch.Generator().manual_seed(0))


def always_generalize(context: MeasureContext) -> Tensor:
    """The sum of all ``penalties``."""
    return torch.stack(list(context.once(penalties).values())).sum(0)


def penalty(context: MeasureContext, *, alteration: str) -> Tensor:
    """One of ``penalties``.

    Raises:
        NotApplicable: the alteration is one of colours, and the images are grey.
    """
    if alteration in COLOURED and context.architecture.input_shape[0] != 3:
        raise NotApplicable("the images have no colours")
    return context.once(penalties)[alteration]


def augmentation_margin(context: MeasureContext) -> Tensor:
    """Minus the mean margin (``margins.hidden_margin``) of augmented training images."""
    pixels = context.train.images
    draws = uniform_draws(len(pixels), 7)

    def augmentations(group: Group) -> Callable[[Chunk], Tensor]:
        own = torch.from_numpy(group.indices)

        def some(at: Chunk) -> Tensor:
            images = scaled(pixels[own[at]])
            return augmented(images.flatten(0, 1), draws[own[at]].flatten(0, 1)).unflatten(0, images.shape[:2])

        return some

    return -hidden_margin(context, augmentations)


def augmented(images: Tensor, draws: Tensor) -> Tensor:
    """Flip, colour and zoom, distributed as in ``augment.py`` of github.com/parthnatekar/pgdl.

    A flip in half of the cases; hue shifted by up to 0.05, saturation times 0.6 to 1.2, brightness shifted by up to
    0.05 (of the range), contrast times 0.7 to 1; in half of the cases a zoom to the central 0.85, 0.86, ... 0.99.

    Args:
        images: float [N, C, H, W] in [-1, 1]; hue and saturation change only if C is 3.
        draws: [N, 7] in [0, 1).
    """
    flip, hue, saturation, brightness, contrast, zoom, scale = draws.unbind(1)
    images = torch.where((flip < 0.5)[:, None, None, None], to.flipped(images), images)
    if images.shape[1] == 3:
        images = to.recoloured(images, 0.1 * hue - 0.05, 0.6 + 0.6 * saturation)
    images = to.brightened(images, (0.1 * brightness - 0.05)[:, None, None, None])
    images = to.contrasted(images, 0.7 + 0.3 * contrast)
    return to.zoomed(images, torch.where(zoom < 0.5, 1.0, 0.85 + 0.01 * (15 * scale).floor()))


_CITATION = "Aithal et al. 2021, arXiv:2101.06459 (team Always Generalize of PGDL), weights of their code"
_WHAT = {
    "flip": "a horizontal flip",
    "saturation": "saturation times U(0.6, 1.6)",
    "crop": "the central 90 %, resized",
    "sobel": "the horizontal Sobel derivative",
    "brightness": "brightness + 0.5",
    "flip-saturation": "flip and saturation at once",
    "erasing": "a random black rectangle",
}

MEASURES = (
    Measure(
        name="always-generalize",
        function=always_generalize,
        access="train-data",
        cost="multi-pass",
        formula="sum of the seven penalties, from flip-penalty to erasing-penalty; 1,000 images",
        citation=_CITATION,
    ),
    *(
        Measure(
            name=f"{alteration}-penalty",
            function=partial(penalty, alteration=alteration),
            access="train-data",
            cost="multi-pass",
            formula=f"mean of {weight} if the prediction changes, else |change of its probability|, under "
            f"{_WHAT[alteration]}; 1,000 images",
            citation=_CITATION,
        )
        for alteration, weight in PENALTIES.items()
    ),
    Measure(
        name="augmentation-margin",
        function=augmentation_margin,
        access="train-data",
        cost="multi-pass",
        formula="-mean margin / width at the first hidden layer under random flip, colour and zoom; 1,000 images",
        citation="Natekar & Sharma 2020, arXiv:2012.02775, augment margin",
    ),
)
