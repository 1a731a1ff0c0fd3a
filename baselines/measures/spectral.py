"""Spectral norms of the layers: a convolution counts as its kernel, reshaped to out x rest."""

from torch import Tensor

from baselines.interface import Measure
from baselines.measures.context import MeasureContext
from baselines.measures.norms import log_product
from baselines.measures.output import NO_POSITIVE_MARGIN


def log_prod_of_spec(context: MeasureContext) -> Tensor:
    """sum_l ln ||W_l||_2^2; undefined where a layer is zero."""
    return log_product(context, [values[:, 0].square() for values in context.singular_values])


def log_prod_of_spec_over_margin(context: MeasureContext) -> Tensor:
    """sum_l ln ||W_l||_2^2 - 2 ln gamma; undefined where a layer is zero or gamma <= 0."""
    gamma = context.margin
    context.undefined(gamma <= 0, NO_POSITIVE_MARGIN)
    return log_prod_of_spec(context) - 2 * gamma.log()


MEASURES = (
    Measure(
        name="log-prod-of-spec",
        function=log_prod_of_spec,
        access="weights",
        cost="weights",
        formula="sum_l ln ||W_l||_2^2",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 32",
    ),
    Measure(
        name="log-prod-of-spec-over-margin",
        function=log_prod_of_spec_over_margin,
        access="train-data",
        cost="pass",
        formula="sum_l ln ||W_l||_2^2 - 2 ln gamma, gamma = 10th percentile of the training margins",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 31",
    ),
)
