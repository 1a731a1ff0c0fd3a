"""Every layer row, stacked, against single modules in float64; and what must hold for any network."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import (
    ACTIVATIONS,
    Activation,
    Architecture,
    Conv,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Norm,
    Residual,
)
from zoo_builder.networks.folding import folded
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack, forward

RELU = Activation("relu")
# conv1 7x5 -> shortcut from the image (fewer channels, no stride) -> shortcut that subsamples 7x5 to 4x3.
RESIDUAL = Architecture(
    (2, 7, 5),
    (
        *(Conv(3, padding=1), Norm(), Residual(2), RELU),
        *(Conv(3, padding=1), Norm(), RELU, Conv(3, padding=1), Norm(), Residual(5), RELU),
        *(Conv(5, stride=2, padding=1), Norm(), RELU, Conv(5, padding=1), Norm(), Residual(5), RELU),
        *(GlobalAveragePool(), Linear(6), Norm(), Activation("tanh"), Residual(3), Linear(8), Residual(1), Linear(4)),
    ),
)
SHAPES = {
    "small cnn": Architecture(
        (1, 32, 32), (Conv(16, stride=2), RELU, Dropout()) * 3 + (GlobalAveragePool(), Linear(10))
    ),
    "image into linear": Architecture((2, 6, 5), (Conv(3, kernel=2, padding=1), RELU, Linear(4))),
    "dense": Architecture((1, 4, 4), (Linear(6), Activation("tanh"), Dropout(), Linear(3))),
    "pooled input": Architecture((3, 5, 5), (GlobalAveragePool(), Linear(4), RELU, Linear(2))),
    "norm": Architecture((2, 8, 7), (Conv(5, padding=1), Norm(), RELU, GlobalAveragePool(), Linear(3))),
    "norm of the input": Architecture((2, 8, 7), (Norm(), Conv(3), GlobalAveragePool())),
    "norm of vectors": Architecture((1, 4, 4), (Linear(6), Norm(), RELU, Linear(5), Norm())),
    "norm of a pooled input": Architecture((3, 4, 4), (GlobalAveragePool(), Norm(), Linear(2))),
    "max pooling": Architecture((2, 9, 7), (MaxPool(), Conv(4, padding=1), RELU, MaxPool(3), Linear(3))),
    "residual": RESIDUAL,
    "residual around the input": Architecture((2, 6, 6), (MaxPool(), Residual(1), Conv(3), Linear(2))),
    **{kind: Architecture((1, 5, 5), (Conv(4), Activation(kind), Linear(3))) for kind in ACTIVATIONS},
}


def random_tensors(architecture: Architecture, models: int, seed: int = 1) -> dict[str, Tensor]:
    """Parameters and running statistics in float64."""
    stream = torch.Generator().manual_seed(seed)
    draws = {
        name: 0.5 * torch.randn(models, *shape, dtype=torch.float64, generator=stream)
        for name, shape in architecture.tensors.items()
    }
    return {name: value.exp() if name.endswith("running_var") else value for name, value in draws.items()}


def random_images(architecture: Architecture, *sizes: int, seed: int = 2) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, *architecture.input_shape, dtype=torch.float64, generator=stream)


def single(tensors: dict[str, Tensor], model: int) -> dict[str, Tensor]:
    return {name: value[model] for name, value in tensors.items()}


def relative(value: Tensor, truth: Tensor) -> float:
    return ((value.double() - truth).norm() / truth.norm()).item()


@pytest.mark.parametrize("architecture", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("shared", [True, False])
def test_a_stack_computes_what_separate_modules_compute(architecture: Architecture, shared: bool) -> None:
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
    # Both errors are a few roundings; the floor keeps a lucky exact module from deciding.
    assert relative(stacked, truth) <= max(1.5 * relative(separately(torch.float32), truth), 2e-7)


@pytest.mark.parametrize(
    "architecture", [a for a in SHAPES.values() if a.buffers], ids=[k for k, a in SHAPES.items() if a.buffers]
)
@pytest.mark.parametrize("shared", [True, False])
def test_norms_in_training_move_their_statistics_as_torch_does(architecture: Architecture, shared: bool) -> None:
    models, batch = 3, 6
    tensors = random_tensors(architecture, models)
    modules = [to_module(architecture, single(tensors, m)).train() for m in range(models)]
    for step in range(3):
        images = random_images(architecture, *([batch] if shared else [models, batch]), seed=step)
        stacked = forward(architecture, tensors, images, training=True)
        for model, module in enumerate(modules):
            assert relative(stacked[model], module(images if shared else images[model])) < 1e-12
    for model, module in enumerate(modules):
        state = module.state_dict()
        for name in architecture.buffers:
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


def test_shortcuts_against_a_network_written_by_hand() -> None:
    tensors, images = random_tensors(RESIDUAL, 3), random_images(RESIDUAL, 4)
    stacked = forward(RESIDUAL, tensors, images)
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
def test_features_are_those_of_each_layer(name: str) -> None:
    architecture = SHAPES[name]
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


def test_state_dict_has_ordinary_names() -> None:
    architecture = SHAPES["norm"]
    module = to_module(architecture, single(random_tensors(architecture, 1), 0))
    assert [name for name in module.state_dict() if not name.endswith("num_batches_tracked")] == [
        *("conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"),
        *("linear1.weight", "linear1.bias"),
    ]
    assert not module.training
    incomplete = single({k: v for k, v in random_tensors(architecture, 1).items() if k != "norm1.running_var"}, 0)
    with pytest.raises(ValueError, match=r"do not fit the architecture: \['norm1.running_var'\]"):
        to_module(architecture, incomplete)


@pytest.mark.parametrize("name", ["norm", "norm of vectors", "residual", "small cnn"])
def test_folding_norms_keeps_the_function(name: str) -> None:
    architecture = SHAPES[name]
    stack = Stack(architecture, random_tensors(architecture, 4), np.arange(4))
    images = random_images(architecture, 6)
    before = {key: value.clone() for key, value in stack.parameters.items()}
    plain = folded(stack)
    assert not plain.architecture.buffers
    assert not any(isinstance(layer, Norm) for layer in plain.architecture.layers)
    assert list(plain.parameters) == list(plain.architecture.parameters)
    truth = forward(architecture, stack.parameters, images)
    assert relative(forward(plain.architecture, plain.parameters, images), truth) < 1e-12
    assert all(torch.equal(before[key], value) for key, value in stack.parameters.items())


def test_a_norm_that_follows_no_weights_cannot_be_folded() -> None:
    for rows in [(Norm(), Conv(3)), (Conv(3), RELU, Norm())]:
        architecture = Architecture((2, 5, 5), (*rows, GlobalAveragePool()))
        with pytest.raises(ValueError, match="norm1 does not follow a convolution or linear layer"):
            folded(Stack(architecture, random_tensors(architecture, 1), np.arange(1)))


def test_a_shortcut_from_within_a_convolution_and_its_norm_cannot_be_folded() -> None:
    """It reads the convolution's output before the norm, which folding changes."""
    architecture = Architecture((2, 5, 5), (Conv(3), Norm(), RELU, Residual(2), GlobalAveragePool()))
    with pytest.raises(ValueError, match="residual1 reads the input of norm1"):
        folded(Stack(architecture, random_tensors(architecture, 1), np.arange(1)))


