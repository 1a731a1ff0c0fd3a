"""Sizes of the architecture."""

from math import log2, prod

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure


def parameter_count(context: MeasureContext) -> Tensor:
    """The number of weights and biases."""
    return torch.full((len(context),), float(context.folded_architecture.size), dtype=torch.float64)


def vc_dimension(context: MeasureContext) -> Tensor:
    """d log2(6 d n)^3 sum_l k_l^2 c_(l-1) (c_l + 1) for d layers on an image of n x n.

    The VC bound of Bartlett et al. 2019 (arXiv:1703.02930) for convolutional networks, without the root, the number of
    examples and the constant around it. n is the longer side; a linear layer counts as k = 1.
    """
    architecture = context.folded_architecture
    depth, side = len(architecture.weighted), max(architecture.input_shape[1:])
    shapes = [architecture.parameters[f"{place.name}.weight"] for place in architecture.weighted]
    weights = sum(prod(rest) * (out + 1) for out, *rest in shapes)
    return torch.full((len(context),), depth * log2(6 * depth * side) ** 3 * weights, dtype=torch.float64)


MEASURES = (
    Measure(
        name="parameter-count",
        function=parameter_count,
        access="weights",
        cost="free",
        formula="omega, the number of parameters",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 20",
    ),
    Measure(
        name="vc-dim",
        function=vc_dimension,
        access="weights",
        cost="free",
        formula="d log2(6 d n)^3 sum_l k_l^2 c_(l-1) (c_l + 1), d layers, images of n x n",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 19; Bartlett et al. 2019, arXiv:1703.02930",
    ),
)
