"""Sums and products of Frobenius norms against loops over layers."""

import numpy as np
import pytest
import torch

from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.measures.output import NO_POSITIVE_MARGIN
from zoo_builder.networks.architecture import Activation, Architecture, Conv, Linear

ALL = {measure.name: measure for measure in measures()}
NETWORK = Architecture((2, 6, 5), (Conv(3, 3, 2, padding=1), Activation("relu"), Conv(4, 2), Linear(3)))


@pytest.fixture
def stack(draw_stack):
    """Four networks; a large bias gives the first two a positive margin."""
    stack = draw_stack(NETWORK, 4)
    stack.parameters["linear1.bias"][:2, 0] += 1e4
    return stack


@pytest.mark.parametrize(
    ("name", "slow"),
    [
        ("log-prod-of-fro", lambda f, f0, gamma: np.log(np.prod(f))),
        ("log-prod-of-fro-over-margin", lambda f, f0, gamma: np.log(np.prod(f) / gamma**2)),
        ("log-sum-of-fro", lambda f, f0, gamma: np.log(3 * np.prod(f) ** (1 / 3))),
        ("log-sum-of-fro-over-margin", lambda f, f0, gamma: np.log(3 * (np.prod(f) / gamma**2) ** (1 / 3))),
        ("frob-distance", lambda f, f0, gamma: np.sum(f0)),
        ("param-norm", lambda f, f0, gamma: np.sum(f)),
    ],
)
def test_against_a_loop_over_layers(stack, draw_stack, make_view, name, slow):
    initial = draw_stack(NETWORK, 4, seed=1)
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64), initial=[initial])
    gamma = -compute(view, [ALL["negative-margin"]])["negative-margin"].values
    truth = []
    for model in range(4):
        w, w0 = ({k: v[model].double() for k, v in s.parameters.items()} for s in (stack, initial))
        layers = [key for key in w if key.endswith("weight")]
        f = [float((w[key].numpy() ** 2).sum()) for key in layers]
        f0 = [float(((w[key] - w0[key]).numpy() ** 2).sum()) for key in layers]
        truth.append(slow(f, f0, gamma[model]) if gamma[model] > 0 or "margin" not in name else np.nan)
    result = compute(view, [ALL[name]])[name]
    np.testing.assert_allclose(result.values, truth, rtol=1e-9)
    assert result.reasons == (dict.fromkeys([2, 3], NO_POSITIVE_MARGIN) if "margin" in name else {})


@pytest.mark.parametrize("name", ["log-prod-of-fro", "weight-norm", "distance-from-initialization"])
def test_norms_against_numpy(relu_network, draw_stack, make_view, name):
    stack, initial = draw_stack(relu_network, 5), draw_stack(relu_network, 5, seed=1)

    def slow(w: dict[str, np.ndarray], w0: dict[str, np.ndarray]) -> float:
        matrices = [value.reshape(len(value), -1) for key, value in w.items() if key.endswith("weight")]
        match name:
            case "log-prod-of-fro":
                return sum(np.log((matrix**2).sum()) for matrix in matrices)
            case "weight-norm":
                return np.sqrt(sum((value**2).sum() for value in w.values()))
            case _:
                return np.sqrt(sum(((w[key] - w0[key]) ** 2).sum() for key in w))

    truth = [
        slow(*({k: v[model].double().numpy() for k, v in s.parameters.items()} for s in (stack, initial)))
        for model in range(5)
    ]
    result = compute(make_view([stack], initial=[initial]), [ALL[name]])[name]
    np.testing.assert_allclose(result.values, truth, rtol=1e-12)


def test_a_layer_of_zeros_has_no_log_product(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 3)
    stack.parameters["conv2.weight"][1] = 0
    result = compute(make_view([stack]), [ALL["log-prod-of-fro"]])["log-prod-of-fro"]
    assert result.reasons == {1: "all weights of a layer are zero"}
    assert np.isfinite(result.values).tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["distance-from-initialization", "frob-distance"])
def test_distances_need_the_initialization(stack, make_view, name):
    result = compute(make_view([stack]), [ALL[name]])[name]
    assert np.isnan(result.values).all()
    assert set(result.reasons.values()) == {"the zoo has no epoch-0 checkpoints, so the initialization is unknown"}
    assert result.log == ""
