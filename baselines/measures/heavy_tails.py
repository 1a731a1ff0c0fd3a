"""How heavy the tails of the layers' spectra are: exponents of power laws, after Martin, Peng & Mahoney 2021.

The spectrum of a layer is the squared singular values of its weights. A convolution of k x k is k^2 matrices out x in,
one per kernel position, whose spectra are pooled, as the authors' program WeightWatcher does (which also multiplies
them by k^2 / 2: a constant of the architecture, left out here). A layer of fewer than ``FEWEST`` eigenvalues is left
out, as there. A heavier tail has a smaller exponent and is said to go with a smaller gap.
"""

import torch
from torch import Tensor

from baselines.interface import Measure
from baselines.measures.context import MeasureContext

FEWEST = 10


def mean_alpha(context: MeasureContext) -> Tensor:
    """Mean over layers of alpha; undefined where every layer is left out."""
    exponents, _ = context.once(_tails)
    return _mean(context, exponents)


def alpha_hat(context: MeasureContext) -> Tensor:
    """Mean over layers of alpha log10 lambda_max; undefined where every layer is left out."""
    exponents, largest = context.once(_tails)
    return _mean(context, exponents * largest.log10())


def power_law_exponent(values: Tensor) -> Tensor:
    """Exponents of the power laws p(x) ~ x^-alpha, x >= x_min, that fit the tails of M samples: [M, n] -> float64 [M].

    Each value of a sample is tried as x_min; alpha is that of maximum likelihood, and of all tails the one is taken
    whose Kolmogorov-Smirnov distance to its power law is smallest (Clauset, Shalizi & Newman 2009, arXiv:0706.1062,
    sec. 3.3). The distance is taken at the values, where the distribution of the sample counts the smaller ones, as in
    the authors' plfit and in the package powerlaw. Values of 0 are no part of a sample; NaN where fewer than two
    different ones are left.
    """
    logs = values.double().sort(dim=1).values.log()
    best = torch.full((len(logs),), torch.inf, dtype=torch.float64)
    exponents = torch.full_like(best, torch.nan)
    for start in range(logs.shape[1] - 1):
        excess = logs[:, start:] - logs[:, start : start + 1]  # ln(x / x_min)
        slope = excess.shape[1] / excess.sum(1)  # alpha - 1
        smaller = torch.arange(excess.shape[1], dtype=torch.float64) / excess.shape[1]
        distance = (1 - (-slope[:, None] * excess).exp() - smaller).abs().amax(1)
        better = (distance < best) & slope.isfinite() & logs[:, start].isfinite()
        best = torch.where(better, distance, best)
        exponents = torch.where(better, 1 + slope, exponents)
    return exponents


def _tails(context: MeasureContext) -> tuple[Tensor, Tensor]:
    """alpha and lambda_max, float64 [layers, M]; alpha is NaN where the layer is left out."""
    exponents, largest = [], []
    for place in context.architecture.weighted:
        weight = context.parameters[f"{place.name}.weight"]
        slices = weight.flatten(3).permute(0, 3, 1, 2) if weight.dim() == 5 else weight[:, None]
        eigenvalues = torch.linalg.svdvals(slices).square().flatten(1)
        top = eigenvalues.amax(1)
        # What rounding leaves of a zero is no eigenvalue.
        rank = torch.finfo(torch.float64).eps * max(slices.shape[2:])
        eigenvalues = eigenvalues.where(eigenvalues > top[:, None] * rank**2, 0)
        enough = (eigenvalues > 0).sum(1) >= FEWEST
        exponents.append(power_law_exponent(eigenvalues).where(enough, torch.nan))
        largest.append(top)
    return torch.stack(exponents), torch.stack(largest)


def _mean(context: MeasureContext, values: Tensor) -> Tensor:
    """The mean over the layers [layers, M] that are not NaN."""
    left_out = values.isnan().sum(0)
    context.undefined(left_out == len(values), f"no layer has a spectrum of {FEWEST} eigenvalues or more")
    for number in range(1, len(values)):
        context.remark(left_out == number, f"without {number} of {len(values)} layers: fewer than {FEWEST} eigenvalues")
    return values.nanmean(0)


MEASURES = (
    Measure(
        name="mean-alpha",
        function=mean_alpha,
        access="weights",
        cost="weights",
        formula="mean_l alpha_l, alpha_l = exponent of the power law in the tail of layer l's spectrum",
        citation="Martin, Peng & Mahoney 2021, arXiv:2002.06716; fit of Clauset et al. 2009, arXiv:0706.1062",
    ),
    Measure(
        name="alpha-hat",
        function=alpha_hat,
        access="weights",
        cost="weights",
        formula="mean_l alpha_l log10 lambda_l, lambda_l = largest eigenvalue of layer l's spectrum",
        citation="Martin, Peng & Mahoney 2021, arXiv:2002.06716; fit of Clauset et al. 2009, arXiv:0706.1062",
    ),
)
