"""Measures of the outputs on the training data.

gamma is the 10th percentile of the margins f_y - max_{j != y} f_j over a model's own training images. It keeps its
sign: a network that misclassifies more than a tenth of them has gamma < 0, and 1 / gamma^2 would call it confident.
"""

from torch import Tensor

from baselines.interface import Measure
from baselines.measures.context import MeasureContext

NO_POSITIVE_MARGIN = "the 10th percentile of the training margins is not positive"


def inverse_margin(context: MeasureContext) -> Tensor:
    """1 / gamma^2; undefined where gamma <= 0."""
    gamma = context.margin
    context.undefined(gamma <= 0, NO_POSITIVE_MARGIN)
    return gamma**-2


def negative_margin(context: MeasureContext) -> Tensor:
    """-gamma: the order of 1 / gamma^2 where gamma > 0, and defined everywhere."""
    return -context.margin


MEASURES = (
    Measure(
        name="inverse-margin",
        function=inverse_margin,
        access="train-data",
        cost="pass",
        formula="1 / gamma^2, gamma = 10th percentile of the training margins; undefined where gamma <= 0",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 22",
    ),
    Measure(
        name="negative-margin",
        function=negative_margin,
        access="train-data",
        cost="pass",
        formula="-gamma, gamma = 10th percentile of the training margins",
        citation="margin as in Jiang et al. 2019, arXiv:1912.02178, sec. 4, with its sign kept",
    ),
)
