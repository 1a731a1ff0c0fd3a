"""Networks cut in two compute what the whole network computes."""

import pytest
import torch

from baselines.measures.hidden_layers import at_first_hidden_layer, at_last_hidden_layer
from baselines.methods import NotApplicable
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear, Residual
from zoo_builder.networks.families import mlp, nin, park, resnet, small_cnn, vgg
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import forward

ARCHITECTURES = {
    "small-cnn": small_cnn((1, 16, 16), 3, width=4),
    "mlp": mlp((2, 3, 3), 4, width=6),
    "nin": nin((3, 16, 16), 5, width=4, depth=2),
    "vgg": vgg((1, 16, 16), 3, width=8, depth=2),
    "resnet": resnet((1, 8, 8), 3, width=3, depth=8),
    "park": park((1, 12, 12), 3, width=4, depth=4, residual="add"),
    "linear": Architecture((2, 1, 1), (Linear(3), Linear(2))),
}


@pytest.mark.parametrize("cut", [at_first_hidden_layer, at_last_hidden_layer])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_halves_compute_the_whole(name, cut, positive):
    architecture = ARCHITECTURES[name]
    stack = positive(architecture, 3)
    images = torch.randn(3, 5, *architecture.input_shape)
    halves = cut(architecture)
    hidden = halves.hidden(stack, images)
    assert hidden.shape == (3, 5, *halves.upper.input_shape)
    whole = forward(architecture, stack.parameters, images)
    torch.testing.assert_close(halves.logits(stack, hidden), whole, rtol=1e-4, atol=1e-4)


def test_the_first_cut_is_after_the_first_activation(positive):
    architecture = ARCHITECTURES["nin"]
    stack = positive(architecture, 2)
    images = torch.randn(2, 5, 3, 16, 16)
    network = to_module(architecture, {name: value[1] for name, value in stack.parameters.items()})
    hidden = at_first_hidden_layer(architecture).hidden(stack, images)
    torch.testing.assert_close(hidden[1], network[:3](images[1]), rtol=1e-4, atol=1e-5)
    assert (hidden >= 0).all()


def test_networks_that_cannot_be_cut():
    with pytest.raises(NotApplicable, match="no hidden layer"):
        at_first_hidden_layer(Architecture((2, 1, 1), (Linear(2),)))
    with pytest.raises(NotApplicable, match="no hidden layer"):
        at_last_hidden_layer(Architecture((2, 1, 1), (Linear(2),)))
    relu = Activation("relu")
    bypassed = (Conv(1, 3, padding=1), relu, Conv(1, 3, padding=1), Residual(3), GlobalAveragePool(), Linear(2))
    with pytest.raises(NotApplicable, match="a shortcut bypasses the hidden layer"):
        at_first_hidden_layer(Architecture((1, 4, 4), bypassed))
