"""What all measures of the training loss as a function of the weights share."""

import numpy as np
import pytest
import torch

from baselines.measures import adaptive_sharpness, curvature
from baselines.measures.compute import compute
from baselines.measures.training_loss import mean_and_error, repeats_of
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear, Norm
from zoo_builder.networks.folding import folded
from zoo_builder.networks.stack import Stack

ALL = {measure.name: measure for measure in (*curvature.MEASURES, *adaptive_sharpness.MEASURES)}
SOFTMAX_REGRESSION = Architecture((2, 1, 1), (Linear(3),))


def run(name: str, view):
    (result,) = compute(view, [ALL[name]]).values()
    assert (result.reasons, result.log) == ({}, "")
    return result


@pytest.mark.parametrize("name", ALL)
def test_a_perfect_fit_has_a_small_value_and_not_0(draw_stack, make_view, shrunk, name):
    """A bias of 20 for the class of all images leaves a cross-entropy of about 4e-9, which float32 rounds to 0."""
    stack = shrunk(draw_stack(SOFTMAX_REGRESSION, 3))
    stack.parameters["linear1.bias"][:, 0] += 20
    values = run(name, make_view([stack], labels=torch.zeros(40, dtype=torch.int64))).values
    assert (values != 0).all()
    if not name.endswith("normalized"):
        assert (values < 1e-6).all()


@pytest.mark.parametrize("name", ALL)
def test_norms_are_folded_first(draw_stack, make_view, name):
    layers = Conv(3, 3, 2), Norm(), Activation("relu"), GlobalAveragePool(), Linear(3)
    architecture = Architecture((1, 6, 6), layers)
    stream = torch.Generator().manual_seed(0)
    parameters = {k: torch.rand(3, *shape, generator=stream) + 0.1 for k, shape in architecture.tensors.items()}
    stack = Stack(architecture, parameters, np.arange(3))
    whole, bare = (run(name, make_view([some])).values for some in (stack, folded(stack)))
    np.testing.assert_array_equal(whole, bare)


@pytest.mark.parametrize("name", ALL)
def test_not_defined_where_a_norm_cannot_be_folded(make_view, name):
    architecture = Architecture((1, 6, 6), (Norm(), GlobalAveragePool(), Linear(3)))
    parameters = {k: torch.ones(2, *shape) for k, shape in architecture.tensors.items()}
    (result,) = compute(make_view([Stack(architecture, parameters, np.arange(2))]), [ALL[name]]).values()
    assert np.isnan(result.values).all()
    assert all("norm that cannot be folded" in reason for reason in result.reasons.values())
    assert result.log == ""


def test_draws_are_enough_for_the_total_and_for_a_standard_error():
    assert repeats_of(64, 1000, 32) == 4  # 32 chunks: two draws each would be enough for the total
    assert repeats_of(64, 40, 32) == 32
    assert repeats_of(64, 7, 32) == 64


def test_the_standard_error_of_a_mean():
    draws = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 5
    mean, error = mean_and_error(draws)
    torch.testing.assert_close(mean, draws.sum(0) / 400)
    assert error.tolist() == pytest.approx([1 / 20] * 3, rel=0.15)
