"""Every layer row, stacked, against single modules in float64."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_builder.networks.architecture import (
    ACTIVATIONS,
    Activation,
    Architecture,
    Linear,
    MaxPool,
)
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import forward


def single(tensors: dict[str, Tensor], model: int) -> dict[str, Tensor]:
    return {name: value[model] for name, value in tensors.items()}


@pytest.mark.parametrize("shared", [True, False])
def test_a_stack_computes_what_separate_modules_compute(
    architecture: Architecture, shared: bool, random_images, random_tensors, relative
) -> None:
    models, batch = 5, 7
    tensors = random_tensors(architecture, models)
    images = random_images(architecture, *([batch] if shared else [models, batch]))

    def separately(dtype: torch.dtype) -> Tensor:
        inputs = [images if shared else images[m] for m in range(models)]
        alone = [{name: value.to(dtype) for name, value in single(tensors, m).items()} for m in range(models)]
        modules = [to_module(architecture, one) for one in alone]
        with torch.no_grad():
            return torch.stack([module(x.to(dtype)) for module, x in zip(modules, inputs, strict=True)])

    truth = separately(torch.float64)
    assert relative(forward(architecture, tensors, images), truth) < 1e-12
    stacked = forward(architecture, {name: value.float() for name, value in tensors.items()}, images.float())
    # Both errors are a few roundings; the floor is for modules that are exact by chance.
    assert relative(stacked, truth) <= max(1.5 * relative(separately(torch.float32), truth), 2e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_norms_in_training_move_their_statistics_as_torch_does(
    normed: Architecture, shared: bool, random_images, random_tensors, relative
) -> None:
    models, batch = 3, 6
    tensors = random_tensors(normed, models)
    modules = [to_module(normed, single(tensors, m)).train() for m in range(models)]
    for step in range(3):
        images = random_images(normed, *([batch] if shared else [models, batch]), seed=step)
        stacked = forward(normed, tensors, images, training=True)
        for model, module in enumerate(modules):
            assert relative(stacked[model], module(images if shared else images[model])) < 1e-12
    for model, module in enumerate(modules):
        state = module.state_dict()
        for name in normed.buffers:
            assert relative(tensors[name][model], state[name]) < 1e-12, name


class Handwritten(nn.Module):
    """The residual network above, written as one would without layer rows."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.state = state

    def layer(self, kind: str, x: Tensor, **how: int) -> Tensor:
        weight, bias = self.state[f"{kind}.weight"], self.state[f"{kind}.bias"]
        return F.linear(x, weight, bias) if kind.startswith("linear") else F.conv2d(x, weight, bias, padding=1, **how)

    def norm(self, number: int, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"norm{number}.{kind}"].view(-1, *[1] * (x.dim() - 2))
            for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(1, self.layer("conv1", image))
        x = (x + F.pad(image, (0, 0, 0, 0, 0, 1))).relu()
        y = self.norm(2, self.layer("conv2", x)).relu()
        x = (self.norm(3, self.layer("conv3", y)) + x).relu()
        y = self.norm(4, self.layer("conv4", x, stride=2)).relu()
        y = self.norm(5, self.layer("conv5", y))
        shortcut = torch.zeros_like(y)
        for row, column in itertools.product(range(4), range(3)):
            shortcut[:, :3, row, column] = x[:, :, 2 * row, 2 * column]
        pooled = (y + shortcut).relu().mean((2, 3))
        z = self.norm(6, self.layer("linear1", pooled)).tanh()
        z[:, :5] += pooled
        return self.layer("linear3", F.pad(z, (0, 2)) + self.layer("linear2", z))


def test_shortcuts_against_a_network_written_by_hand(random_images, random_tensors, relative, residual) -> None:
    tensors, images = random_tensors(residual, 3), random_images(residual, 4)
    stacked = forward(residual, tensors, images)
    for model in range(3):
        assert relative(stacked[model], Handwritten(single(tensors, model))(images)) < 1e-12


def test_activations_and_max_pooling_are_their_formulas() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    formulas = {
        "relu": x.clamp(min=0),
        "tanh": 1 - 2 / ((2 * x).exp() + 1),
        "sigmoid": 1 / (1 + (-x).exp()),
        "leaky-relu": torch.maximum(x, 0.01 * x),
        "gelu": x * (1 + torch.erf(x / 2**0.5)) / 2,
        "silu": x / (1 + (-x).exp()),
    }
    assert formulas.keys() == set(ACTIVATIONS)
    unit = {"linear1.weight": torch.ones(1, 1, 1).double(), "linear1.bias": torch.zeros(1, 1).double()}
    for kind, truth in formulas.items():
        value = forward(Architecture((1, 1, 1), (Linear(1), Activation(kind))), unit, x.view(81, 1, 1, 1))
        torch.testing.assert_close(value.flatten(), truth, rtol=1e-12, atol=1e-15)
    pooled = Architecture((1, 9, 9), (MaxPool(2), Linear(16)))
    unit = {"linear1.weight": torch.eye(16).double()[None], "linear1.bias": torch.zeros(1, 16).double()}
    value = forward(pooled, unit, -x.view(1, 1, 9, 9))
    assert torch.equal(value.flatten(), -x.view(9, 9)[:8:2, :8:2].flatten())


@pytest.mark.parametrize("name", ["norm", "residual", "small cnn"])
def test_features_are_those_of_each_layer(name: str, random_images, random_tensors, shapes) -> None:
    architecture = shapes[name]
    tensors, images = random_tensors(architecture, 3), random_images(architecture, 3, 4)
    features: dict[str, Tensor] = {}
    forward(architecture, tensors, images, features=features)
    assert list(features) == [place.name for place in architecture.places]
    for model in range(3):
        module = to_module(architecture, single(tensors, model))
        for place in architecture.places:
            child, seen = module.get_submodule(place.name), []
            with child.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output)):
                module(images[model])
            torch.testing.assert_close(features[place.name][model], seen[0], rtol=1e-12, atol=1e-14)
            assert features[place.name][model].shape == (4, *place.output_shape)


def test_hidden_units_may_be_renumbered(random_images, random_tensors, relative, residual) -> None:
    """The middle channels of a residual block are in no shortcut: renumbering them with their norm changes nothing."""
    tensors, images = random_tensors(residual, 2), random_images(residual, 5)
    order = torch.tensor([2, 0, 1])
    renumbered = dict(tensors)
    for name in residual.tensors:
        if name.startswith(("conv2.", "norm2.")):
            renumbered[name] = tensors[name][:, order]
    renumbered["conv3.weight"] = tensors["conv3.weight"][:, :, order]
    assert relative(forward(residual, renumbered, images), forward(residual, tensors, images)) < 1e-12
