"""One network as a plain ``nn.Module``."""

from collections import OrderedDict
from math import prod

from torch import Tensor, nn

from zoo_builder.networks.architecture import (
    NORM_EPSILON,
    NORM_MOMENTUM,
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
from zoo_builder.networks.stack import shortcut

_MODULE = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class Network(nn.Sequential):
    """One network: a sequence of ordinary modules, except that shortcuts also read an earlier state."""

    def forward(self, input: Tensor) -> Tensor:
        states = [input]
        for layer in self:
            hidden = layer(states[-1], states[-1 - layer.span]) if isinstance(layer, Shortcut) else layer(states[-1])
            if isinstance(layer, nn.Flatten):  # not a row of the architecture
                states[-1] = hidden
            else:
                states.append(hidden)
        return states[-1]


class Shortcut(nn.Module):
    """The module of a ``Residual`` row."""

    def __init__(self, span: int) -> None:
        super().__init__()
        self.span = span

    def forward(self, later: Tensor, earlier: Tensor) -> Tensor:
        return later + shortcut(earlier, later, 1)


def to_module(architecture: Architecture, parameters: dict[str, Tensor], dropout: float = 0.0) -> Network:
    """One network as an ordinary module in eval mode.

    Args:
        parameters: its ``state_dict``, names and shapes as ``architecture.tensors`` (without a model axis).

    Raises:
        ValueError: tensors are missing or unknown.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for place in architecture.places:
        match place.layer:
            case Conv(channels, kernel, stride, padding):
                layers[place.name] = nn.Conv2d(place.input_shape[0], channels, kernel, stride, padding)
            case Linear(features):
                if len(place.input_shape) == 3:
                    layers[f"flatten_{place.name}"] = nn.Flatten()
                layers[place.name] = nn.Linear(prod(place.input_shape), features)
            case Norm():
                norm = nn.BatchNorm2d if len(place.input_shape) == 3 else nn.BatchNorm1d
                layers[place.name] = norm(place.input_shape[0], NORM_EPSILON, NORM_MOMENTUM)
            case Activation(kind):
                layers[place.name] = _MODULE[kind]()
            case Dropout():
                layers[place.name] = nn.Dropout(dropout)
            case Residual(span):
                layers[place.name] = Shortcut(span)
            case MaxPool(size):
                layers[place.name] = nn.MaxPool2d(size)
            case GlobalAveragePool():
                layers[place.name] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Network(layers).to(next(iter(parameters.values())).dtype)
    # num_batches_tracked is not stored: only a cumulative average of the statistics would use it.
    missing, unexpected = network.load_state_dict(parameters, strict=False)
    wrong = [name for name in (*missing, *unexpected) if not name.endswith("num_batches_tracked")]
    if wrong:
        raise ValueError(f"parameters do not fit the architecture: {wrong}")
    return network.eval()
