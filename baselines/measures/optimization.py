"""Measures of optimization, from training statistics: steps to a cross-entropy, and noise of mini-batch gradients."""

from functools import partial

from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure


def steps_to_cross_entropy(context: MeasureContext) -> Tensor:
    """Steps to a training cross-entropy of 0.1, checked after each epoch; undefined where it was never reached."""
    steps = context.statistic("steps_to_0.1")
    context.undefined(steps.isinf(), "the training cross-entropy never reached 0.1")
    return steps


def steps_between_cross_entropies(context: MeasureContext) -> Tensor:
    """Steps from a training cross-entropy of 0.1 to 0.01; undefined where 0.01 was never reached."""
    last = context.statistic("steps_to_0.01")
    context.undefined(last.isinf(), "the training cross-entropy never reached 0.01")
    return last - context.statistic("steps_to_0.1")


def gradient_variance(context: MeasureContext, statistic: str) -> Tensor:
    """Total variance of mini-batch gradients; undefined with fewer than two mini-batches."""
    variance = context.statistic(statistic)
    context.undefined(variance.isnan(), "there are fewer than two mini-batches")
    return variance


MEASURES = (
    Measure(
        name="steps-to-cross-entropy",
        function=steps_to_cross_entropy,
        access="trajectory",
        cost="free",
        formula="steps to a training cross-entropy of 0.1",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 63",
    ),
    Measure(
        name="steps-between-cross-entropies",
        function=steps_between_cross_entropies,
        access="trajectory",
        cost="free",
        formula="steps from a training cross-entropy of 0.1 to 0.01",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 64",
    ),
    *(
        Measure(
            name=f"gradient-noise-{when}",
            function=partial(gradient_variance, statistic=statistic),
            access="trajectory",
            cost="free",
            formula=f"total variance of mini-batch gradients {words}",
            citation=f"Jiang et al. 2019, arXiv:1912.02178, eq. {equation}",
        )
        for when, statistic, words, equation in (
            ("epoch-1", "gradient_variance_epoch_1", "after epoch 1", 65),
            ("final", "gradient_variance", "at the end", 66),
        )
    ),
)
