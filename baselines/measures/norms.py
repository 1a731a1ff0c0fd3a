"""Euclidean and Frobenius norms of the weights."""

import torch
from torch import Tensor

from baselines.interface import Measure
from baselines.measures.context import MeasureContext


def weight_norm(context: MeasureContext) -> Tensor:
    """||w|| over all weights and biases."""
    return _euclidean(context.parameters)


def distance_from_initialization(context: MeasureContext) -> Tensor:
    """||w - w0|| over all weights and biases; undefined where the initialization is not known."""
    initial = context.initial
    return _euclidean({name: value - initial[name] for name, value in context.parameters.items()})


def log_prod_of_fro(context: MeasureContext) -> Tensor:
    """sum_l ln ||W_l||_F^2; undefined where a layer is zero."""
    return log_product(context, [matrix.square().sum((1, 2)) for matrix in context.matrices])


def log_product(context: MeasureContext, norms: list[Tensor]) -> Tensor:
    """sum_l ln norms[l], where norms[l] is [M]; undefined where one of them is 0."""
    stacked = torch.stack(norms)
    context.undefined((stacked == 0).any(0), "all weights of a layer are zero")
    return stacked.log().sum(0)


def _euclidean(parameters: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten(1) for value in parameters.values()], dim=1).norm(dim=1)


MEASURES = (
    Measure(
        name="weight-norm",
        function=weight_norm,
        access="weights",
        cost="weights",
        formula="||w||, all weights and biases",
        citation="Neyshabur et al. 2017, arXiv:1706.08947",
    ),
    Measure(
        name="distance-from-initialization",
        function=distance_from_initialization,
        access="weights",
        cost="weights",
        formula="||w - w0||, w0 = the same run at epoch 0",
        citation="Nagarajan & Kolter 2019, arXiv:1901.01672",
    ),
    Measure(
        name="log-prod-of-fro",
        function=log_prod_of_fro,
        access="weights",
        cost="weights",
        formula="sum_l ln ||W_l||_F^2",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 37",
    ),
)
