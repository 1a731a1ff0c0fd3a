"""Spectral norms of the layers, in two variants.

S_l is the squared largest singular value of layer l, S0_l that of its change since initialization, F_l and F0_l the
squared Frobenius norms, gamma the 10th percentile of the training margins, d the number of layers.

- No suffix: a convolution counts as its kernel, reshaped to out x rest.
- "-fft": a convolution counts as a linear map of images (Sedghi et al. 2018, arXiv:1805.10408) with circular padding.
  F_l and F0_l are those of the kernel, as in Dziugaite et al. 2020 (arXiv:2010.11924). There, every layer reads an
  image of the network's input size with stride 1; here, each layer has its actual input size and stride.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import pi

import torch
from torch import Tensor
from torch.nn import functional

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.norms import changes, log_product, log_sum, squared_frobenius
from baselines.measures.output import squared_margin
from zoo_builder.networks.architecture import Conv


def operator_norm(weight: Tensor, size: tuple[int, int], stride: int = 1) -> Tensor:
    """The largest singular value of M circular convolutions on images of ``size``: float64 [M, out, in, k, k] -> [M].

    A side that the stride does not divide is rounded up to its next multiple. Zero padding is ignored: the norm of a
    layer that pads its image is at most that of the circular convolution on the padded image, and the norm of a layer
    that does not pad is at most the result.

    The Fourier transform splits a convolution of stride 1 into one out x in matrix per frequency. One of stride s is
    one of stride 1 that reads the s^2 interleaved images as channels: out x (in s^2) on an image s times smaller.
    """
    kernel = -(-weight.shape[-1] // stride)
    missing = kernel * stride - weight.shape[-1]
    padded = functional.pad(weight, (0, missing, 0, missing))
    split = padded.unflatten(4, (kernel, stride)).unflatten(3, (kernel, stride))
    split = split.permute(0, 3, 5, 1, 2, 4, 6).flatten(4).flatten(1, 2)  # [M, positions, out, in s^2]
    if split.shape[2] > split.shape[3]:
        split = split.transpose(2, 3)
    # A kernel with one position has the same matrix at every frequency; opposite frequencies have the same norm.
    height, width = ((-(-side // stride)) if kernel > 1 else 1 for side in size)
    position = torch.arange(kernel, dtype=torch.float64)
    largest = torch.zeros(len(weight), dtype=torch.float64)
    for row, column in product(range(height), range(width // 2 + 1)):
        phase = 2 * pi * (row / height * position[:, None] + column / width * position).flatten()
        real, imaginary = (torch.einsum("p,mpoi->moi", wave, split) for wave in (phase.cos(), -phase.sin()))
        matrix = torch.complex(real, imaginary)
        largest = largest.maximum(torch.linalg.eigvalsh(matrix @ matrix.mH)[:, -1])
    return largest.clamp(min=0).sqrt()


def matrix_norms(context: MeasureContext) -> Tensor:
    """S_l with layers as matrices, float64 [layers, M]."""
    return torch.stack([values[:, 0].square() for values in context.singular_values])


def matrix_norms_of_changes(context: MeasureContext) -> Tensor:
    """S0_l with layers as matrices, float64 [layers, M]."""
    return torch.stack([torch.linalg.svdvals(change.flatten(2))[:, 0].square() for change in changes(context)])


def map_norms(context: MeasureContext) -> Tensor:
    """S_l with layers as maps of images, float64 [layers, M]."""
    return context.once(_map_norms)


def map_norms_of_changes(context: MeasureContext) -> Tensor:
    """S0_l with layers as maps of images, float64 [layers, M]."""
    return _as_maps(context, changes(context))


def _map_norms(context: MeasureContext) -> Tensor:
    return _as_maps(
        context, [context.parameters[f"{place.name}.weight"] for place in context.folded_architecture.weighted]
    )


def _as_maps(context: MeasureContext, weights: list[Tensor]) -> Tensor:
    norms = []
    for place, weight in zip(context.folded_architecture.weighted, weights, strict=True):
        if isinstance(place.layer, Conv):
            _, height, width = place.input_shape
            norms.append(operator_norm(weight, (height, width), place.layer.stride))
        else:
            norms.append(torch.linalg.svdvals(weight)[:, 0])
    return torch.stack(norms).square()


# Every measure takes one of these as `norms`.
Norms = Callable[[MeasureContext], Tensor]


def log_prod_of_spec(context: MeasureContext, norms: Norms) -> Tensor:
    """sum_l ln S_l; undefined where a layer is zero."""
    return log_product(context, norms(context))


def log_prod_of_spec_over_margin(context: MeasureContext, norms: Norms) -> Tensor:
    """sum_l ln S_l - 2 ln gamma; undefined where a layer is zero or gamma <= 0."""
    return log_prod_of_spec(context, norms) - squared_margin(context).log()


def log_sum_of_spec(context: MeasureContext, norms: Norms) -> Tensor:
    """ln d + 1/d sum_l ln S_l; undefined where a layer is zero."""
    return log_sum(context, log_prod_of_spec(context, norms))


def log_sum_of_spec_over_margin(context: MeasureContext, norms: Norms) -> Tensor:
    """ln d + 1/d (sum_l ln S_l - 2 ln gamma); undefined where a layer is zero or gamma <= 0."""
    return log_sum(context, log_prod_of_spec_over_margin(context, norms))


def fro_over_spec(context: MeasureContext, norms: Norms) -> Tensor:
    """sum_l F_l / S_l; undefined where a layer is zero."""
    return _sum_of_ratios(context, squared_frobenius(context.matrices), norms)


def spec_orig_main(context: MeasureContext, norms: Norms) -> Tensor:
    """sum_l ln S_l - 2 ln gamma + ln sum_l F_l / S_l; undefined where a layer is zero or gamma <= 0."""
    return log_prod_of_spec_over_margin(context, norms) + fro_over_spec(context, norms).log()


def spec_init_main(context: MeasureContext, norms: Norms) -> Tensor:
    """sum_l ln S_l - 2 ln gamma + ln sum_l F0_l / S_l; undefined also where no weight has changed."""
    ratios = _sum_of_ratios(context, squared_frobenius(changes(context)), norms)
    context.undefined(ratios == 0, "the weights have not changed since initialization")
    return log_prod_of_spec_over_margin(context, norms) + ratios.log()


def dist_spec_init(context: MeasureContext, norms: Norms) -> Tensor:
    """sum_l S0_l, with S0 as ``norms``; undefined without the initialization."""
    return norms(context).sum(0)


def _sum_of_ratios(context: MeasureContext, frobenius: Tensor, norms: Norms) -> Tensor:
    """sum_l frobenius[l] / S_l, [M]; undefined where a layer is zero."""
    spectral = norms(context)
    context.undefined((spectral == 0).any(0), "all weights of a layer are zero")
    return (frobenius / spectral).sum(0)


def _measures(suffix: str, norms: Norms, norms_of_changes: Norms, meaning: str, source: str) -> Iterator[Measure]:
    """The rows of one variant of S."""
    over_margin = "sum_l ln S_l - 2 ln gamma"
    for number, name, function, formula in (
        (32, "log-prod-of-spec", log_prod_of_spec, "sum_l ln S_l"),
        (31, "log-prod-of-spec-over-margin", log_prod_of_spec_over_margin, over_margin),
        (35, "log-sum-of-spec", log_sum_of_spec, "ln d + 1/d sum_l ln S_l"),
        (34, "log-sum-of-spec-over-margin", log_sum_of_spec_over_margin, f"ln d + 1/d ({over_margin})"),
        (33, "fro-over-spec", fro_over_spec, "sum_l ||W_l||_F^2 / S_l"),
        (30, "spec-orig-main", spec_orig_main, f"{over_margin} + ln sum_l ||W_l||_F^2 / S_l"),
        (29, "spec-init-main", spec_init_main, f"{over_margin} + ln sum_l ||W_l - W0_l||_F^2 / S_l"),
        (41, "dist-spec-init", dist_spec_init, "sum_l S_l of W - W0"),
    ):
        reads_data = "gamma" in formula
        yield Measure(
            name=name + suffix,
            function=partial(function, norms=norms_of_changes if function is dist_spec_init else norms),
            access="train-data" if reads_data else "weights",
            cost="pass" if reads_data else "weights",
            formula=f"{formula}; {meaning}",
            citation=f"Jiang et al. 2019, arXiv:1912.02178, eq. {number}{source}",
        )


MEASURES = (
    *_measures("", matrix_norms, matrix_norms_of_changes, "S_l = ||W_l||_2^2, W_l as out x rest", ""),
    *_measures(
        "-fft",
        map_norms,
        map_norms_of_changes,
        "S_l = squared norm of layer l as a circular convolution",
        "; Sedghi et al. 2018, arXiv:1805.10408",
    ),
)
