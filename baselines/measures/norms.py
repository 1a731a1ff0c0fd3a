"""Euclidean and Frobenius norms of the weights.

F_l is the squared Frobenius norm of layer l's weights, F0_l that of their change since initialization, gamma the 10th
percentile of the training margins, d the number of layers. Only ||w|| and ||w - w0|| include biases.
"""

from math import log

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.output import squared_margin


def weight_norm(context: MeasureContext) -> Tensor:
    """||w|| over all weights and biases."""
    return context.weights.norm(dim=1)


def distance_from_initialization(context: MeasureContext) -> Tensor:
    """||w - w0|| over all weights and biases; undefined without the initialization."""
    return context.change.norm(dim=1)


def log_prod_of_fro(context: MeasureContext) -> Tensor:
    """sum_l ln F_l; undefined where a layer is zero."""
    return log_product(context, squared_frobenius(context.matrices))


def log_prod_of_fro_over_margin(context: MeasureContext) -> Tensor:
    """sum_l ln F_l - 2 ln gamma; undefined where a layer is zero or gamma <= 0."""
    return log_prod_of_fro(context) - squared_margin(context).log()


def log_sum_of_fro(context: MeasureContext) -> Tensor:
    """ln d + 1/d sum_l ln F_l; undefined where a layer is zero."""
    return log_sum(context, log_prod_of_fro(context))


def log_sum_of_fro_over_margin(context: MeasureContext) -> Tensor:
    """ln d + 1/d (sum_l ln F_l - 2 ln gamma); undefined where a layer is zero or gamma <= 0."""
    return log_sum(context, log_prod_of_fro_over_margin(context))


def frobenius_distance(context: MeasureContext) -> Tensor:
    """sum_l F0_l; undefined without the initialization."""
    return squared_frobenius(changes(context)).sum(0)


def parameter_norm(context: MeasureContext) -> Tensor:
    """sum_l F_l."""
    return squared_frobenius(context.matrices).sum(0)


def changes(context: MeasureContext) -> list[Tensor]:
    """W_l - W0_l of each layer, float64 [M, out, ...]."""
    weights, initial = context.parameters, context.initial
    names = [f"{place.name}.weight" for place in context.folded_architecture.weighted]
    return [weights[name] - initial[name] for name in names]


def squared_frobenius(weights: list[Tensor]) -> Tensor:
    """Squared Frobenius norms of the layers' weights [M, ...]: float64 [layers, M]."""
    return torch.stack([weight.flatten(1).square().sum(1) for weight in weights])


def log_product(context: MeasureContext, norms: Tensor) -> Tensor:
    """sum_l ln norms[l] of [layers, M]; undefined where one of the norms is 0."""
    context.undefined((norms == 0).any(0), "all weights of a layer are zero")
    return norms.log().sum(0)


def log_sum(context: MeasureContext, log_product: Tensor) -> Tensor:
    """ln d + log_product / d: the log of the sum over d layers with the geometric mean of the product each."""
    depth = len(context.folded_architecture.weighted)
    return log(depth) + log_product / depth


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
    Measure(
        name="log-prod-of-fro-over-margin",
        function=log_prod_of_fro_over_margin,
        access="train-data",
        cost="pass",
        formula="sum_l ln ||W_l||_F^2 - 2 ln gamma, gamma = 10th percentile of the training margins",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 36",
    ),
    Measure(
        name="log-sum-of-fro",
        function=log_sum_of_fro,
        access="weights",
        cost="weights",
        formula="ln d + 1/d sum_l ln ||W_l||_F^2, d layers",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 39",
    ),
    Measure(
        name="log-sum-of-fro-over-margin",
        function=log_sum_of_fro_over_margin,
        access="train-data",
        cost="pass",
        formula="ln d + 1/d (sum_l ln ||W_l||_F^2 - 2 ln gamma), d layers",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 38",
    ),
    Measure(
        name="frob-distance",
        function=frobenius_distance,
        access="weights",
        cost="weights",
        formula="sum_l ||W_l - W0_l||_F^2, without biases",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 40",
    ),
    Measure(
        name="param-norm",
        function=parameter_norm,
        access="weights",
        cost="weights",
        formula="sum_l ||W_l||_F^2, without biases",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 42",
    ),
)
