"""Measures of the outputs on the training data.

gamma is the 10th percentile of the margins f_y - max_{j != y} f_j over a model's own training images. It is signed: a
network that misclassifies more than a tenth of them has gamma < 0, although 1 / gamma^2 could suggest confidence.
"""

from functools import partial

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure

NO_POSITIVE_MARGIN = "the 10th percentile of the training margins is not positive"


def squared_margin(context: MeasureContext) -> Tensor:
    """gamma^2, float64 [M]; undefined where gamma <= 0."""
    gamma = context.margin
    context.undefined(gamma <= 0, NO_POSITIVE_MARGIN)
    return gamma.square()


def inverse_margin(context: MeasureContext) -> Tensor:
    """1 / gamma^2; undefined where gamma <= 0."""
    return 1 / squared_margin(context)


def negative_margin(context: MeasureContext) -> Tensor:
    """-gamma: orders models like 1 / gamma^2 where gamma > 0, and is defined everywhere."""
    return -context.margin


def negative_margin_quantile(context: MeasureContext, quantile: float) -> Tensor:
    """Minus a quantile of the training margins (linear interpolation)."""
    return -context.margin_quantile(quantile)


def negative_margin_mean(context: MeasureContext) -> Tensor:
    """Minus the mean of the training margins."""
    return -torch.stack([margins.mean() for margins in context.margins])


def negative_entropy(context: MeasureContext) -> Tensor:
    """mean_i sum_j p_ij ln p_ij, p = softmax of the outputs: larger for more confident predictions."""
    logs = [logits.double().log_softmax(1) for logits in context.logits]
    return torch.stack([(log.exp() * log).sum(1).mean() for log in logs])


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
    *(
        Measure(
            name=f"negative-margin-{word}",
            function=partial(negative_margin_quantile, quantile=quantile),
            access="train-data",
            cost="pass",
            formula=f"-Q_{quantile:.0%} of the training margins",
            citation="after Jiang et al. 2018, arXiv:1810.00113",
        )
        for word, quantile in {"q1": 0.25, "median": 0.5, "q3": 0.75}.items()
    ),
    Measure(
        name="negative-margin-mean",
        function=negative_margin_mean,
        access="train-data",
        cost="pass",
        formula="-mean of the training margins",
        citation="after Jiang et al. 2018, arXiv:1810.00113",
    ),
    Measure(
        name="negative-entropy",
        function=negative_entropy,
        access="train-data",
        cost="pass",
        formula="mean_i sum_j p_ij ln p_ij, p = softmax of the outputs on the training data",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 23; Pereyra et al. 2017, arXiv:1701.06548",
    ),
)
