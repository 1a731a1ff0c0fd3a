"""Heavy tails of the layers' spectra: exponents of power laws, after Martin, Peng & Mahoney 2021.

The spectrum of a layer is the set of squared singular values of its weights. A k x k convolution counts as k^2 matrices
out x in, one per kernel position, whose spectra are pooled, as in the authors' program WeightWatcher (which by default
also scales them by k^2 / 2; this is not part of the formula and not done here). As there, layers whose shape allows
fewer than ``FEWEST`` eigenvalues are excluded. Heavier tails have smaller exponents, and are claimed to go with smaller
gaps.
"""

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable

FEWEST = 10


def mean_alpha(context: MeasureContext) -> Tensor:
    """Mean over layers of alpha; undefined where eigenvalues of a layer are 0 and fewer than ``FEWEST`` are left.

    Raises:
        NotApplicable: every layer is excluded.
    """
    exponents, _ = _tails(context)
    return exponents.mean(0)


def alpha_hat(context: MeasureContext) -> Tensor:
    """Mean over layers of alpha log10 lambda_max; otherwise as ``mean_alpha``."""
    exponents, largest = _tails(context)
    return (exponents * largest.log10()).mean(0)


def power_law_exponent(values: Tensor) -> Tensor:
    """Exponents of the power laws p(x) ~ x^-alpha, x >= x_min, fitted to the tails of M samples: [M, n] -> float64 [M].

    Every value of a sample is tried as x_min, with the maximum-likelihood alpha; the tail with the smallest
    Kolmogorov-Smirnov distance to its power law is chosen (Clauset, Shalizi & Newman 2009, arXiv:0706.1062, sec. 3.3).
    The distance is evaluated at the values, where the distribution of the sample counts the smaller ones, as in the
    authors' plfit and in the package powerlaw. Zeros are excluded; NaN where fewer than two distinct values are left.
    """
    logs = values.double().sort(dim=1).values.log()
    best = torch.full((len(logs),), torch.inf, dtype=torch.float64)
    exponents = torch.full_like(best, torch.nan)
    for start in range(logs.shape[1] - 1):
        excess = logs[:, start:] - logs[:, start : start + 1]  # ln(x / x_min)
        decay = excess.shape[1] / excess.sum(1)  # alpha - 1
        smaller = torch.arange(excess.shape[1], dtype=torch.float64) / excess.shape[1]
        distance = (1 - (-decay[:, None] * excess).exp() - smaller).abs().amax(1)
        better = (distance < best) & decay.isfinite() & logs[:, start].isfinite()
        best = torch.where(better, distance, best)
        exponents = torch.where(better, 1 + decay, exponents)
    return exponents


def _tails(context: MeasureContext) -> tuple[Tensor, Tensor]:
    """alpha and lambda_max of the layers that are not excluded, float64 [layers, M]."""
    spectra = context.once(_spectra)
    excluded = [place.name for place in context.folded_architecture.weighted if place.name not in spectra]
    if not spectra:
        raise NotApplicable(f"no layer has {FEWEST} eigenvalues")
    if excluded:
        all_models = torch.ones(len(context), dtype=torch.bool)
        context.remark(all_models, f"without {', '.join(excluded)}: fewer than {FEWEST} eigenvalues")
    for eigenvalues in spectra.values():
        few = (eigenvalues > 0).sum(1) < FEWEST
        context.undefined(few, f"a layer has fewer than {FEWEST} nonzero eigenvalues")
    exponents = context.once(_exponents)
    context.undefined(exponents.isnan().any(0), "the eigenvalues of a layer are all equal")
    return exponents, torch.stack([eigenvalues.amax(1) for eigenvalues in spectra.values()])


def _exponents(context: MeasureContext) -> Tensor:
    return torch.stack([power_law_exponent(eigenvalues) for eigenvalues in context.once(_spectra).values()])


def _spectra(context: MeasureContext) -> dict[str, Tensor]:
    """{layer: its eigenvalues, float64 [M, n]} for the layers with n >= ``FEWEST``."""
    spectra = {}
    for place in context.folded_architecture.weighted:
        weight = context.parameters[f"{place.name}.weight"]
        matrices = weight.flatten(3).permute(0, 3, 1, 2) if weight.dim() == 5 else weight[:, None]
        if matrices.shape[1] * min(matrices.shape[2:]) < FEWEST:
            continue
        values = torch.linalg.svdvals(matrices).flatten(1)
        # Singular values of 0 come out as rounding errors.
        rounding = values.amax(1, keepdim=True) * torch.finfo(torch.float64).eps * max(matrices.shape[2:])
        spectra[place.name] = values.where(values > rounding, 0).square()
    return spectra


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
