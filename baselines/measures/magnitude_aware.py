"""PAC-Bayes and sharpness measures whose perturbations grow with the weights.

sigma' and alpha' are the sizes of ``perturbations`` with ``aware``, m is the number of training images, omega the
number of weights and biases, eps = ``perturbations.EPSILON``. For a displacement d from the center of the prior to the
weights, and noise of variance (size^2 d_i^2 + eps^2)/c, the Kullback-Leibler divergence to the best spherical Gaussian
prior is 1/2 sum_i ln((eps^2 + (size^2 + c) ||d||^2/omega)/(eps^2 + size^2 d_i^2)). All these measures are half of it,
with c = 1 for noise and c = 4 ln(2 omega) for a box. (With a probability delta: ln(2 omega/delta).)

So d = w where the prior is centered at 0 and d = w - w0 where it is centered at the initialization, in both places.
In eq. 57, the code of arXiv:2010.11924 has w - w0 in the denominator although the numerator has w. The result is not
such a divergence, but it ranks networks differently (tau .59 between the two on small CNNs): ``pac-bayes-mag-mixed``.
"""

from math import log

from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.perturbations import (
    EPSILON,
    Search,
    at_tolerated_size,
    largest_box,
    largest_noise,
    sample_term,
)


def pac_bayes_mag_init(context: MeasureContext) -> Tensor:
    """Half the divergence for d = w - w0 and sigma', + ln(m/sigma') + 10; undefined without the initialization."""
    return _noise_bound(context, context.change)


def pac_bayes_mag_orig(context: MeasureContext) -> Tensor:
    """Half the divergence for d = w and sigma', + ln(m/sigma') + 10."""
    return _noise_bound(context, context.weights)


def pac_bayes_mag_mixed(context: MeasureContext) -> Tensor:
    """``pac_bayes_mag_orig`` with d = w - w0 in the denominator only; undefined without the initialization."""
    return _noise_bound(context, context.weights, context.change)


def pac_bayes_mag_flatness(context: MeasureContext) -> Tensor:
    """1/sigma'^2."""
    return at_tolerated_size(context, largest_noise, lambda sigma: sigma.square().reciprocal(), aware=True)


def sharpness_mag_init(context: MeasureContext) -> Tensor:
    """Half the divergence for d = w - w0 and alpha', + ln(m/alpha') + 10; undefined without the initialization."""
    return _box_bound(context, context.change)


def sharpness_mag_orig(context: MeasureContext) -> Tensor:
    """Half the divergence for d = w and alpha', + ln(m/alpha') + 10."""
    return _box_bound(context, context.weights)


def sharpness_mag_flatness(context: MeasureContext) -> Tensor:
    """1/alpha'^2."""
    return at_tolerated_size(context, largest_box, lambda alpha: alpha.square().reciprocal(), aware=True)


def _noise_bound(context: MeasureContext, above: Tensor, below: Tensor | None = None) -> Tensor:
    return _bound(context, above, above if below is None else below, largest_noise, 1)


def _box_bound(context: MeasureContext, displacement: Tensor) -> Tensor:
    return _bound(context, displacement, displacement, largest_box, 4 * log(2 * context.folded_architecture.size))


def _bound(context: MeasureContext, above: Tensor, below: Tensor, search: Search, c: float) -> Tensor:
    """float64 [M] with d = ``above`` [M, omega] in the numerator and ``below`` in the denominator (see the top)."""

    def bound(size: Tensor) -> Tensor:
        scale = size.square()[:, None]
        prior = EPSILON**2 + (scale + c) * above.square().mean(1, keepdim=True)
        half = (prior / (EPSILON**2 + scale * below.square())).log().sum(1) / 4
        return half + sample_term(context, size)

    return at_tolerated_size(context, search, bound, aware=True)


MEASURES = (
    Measure(
        name="pac-bayes-mag-init",
        function=pac_bayes_mag_init,
        access="train-data",
        cost="search",
        formula="1/4 sum_i ln((eps^2 + (sigma'^2 + 1) ||d||^2/omega)/(eps^2 + sigma'^2 d_i^2)) + ln(m/sigma') + 10, "
        "d = w - w0",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 56",
        version=2,
    ),
    Measure(
        name="pac-bayes-mag-orig",
        function=pac_bayes_mag_orig,
        access="train-data",
        cost="search",
        formula="pac-bayes-mag-init with d = w",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 57 with w throughout",
        version=2,
    ),
    Measure(
        name="pac-bayes-mag-mixed",
        function=pac_bayes_mag_mixed,
        access="train-data",
        cost="search",
        formula="pac-bayes-mag-init with w for d in the numerator only",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 57 in the code of Dziugaite et al. 2020, arXiv:2010.11924",
        version=2,
    ),
    Measure(
        name="pac-bayes-mag-flatness",
        function=pac_bayes_mag_flatness,
        access="train-data",
        cost="search",
        formula="1/sigma'^2, noise of variance sigma'^2 w^2 + eps^2 costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 61",
        version=2,
    ),
    Measure(
        name="sharpness-mag-init",
        function=sharpness_mag_init,
        access="train-data",
        cost="search",
        formula="1/4 sum_i ln((eps^2 + (alpha'^2 + 4 ln(2 omega)) ||d||^2/omega)/(eps^2 + alpha'^2 d_i^2)) + "
        "ln(m/alpha') + 10, d = w - w0",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 58",
    ),
    Measure(
        name="sharpness-mag-orig",
        function=sharpness_mag_orig,
        access="train-data",
        cost="search",
        formula="sharpness-mag-init with d = w",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 59 with w throughout",
    ),
    Measure(
        name="sharpness-mag-flatness",
        function=sharpness_mag_flatness,
        access="train-data",
        cost="search",
        formula="1/alpha'^2, the worst of the box alpha' (|w_i| + 1) costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 62; Keskar et al. 2017, arXiv:1609.04836",
    ),
)
