"""Measures that count what an architecture holds."""

import torch
from torch import Tensor

from baselines.interface import Measure
from baselines.measures.context import MeasureContext


def parameter_count(context: MeasureContext) -> Tensor:
    """Number of weights and biases."""
    return torch.full((len(context),), float(context.architecture.size), dtype=torch.float64)


MEASURES = (
    Measure(
        name="parameter-count",
        function=parameter_count,
        access="weights",
        cost="free",
        formula="omega, the number of parameters",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 20",
    ),
)
