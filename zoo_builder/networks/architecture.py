"""An architecture: an input shape and a tuple of layer rows.

Both engines, the measures and the neural functionals read these rows, so a layer is described once. An architecture is
immutable and hashable. Numbers that may differ between the models of one stack (dropout rate, learning rate,
initialization) are not part of it. A Linear row after an image flattens it first.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import ClassVar

from zoo_builder.errors import InputError, one_of

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky-relu", "gelu", "silu")
NORM_EPSILON, NORM_MOMENTUM = 1e-5, 0.1  # torch's defaults
Shape = tuple[int, ...]


class InPlace:
    """A layer whose output has the shape of its input."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


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
class Norm(InPlace):
    """Batch normalization of each channel, with weight and bias; constants as in ``torch.nn.BatchNorm2d``."""

    word: ClassVar[str] = "norm"


@dataclass(frozen=True)
class Activation(InPlace):
    """Elementwise. "leaky-relu" has slope 0.01 below 0; "gelu" is exact, not the tanh approximation."""

    kind: str
    word: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        one_of("activation", self.kind, ACTIVATIONS)


@dataclass(frozen=True)
class Dropout(InPlace):
    """Elementwise inverted dropout. The rate belongs to the model, not to the architecture."""

    word: ClassVar[str] = "dropout"


@dataclass(frozen=True)
class Residual(InPlace):
    """Adds the input of the previous ``span`` rows to their output.

    A larger input is subsampled, and missing channels are filled with zeros: the shortcut without parameters of He et
    al. 2016 (arXiv:1512.03385, option A).
    """

    span: int
    word: ClassVar[str] = "residual"


