"""Families of networks: functions from an input shape, a number of classes and hyperparameters to an architecture.

The keyword arguments of a family are hyperparameters of its recipes; ``ARCHITECTURE_HYPERPARAMETERS`` lists the values
that each may have. Every convolution has a bias, also before a norm.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from inspect import signature

from zoo_builder.errors import InputError, one_of
from zoo_builder.networks.architecture import (
    ACTIVATIONS,
    Activation,
    Architecture,
    Conv,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Norm,
    Residual,
    Shape,
)
from zoo_builder.strict_toml import Key, not_negative, positive

NORMS = ("none", "batch")
RESIDUALS = ("none", "add")
WIDEST = ("last", "first")


def small_cnn(
    input_shape: Shape, classes: int, *, width: int = 16, depth: int = 3, padding: int = 0, activation: str = "relu"
) -> Architecture:
    """``depth`` x [3x3 convolution of stride 2, activation, dropout], global average pooling, linear.

    The defaults are the small CNN of Unterthiner et al. 2020 (arXiv:2002.11448).

    >>> small_cnn((1, 32, 32), classes=10).size
    4970
    """
    block = (Conv(width, kernel=3, stride=2, padding=padding), Activation(activation), Dropout())
    return _architecture(input_shape, block * depth, GlobalAveragePool(), Linear(classes))


def mlp(
    input_shape: Shape, classes: int, *, width: int = 128, depth: int = 2, activation: str = "relu"
) -> Architecture:
    """``depth`` x [``width`` units, activation, dropout], linear."""
    return _architecture(input_shape, (Linear(width), Activation(activation), Dropout()) * depth, Linear(classes))


def nin(input_shape: Shape, classes: int, *, width: int = 192, depth: int = 3, norm: str = "batch") -> Architecture:
    """Network in network (Jiang et al. 2019, arXiv:1912.02178, after Lin et al. 2013, arXiv:1312.4400).

    ``depth`` blocks of a 3x3 convolution of stride 2 and two of 1x1, each with norm and ReLU, and dropout at the end of
    the block; then a 1x1 convolution to the classes and global average pooling.
    """
    block = (*_convolution(width, 3, 2, norm=norm), *_convolution(width, 1, norm=norm) * 2, Dropout())
    return _architecture(input_shape, block * depth, Conv(classes, kernel=1), GlobalAveragePool())


def vgg(
    input_shape: Shape, classes: int, *, width: int = 256, depth: int = 3, dense: int = 1, norm: str = "none"
) -> Architecture:
    """``depth`` blocks of two 3x3 convolutions and max pooling, ``dense`` x [128 units, ReLU, dropout], linear.

    The last block has ``width`` channels, every earlier one half of the next. Tasks 1 and 8 of PGDL (arXiv:2012.07976).
    """
    blocks = [(*_convolution(max(1, width >> left), norm=norm) * 2, MaxPool()) for left in reversed(range(depth))]
    top = (Linear(128), Activation("relu"), Dropout()) * dense
    return _architecture(input_shape, *blocks, top, Linear(classes))


def fully_conv(
    input_shape: Shape, classes: int, *, width: int = 256, depth: int = 4, norm: str = "none", widest: str = "last"
) -> Architecture:
    """``depth`` x [3x3 convolution, norm, ReLU, dropout] without downsampling, 1x1 to the classes, average pooling.

    The layers have 1/depth, 2/depth, ..., 1 times ``width`` channels, or the reverse if ``widest`` is "first". Tasks
    4 and 5 of PGDL (arXiv:2012.07976).
    """
    widths = [max(1, width * number // depth) for number in range(1, depth + 1)]
    if one_of("widest", widest, WIDEST) == "first":
        widths.reverse()
    layers = [(*_convolution(channels, norm=norm), Dropout()) for channels in widths]
    return _architecture(input_shape, *layers, Conv(classes, kernel=1), GlobalAveragePool())


def resnet(input_shape: Shape, classes: int, *, width: int = 16, depth: int = 20, norm: str = "batch") -> Architecture:
    """The residual network for CIFAR-10 of He et al. 2016 (arXiv:1512.03385, sec. 4.2), shortcuts of option A.

    A 3x3 convolution, three stages of (depth - 2) / 6 blocks of two 3x3 convolutions with ``width``, 2 and 4 times
    ``width`` channels, the later two stages at half the resolution of the one before; global average pooling, dropout,
    linear.

    Raises:
        InputError: depth is not 6 n + 2.
    """
    if depth < 8 or depth % 6 != 2:
        raise InputError(f"depth of a resnet is {depth}: it must be 6 n + 2, so use 8, 14, 20, 32, 44, 56, ...")
    blocks = []
    for stage in range(3):
        for block in range((depth - 2) // 6):
            stride = 2 if stage and block == 0 else 1
            *layers, relu = (
                *_convolution(width << stage, 3, stride, norm=norm),
                *_convolution(width << stage, norm=norm),
            )
            blocks.append((*layers, Residual(len(layers)), relu))
    first = _convolution(width, norm=norm)
    return _architecture(input_shape, first, *blocks, GlobalAveragePool(), Dropout(), Linear(classes))


def park(
    input_shape: Shape,
    classes: int,
    *,
    width: int = 16,
    depth: int = 3,
    kernel: int = 3,
    activation: str = "relu",
    residual: str = "none",
) -> Architecture:
    """``depth`` x [convolution, activation, dropout], global average pooling, linear.

    The first three convolutions have stride 2, and all are padded. With ``residual`` = "add", all but the first add
    their input to their output, before the activation. After the CNN Wild Park (Kofinas et al. 2024, arXiv:2403.12143).
    """
    shortcut = (Residual(1),) if one_of("residual", residual, RESIDUALS) == "add" else ()
    layers = [
        (
            Conv(width, kernel, stride=2 if number < 3 else 1, padding=kernel // 2),
            *(shortcut if number else ()),
            Activation(activation),
            Dropout(),
        )
        for number in range(depth)
    ]
    return _architecture(input_shape, *layers, GlobalAveragePool(), Linear(classes))


FAMILIES: dict[str, Callable[..., Architecture]] = {
    "small-cnn": small_cnn,
    "mlp": mlp,
    "nin": nin,
    "vgg": vgg,
    "fully-conv": fully_conv,
    "resnet": resnet,
    "park": park,
}


def _convolution(channels: int, kernel: int = 3, stride: int = 1, *, norm: str) -> tuple[Layer, ...]:
    """A convolution with "same" padding, its norm, and ReLU."""
    norms = (Norm(),) if one_of("norm", norm, NORMS) == "batch" else ()
    return Conv(channels, kernel, stride, kernel // 2), *norms, Activation("relu")


def _architecture(input_shape: Iterable[int], *rows: Layer | tuple[Layer, ...]) -> Architecture:
    layers = [layer for row in rows for layer in (row if isinstance(row, tuple) else (row,))]
    return Architecture(tuple(input_shape), tuple(layers))


# Deeper networks are not trained in large numbers, and describing one would take long.
DEEPEST = 1000
# The keyword arguments of a family's function select from these and set the defaults.
ARCHITECTURE_HYPERPARAMETERS = (
    Key("width", int, "a whole number >= 1", positive),
    Key("depth", int, f"a whole number in 1 .. {DEEPEST}", lambda value: 1 <= value <= DEEPEST),
    Key("padding", int, "a whole number >= 0", not_negative),
    Key("activation", str, ACTIVATIONS),
    Key("kernel", int, "an odd number >= 1", lambda value: value > 0 and value % 2 == 1),
    Key("dense", int, f"a whole number in 0 .. {DEEPEST}", lambda value: 0 <= value <= DEEPEST),
    Key("norm", str, NORMS),
    Key("residual", str, RESIDUALS),
    Key("widest", str, WIDEST),
)


def architecture_hyperparameters(family: str) -> tuple[Key, ...]:
    """The hyperparameters of a family's architecture: the keyword arguments of its function."""
    arguments = signature(FAMILIES[family]).parameters
    return tuple(
        replace(key, default=arguments[key.name].default)
        for key in ARCHITECTURE_HYPERPARAMETERS
        if key.name in arguments
    )
