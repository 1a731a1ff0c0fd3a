import pytest
import torch

from baselines.methods import NotApplicable
from baselines.weight_space.norms import without_norms
from zoo_builder.networks.architecture import Architecture, GlobalAveragePool, Linear, Norm
from zoo_builder.networks.families import nin
from zoo_builder.networks.stack import forward


def test_networks_without_norms_compute_the_same(draw_stack):
    stack = draw_stack(nin((1, 6, 6), 3, width=4, depth=2), 3)
    plain = without_norms(stack)
    assert stack.architecture.buffers
    assert not plain.architecture.buffers
    images = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs = [forward(one.architecture, one.to("cpu", torch.float64).parameters, images) for one in (stack, plain)]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)


def test_a_norm_that_cannot_be_folded_is_not_applicable(draw_stack):
    stack = draw_stack(Architecture((1, 6, 6), (Norm(), GlobalAveragePool(), Linear(3))), 2)
    with pytest.raises(NotApplicable, match="cannot be folded into weights: norm1 does not follow a convolution"):
        without_norms(stack)
