"""Jacobian norms against torch.autograd.functional.jacobian of single networks in float64."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from baselines.measures import jacobian as family
from baselines.measures.compute import compute
from zoo_builder.networks.architecture import Architecture, Linear
from zoo_builder.networks.families import nin


@pytest.mark.parametrize("name", ["relu_network", "tanh_network"])
def test_jacobian_norms_against_single_modules(name, request, draw_stack, make_view, single):
    view = make_view([draw_stack(request.getfixturevalue(name), 6)])
    results = compute(view, family.MEASURES)
    for key, last in (("input-jacobian-norm", nn.Identity()), ("input-jacobian-norm-softmax", nn.Softmax(-1))):
        truth = []
        for row in range(6):
            network, images, _ = single(view, row)
            outputs = nn.Sequential(network, last)
            norms = [jacobian(outputs, image[None])[0, :, 0].norm().item() for image in images]
            truth.append(np.mean(norms))
        np.testing.assert_allclose(results[key].values, truth, rtol=1e-4)


def test_a_linear_network_has_one_jacobian(draw_stack, make_view):
    """Without activations it is the product of the weights, for every image."""
    architecture = Architecture((2, 2, 1), (Linear(3), Linear(3)))
    stack = draw_stack(architecture, 4)
    truth = torch.linalg.matrix_norm(stack.parameters["linear2.weight"] @ stack.parameters["linear1.weight"])
    result = compute(make_view([stack]), family.MEASURES)["input-jacobian-norm"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-5)


def test_norms_are_part_of_the_network(make_view, draw_stack):
    """A batch normalization that halves what comes in halves the Jacobian."""
    architecture = nin((3, 8, 8), 3, width=4, depth=1)
    stack = draw_stack(architecture, 2)
    for place in architecture.places:
        for name, shape in place.buffers.items():
            stack.parameters[name] = torch.full((2, *shape), 0.0 if name.endswith("mean") else 1.0)
    before = compute(make_view([stack]), family.MEASURES)["input-jacobian-norm"].values
    stack.parameters["norm3.running_var"][:] = 4
    stack.parameters["norm3.bias"][:] = 50  # every last unit is active
    stack.parameters["norm3.weight"][:] = 1
    active = compute(make_view([stack]), family.MEASURES)["input-jacobian-norm"].values
    stack.parameters["norm3.running_var"][:] = 16
    half = compute(make_view([stack]), family.MEASURES)["input-jacobian-norm"].values
    assert (before > 0).all()
    np.testing.assert_allclose(half, active / 2, rtol=1e-4)
