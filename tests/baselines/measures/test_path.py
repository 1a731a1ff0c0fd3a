"""Path norms against enumerated paths and modules with squared weights."""

from itertools import product

import numpy as np
import torch

from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.measures.output import NO_POSITIVE_MARGIN
from zoo_builder.networks.architecture import Architecture, Conv, Linear
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack

ALL = {measure.name: measure for measure in measures()}


def test_path_norm_against_enumerated_paths(draw_stack, make_view):
    """A padded, strided convolution and a linear layer on its flattened output: all paths are enumerated."""
    architecture = Architecture((2, 3, 3), (Conv(2, kernel=2, stride=2, padding=1), Linear(3)))
    stack = draw_stack(architecture, 2)
    (_, height, width), total = architecture.places[0].output_shape, np.zeros(2)
    w1, b1, w2, b2 = (value.double().numpy() for value in stack.parameters.values())
    for k in range(3):
        total += b2[:, k] ** 2
        for unit, (c, y, x) in enumerate(product(range(2), range(height), range(width))):
            total += (b1[:, c] * w2[:, k, unit]) ** 2
            for i, dy, dx in product(range(2), range(2), range(2)):
                if 0 <= 2 * y + dy - 1 < 3 and 0 <= 2 * x + dx - 1 < 3:
                    total += (w1[:, c, i, dy, dx] * w2[:, k, unit]) ** 2
    result = compute(make_view([stack]), [ALL["path-norm"]])["path-norm"]
    np.testing.assert_allclose(result.values, total, rtol=1e-12)


def test_path_norm_averages_where_the_network_pools(relu_network, draw_stack, make_view):
    """Against nn.Modules with squared weights in float64."""
    stack = draw_stack(relu_network, 3)
    truth = []
    for model in range(3):
        squared = {name: value[model].double().square() for name, value in stack.parameters.items()}
        ones = torch.ones(1, *relu_network.input_shape, dtype=torch.float64)
        truth.append(to_module(relu_network, squared)(ones).sum().item())
    result = compute(make_view([stack]), [ALL["path-norm"]])["path-norm"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-12)


def test_only_the_variant_with_identities_is_defined_for_tanh_networks(
    relu_network, tanh_network, draw_stack, make_view
):
    stack = draw_stack(relu_network, 2)
    twin = Stack(tanh_network, stack.parameters, np.array([2, 3]))
    results = compute(make_view([stack, twin]), [ALL["path-norm"], ALL["path-norm-identity"]])
    assert np.isnan(results["path-norm"].values).tolist() == [False, False, True, True]
    assert results["path-norm"].reasons == dict.fromkeys([2, 3], "defined for ReLU networks, and this one has tanh")
    identity = results["path-norm-identity"].values
    np.testing.assert_array_equal(identity[:2], results["path-norm"].values[:2])
    np.testing.assert_array_equal(identity[2:], identity[:2])


def test_over_the_margin(relu_network, tanh_network, draw_stack, make_view):
    """A large bias gives the first ReLU network a positive margin."""
    relu, tanh = draw_stack(relu_network, 2), draw_stack(tanh_network, 1, first_row=2)
    relu.parameters["linear1.bias"][0, 0] += 1e4
    names = ("path-norm-over-margin", "path-norm-identity-over-margin", "path-norm-identity", "negative-margin")
    view = make_view([relu, tanh], labels=torch.zeros(40, dtype=torch.int64))
    over, identity_over, identity, margin = compute(view, [ALL[name] for name in names]).values()
    truth = identity.values[0] / margin.values[0] ** 2
    np.testing.assert_allclose([over.values[0], identity_over.values[0]], truth, rtol=1e-9)
    assert over.reasons == {1: NO_POSITIVE_MARGIN, 2: "defined for ReLU networks, and this one has tanh"}
    assert identity_over.reasons[1] == NO_POSITIVE_MARGIN
