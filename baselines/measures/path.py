"""The path norm: over all paths from an input or a bias to an output, the sum of the products of squared weights."""

from dataclasses import replace

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.output import squared_margin
from baselines.methods import NotApplicable
from zoo_builder.networks.architecture import Activation
from zoo_builder.networks.stack import forward


def path_norm(context: MeasureContext) -> Tensor:
    """The sum of the outputs of the network with squared weights and biases for an image of ones; pooling is unchanged.

    Raises:
        NotApplicable: an activation is not ReLU.
    """
    others = {layer.kind for layer in context.folded_architecture.layers if isinstance(layer, Activation)} - {"relu"}
    if others:
        raise NotApplicable(f"defined for ReLU networks, and this one has {', '.join(sorted(others))}")
    return path_norm_identity(context)


def path_norm_identity(context: MeasureContext) -> Tensor:
    """The path norm with the identity in place of every activation; equal to ``path_norm`` on ReLU networks."""
    architecture = context.folded_architecture
    # All values are nonnegative, so that ReLU is the identity.
    relu = Activation("relu")
    layers = tuple(relu if isinstance(layer, Activation) else layer for layer in architecture.layers)
    squared = {name: value.square() for name, value in context.parameters.items()}
    ones = torch.ones(1, *architecture.input_shape, dtype=torch.float64)
    return forward(replace(architecture, layers=layers), squared, ones).sum((1, 2))


def path_norm_over_margin(context: MeasureContext) -> Tensor:
    """The path norm over gamma^2; undefined where gamma <= 0.

    Raises:
        NotApplicable: an activation is not ReLU.
    """
    return path_norm(context) / squared_margin(context)


def path_norm_identity_over_margin(context: MeasureContext) -> Tensor:
    """``path_norm_identity`` over gamma^2; undefined where gamma <= 0."""
    return path_norm_identity(context) / squared_margin(context)


MEASURES = (
    Measure(
        name="path-norm",
        function=path_norm,
        access="weights",
        cost="weights",
        formula="sum_k f_{w^2}(1)_k; ReLU networks",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 44; Neyshabur et al. 2015, arXiv:1503.00036",
    ),
    Measure(
        name="path-norm-identity",
        function=path_norm_identity,
        access="weights",
        cost="weights",
        formula="sum_k f_{w^2}(1)_k with the identity as activation",
        citation="after Jiang et al. 2019, arXiv:1912.02178, eq. 44",
    ),
    Measure(
        name="path-norm-over-margin",
        function=path_norm_over_margin,
        access="train-data",
        cost="pass",
        formula="sum_k f_{w^2}(1)_k / gamma^2; ReLU networks",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 43",
    ),
    Measure(
        name="path-norm-identity-over-margin",
        function=path_norm_identity_over_margin,
        access="train-data",
        cost="pass",
        formula="sum_k f_{w^2}(1)_k / gamma^2 with the identity as activation",
        citation="after Jiang et al. 2019, arXiv:1912.02178, eq. 43",
    ),
)