def test_hidden_units_may_be_renumbered() -> None:
    """The middle channels of a residual block are in no shortcut: renumbering them with their norm changes nothing."""
    tensors, images = random_tensors(RESIDUAL, 2), random_images(RESIDUAL, 5)
    order = torch.tensor([2, 0, 1])
    renumbered = dict(tensors)
    for name in RESIDUAL.tensors:
        if name.startswith(("conv2.", "norm2.")):
            renumbered[name] = tensors[name][:, order]
    renumbered["conv3.weight"] = tensors["conv3.weight"][:, :, order]
    assert relative(forward(RESIDUAL, renumbered, images), forward(RESIDUAL, tensors, images)) < 1e-12


BAD = {
    "kernel": ((1, 4, 4), (Conv(2), Conv(2)), r"layer conv2 .* reads a 2x2 image with a kernel of 3: use fewer layers"),
    "padded kernel": ((1, 4, 4), (Conv(2, kernel=7, padding=1),), "reads a 4x4 image with a kernel of 7"),
    "pool": ((1, 5, 1), (MaxPool(),), "layer pool1 of the architecture reads a 5x1 image with squares of 2"),
    "convolution of a vector": ((1, 4, 4), (Linear(9), Conv(2)), "layer conv1 of the architecture reads an image, and"),
    "two poolings": ((1, 4, 4), (GlobalAveragePool(), MaxPool()), "layer pool2 of the architecture reads an image"),
    "span": ((1, 4, 4), (Conv(2), Residual(2)), "layer residual1 of the architecture spans 2 rows, there are 1"),
    "no span": ((1, 4, 4), (Conv(2), Residual(0)), "spans 0 rows"),
    "fewer channels": ((3, 4, 4), (Conv(2, padding=1), Residual(1)), "cannot add 3x4x4 to 2x4x4: a shortcut only"),
    "larger image": ((1, 4, 4), (Conv(2, padding=2), Residual(1)), "cannot add 1x4x4 to 2x6x6"),
    "other grid": ((1, 9, 9), (Conv(2), Residual(1)), "cannot add 1x9x9 to 2x7x7"),
    "image to vector": ((1, 4, 4), (Linear(20), Residual(1)), "cannot add 1x4x4 to 20"),
}


@pytest.mark.parametrize(("shape", "rows", "message"), BAD.values(), ids=BAD)
def test_an_architecture_that_cannot_be_is_refused_when_it_is_written(shape, rows, message) -> None:
    with pytest.raises(InputError, match=message):
        Architecture(shape, rows)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown activation 'rely' \(did you mean 'relu'\?\): use one of relu, tanh"):
        Activation("rely")


@pytest.mark.parametrize("architecture", SHAPES.values(), ids=SHAPES)
def test_architectures_survive_json(architecture: Architecture) -> None:
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert again.key == architecture.key
