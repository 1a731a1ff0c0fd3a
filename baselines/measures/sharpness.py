"""Sharpness: PAC-Bayes measures with the worst perturbation in a box in place of noise.

alpha is ``perturbations.largest_box``, m the number of training images, omega the number of weights and biases. The
largest of omega normal variables with standard deviation alpha/sqrt(2 ln(2 omega)) is at most alpha on average, which
turns ||d||^2/(4 sigma^2) of ``pac_bayes`` into ||d||^2 2 ln(2 omega)/(4 alpha^2); as published, the factor 2 is
omitted. With a probability delta, ln(2 omega/delta) takes the place of ln(2 omega).
"""

from math import log

from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.norms import distance_from_initialization, weight_norm
from baselines.measures.perturbations import at_tolerated_size, largest_box, sample_term


def sharpness_init(context: MeasureContext) -> Tensor:
    """||w - w0||^2 ln(2 omega)/(4 alpha^2) + ln(m/alpha) + 10; undefined without the initialization."""
    return _bound(context, distance_from_initialization(context))


def sharpness_orig(context: MeasureContext) -> Tensor:
    """||w||^2 ln(2 omega)/(4 alpha^2) + ln(m/alpha) + 10."""
    return _bound(context, weight_norm(context))


def sharpness_flatness(context: MeasureContext) -> Tensor:
    """1/alpha^2."""
    return at_tolerated_size(context, largest_box, lambda alpha: alpha.square().reciprocal())


def _bound(context: MeasureContext, distance: Tensor) -> Tensor:
    factor = log(2 * context.folded_architecture.size) / 4

    def bound(alpha: Tensor) -> Tensor:
        return factor * distance.square() / alpha.square() + sample_term(context, alpha)

    return at_tolerated_size(context, largest_box, bound)


MEASURES = (
    Measure(
        name="sharpness-init",
        function=sharpness_init,
        access="train-data",
        cost="search",
        formula="||w - w0||^2 ln(2 omega)/(4 alpha^2) + ln(m/alpha) + 10, worst of box alpha costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 51",
    ),
    Measure(
        name="sharpness-orig",
        function=sharpness_orig,
        access="train-data",
        cost="search",
        formula="||w||^2 ln(2 omega)/(4 alpha^2) + ln(m/alpha) + 10, worst of box alpha costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 52",
    ),
    Measure(
        name="sharpness-flatness",
        function=sharpness_flatness,
        access="train-data",
        cost="search",
        formula="1/alpha^2, worst of box alpha costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 54; Keskar et al. 2017, arXiv:1609.04836",
    ),
)
