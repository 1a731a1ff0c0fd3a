"""What a network is: an input shape and a tuple of layer rows.

Both engines, the measures and the neural functionals read these rows, so a layer is described once. An architecture is
immutable and hashable; everything numeric that may differ between models of one stack (dropout rate, learning rate,
initialization) is not part of it. A Linear row that follows an image flattens it first.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

from zoo_builder.errors import InputError, nearest

ACTIVATIONS = ("relu", "tanh")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """A square 2-D convolution with bias."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    word: ClassVar[str] = "conv"

    def output_shape(self, shape: Shape) -> Shape:
        return (self.channels, *(window_count(s, self.kernel, self.stride, self.padding) for s in shape[1:]))


@dataclass(frozen=True)
class Activation:
    kind: str
    word: ClassVar[str] = "activation"

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class Dropout:
    """Elementwise (inverted) dropout; the rate belongs to the model, not to the architecture."""

    word: ClassVar[str] = "dropout"

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean over all positions: (C, H, W) -> (C,)."""

    word: ClassVar[str] = "pool"

    def output_shape(self, shape: Shape) -> Shape:
        return shape[:1]


@dataclass(frozen=True)
class Linear:
    features: int
    word: ClassVar[str] = "linear"

    def output_shape(self, shape: Shape) -> Shape:
        return (self.features,)


Layer = Conv | Activation | Dropout | GlobalAveragePool | Linear
_LAYERS = {row.__name__: row for row in (Conv, Activation, Dropout, GlobalAveragePool, Linear)}


@dataclass(frozen=True)
class Place:
    """A layer where it stands: its name in the network ("conv1", "activation1", ...) and the shapes around it."""

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape

    @property
    def parameters(self) -> dict[str, Shape]:
        """Parameter names and shapes in torch's layout: weight (out, in, k, k) or (out, in), bias (out,)."""
        match self.layer:
            case Conv(channels, kernel):
                weight = (channels, self.input_shape[0], kernel, kernel)
            case Linear(features):
                weight = (features, prod(self.input_shape))
            case _:
                return {}
        return {f"{self.name}.weight": weight, f"{self.name}.bias": weight[:1]}


@dataclass(frozen=True)
class Architecture:
    """An input shape (channels, height, width) and layer rows; the last row is the Linear that gives the classes."""

    input_shape: Shape
    layers: tuple[Layer, ...]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every layer with its name and shapes.

        Raises:
            InputError: an image has become smaller than the kernel that reads it.
        """
        shape, counts, places = self.input_shape, {}, []
        for layer in self.layers:
            counts[layer.word] = counts.get(layer.word, 0) + 1
            name = f"{layer.word}{counts[layer.word]}"
            if isinstance(layer, Conv) and min(shape[1:]) + 2 * layer.padding < layer.kernel:
                raise InputError(
                    f"layer {name} of the architecture reads a {shape[1]}x{shape[2]} image with a kernel of "
                    f"{layer.kernel}: use fewer layers, a smaller stride, or padding"
                )
            places.append(Place(name, layer, shape, layer.output_shape(shape)))
            shape = places[-1].output_shape
        return tuple(places)

    @cached_property
    def weighted(self) -> tuple[Place, ...]:
        """The layers that hold weights, input to output."""
        return tuple(place for place in self.places if place.parameters)

    @cached_property
    def parameters(self) -> dict[str, Shape]:
        """All parameter names and shapes, input to output, weight before bias."""
        return {name: shape for place in self.weighted for name, shape in place.parameters.items()}

    @cached_property
    def size(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self.parameters.values())

    @property
    def classes(self) -> int:
        return self.places[-1].output_shape[0]

    @cached_property
    def key(self) -> str:
        """Eight hexadecimal digits that name this architecture in tables and tensor files."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:8]

    def to_json(self) -> dict:
        return {
            "input_shape": list(self.input_shape),
            "layers": [{"layer": type(layer).__name__, **asdict(layer)} for layer in self.layers],
        }

    @classmethod
    def from_json(cls, value: dict) -> "Architecture":
        layers = tuple(
            _LAYERS[row["layer"]](**{k: v for k, v in row.items() if k != "layer"}) for row in value["layers"]
        )
        return cls(tuple(value["input_shape"]), layers)


def window_count(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many windows of ``kernel`` fit along an axis of ``size``."""
    return (size + 2 * padding - kernel) // stride + 1


def small_cnn(
    input_shape: Shape, classes: int, *, width: int = 16, depth: int = 3, padding: int = 0, activation: str = "relu"
) -> Architecture:
    """``depth`` x [3x3 convolution of stride 2, activation, dropout], global average pooling, linear.

    The defaults are the small CNN of Unterthiner et al. 2020 (arXiv:2002.11448): 4,970 parameters for one grey channel
    and ten classes.
    """
    if activation not in ACTIVATIONS:
        raise InputError(
            f"unknown activation {activation!r}{nearest(activation, ACTIVATIONS)}: use one of {ACTIVATIONS}"
        )
    block = (Conv(width, kernel=3, stride=2, padding=padding), Activation(activation), Dropout())
    return Architecture(tuple(input_shape), block * depth + (GlobalAveragePool(), Linear(classes)))


# A family turns an input shape, a number of classes and architecture hyperparameters into an architecture.
FAMILIES: dict[str, Callable[..., Architecture]] = {"small-cnn": small_cnn}