@dataclass(frozen=True)
class MaxPool:
    """The maximum of each ``size`` x ``size`` square, without overlap; a remainder at the edge is dropped."""

    size: int = 2
    word: ClassVar[str] = "pool"

    def output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *(s // self.size for s in shape[1:]))


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


Layer = Conv | Norm | Activation | Dropout | Residual | MaxPool | GlobalAveragePool | Linear
_LAYERS = {row.__name__: row for row in (Conv, Norm, Activation, Dropout, Residual, MaxPool, GlobalAveragePool, Linear)}


@dataclass(frozen=True)
class Place:
    """A layer in its network: its name ("conv1", "activation1", ...) and the shapes of its input and output."""

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape

    @property
    def parameters(self) -> dict[str, Shape]:
        """Shapes of the parameters, as in torch: weight (out, in, k, k), (out, in) or (channels,), bias (out,)."""
        match self.layer:
            case Conv(channels, kernel):
                weight = (channels, self.input_shape[0], kernel, kernel)
            case Linear(features):
                weight = (features, prod(self.input_shape))
            case Norm():
                weight = self.input_shape[:1]
            case _:
                return {}
        return {f"{self.name}.weight": weight, f"{self.name}.bias": weight[:1]}

    @property
    def multiplications(self) -> int:
        """Multiplications of one example's forward pass, for a convolution or linear layer."""
        return prod(self.parameters[f"{self.name}.weight"]) * prod(self.output_shape[1:])

    @property
    def buffers(self) -> dict[str, Shape]:
        """Shapes of the running statistics of a norm, which it uses in eval mode."""
        if not isinstance(self.layer, Norm):
            return {}
        return {f"{self.name}.running_{kind}": self.input_shape[:1] for kind in ("mean", "var")}


@dataclass(frozen=True)
class Architecture:
    """An input shape (channels, height, width) and layer rows; the last row has one output per class.

    >>> Architecture((1, 8, 8), (Conv(4), Activation("relu"), GlobalAveragePool(), Linear(10))).size
    90

    Raises:
        InputError: an image is smaller than the kernel that reads it, or a shortcut does not fit.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _ = self.places  # fails here, not in training

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every layer with its name and shapes."""
        shapes, counts, places = [self.input_shape], {}, []
        for layer in self.layers:
            counts[layer.word] = counts.get(layer.word, 0) + 1
            name = f"{layer.word}{counts[layer.word]}"
            _check_fit(f"layer {name} of the architecture", layer, shapes)
            shapes.append(layer.output_shape(shapes[-1]))
            places.append(Place(name, layer, *shapes[-2:]))
        return tuple(places)

    @cached_property
    def weighted(self) -> tuple[Place, ...]:
        """The convolutions and linear layers, input to output."""
        return tuple(place for place in self.places if isinstance(place.layer, Conv | Linear))

    @cached_property
    def parameters(self) -> dict[str, Shape]:
        """Names and shapes of all parameters, input to output, weight before bias."""
        return {name: shape for place in self.places for name, shape in place.parameters.items()}

    @cached_property
    def cancelled(self) -> tuple[str, ...]:
        """Names of the biases that the next row, a norm, cancels in training: their gradient is exactly 0."""
        return tuple(
            f"{place.name}.bias"
            for place, after in pairwise(self.places)
            if place in self.weighted and isinstance(after.layer, Norm)
        )

    @cached_property
    def buffers(self) -> dict[str, Shape]:
        """Names and shapes of all running statistics, input to output."""
        return {name: shape for place in self.places for name, shape in place.buffers.items()}

    @cached_property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of all tensors of a stored network: parameters, then buffers."""
        return self.parameters | self.buffers

    @cached_property
    def size(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self.parameters.values())

    @cached_property
    def units(self) -> int:
        """Number of outputs of all convolutions and linear layers for one example."""
        return sum(prod(place.output_shape) for place in self.weighted)

    @cached_property
    def multiplications(self) -> int:
        """Multiplications of one example's forward pass through convolutions and linear layers."""
        return sum(place.multiplications for place in self.weighted)

    @property
    def classes(self) -> int:
        return self.places[-1].output_shape[0]

    @cached_property
    def key(self) -> str:
        """Eight hexadecimal digits that identify this architecture in tables and tensor files."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:8]

    def to_json(self) -> dict:
        return {
            "input_shape": list(self.input_shape),
            "layers": [{"layer": type(layer).__name__, **asdict(layer)} for layer in self.layers],
        }

    @classmethod
    def from_json(cls, value: dict) -> "Architecture":
        """The inverse of ``to_json``.

        Raises:
            InputError: a layer does not fit, or a number is none that a layer can have.
            AttributeError, LookupError, TypeError: another value than ``to_json`` returns.
        """
        for row in ({"input_shape": size} for size in value["input_shape"]):
            _refuse_odd_numbers(row)
        for row in value["layers"]:
            _refuse_odd_numbers(row)
        layers = tuple(
            _LAYERS[row["layer"]](**{k: v for k, v in row.items() if k != "layer"}) for row in value["layers"]
        )
        return cls(tuple(value["input_shape"]), layers)


def _refuse_odd_numbers(row: dict) -> None:
    for name, number in row.items():
        least = 0 if name == "padding" else 1
        if name not in ("layer", "kind") and not (type(number) is int and least <= number < 2**31):
            raise InputError(f"{name} is {str(number)[:40]}, expected a whole number from {least} on")


def window_count(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many windows of ``kernel`` fit along an axis of ``size``.

    >>> window_count(8, kernel=3, stride=2, padding=1)
    4
    """
    return (size + 2 * padding - kernel) // stride + 1


def shortcut_stride(earlier: Shape, later: Shape) -> int:
    """The stride with which a shortcut samples an image (C, H, W) to fit a later one; 1 for vectors (C,)."""
    return -(-earlier[1] // later[1]) if len(earlier) == 3 else 1


def _check_fit(name: str, layer: Layer, shapes: list[Shape]) -> None:
    """Raises InputError if a layer cannot follow; ``shapes`` are those of the input and all earlier outputs."""
    shape = shapes[-1]
    if isinstance(layer, Residual):
        _check_shortcut(name, layer.span, shapes)
    elif isinstance(layer, Conv | MaxPool | GlobalAveragePool) and len(shape) != 3:
        raise InputError(f"{name} reads an image, but the layer before it returns a vector")
    elif isinstance(layer, Conv) and min(shape[1:]) + 2 * layer.padding < layer.kernel:
        _refuse_small_image(name, shape, f"a kernel of {layer.kernel}")
    elif isinstance(layer, MaxPool) and min(shape[1:]) < layer.size:
        _refuse_small_image(name, shape, f"squares of {layer.size}")


def _refuse_small_image(name: str, shape: Shape, reads: str) -> None:
    raise InputError(
        f"{name} reads a {shape[1]}x{shape[2]} image with {reads}: use fewer layers, a smaller stride, or padding"
    )


def _check_shortcut(name: str, span: int, shapes: list[Shape]) -> None:
    if not 0 < span < len(shapes):
        raise InputError(f"{name} spans {span} rows, there are {len(shapes) - 1}")
    earlier, later = shapes[-1 - span], shapes[-1]
    stride = shortcut_stride(earlier, later) if len(earlier) == len(later) else 0
    if not stride or earlier[0] > later[0] or tuple(-(-s // stride) for s in earlier[1:]) != later[1:]:
        raise InputError(
            f"{name} cannot add {'x'.join(map(str, earlier))} to {'x'.join(map(str, later))}: "
            "a shortcut only subsamples images and adds zero channels"
        )
