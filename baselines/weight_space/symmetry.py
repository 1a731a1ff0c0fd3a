"""Weight spaces: the weight tensors of a chain of layers, and the neurons that may be permuted."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from torch import Tensor

from baselines.methods import NotApplicable
from zoo_builder.networks.architecture import Architecture, Residual

Axes = tuple[int, ...]  # neuron sets
Features = list[Tensor]  # one tensor per WeightTensor of a weight space


@dataclass(frozen=True)
class WeightTensor:
    """A weight or bias tensor, as features of shape [batch, channels * fold, *sizes].

    Attributes:
        axes: the permuted neuron sets that index it, output side first.
        sizes: the number of neurons in each of these sets.
        fold: the number of entries at one position on the axes.
    """

    axes: Axes
    sizes: tuple[int, ...]
    fold: int


@dataclass(frozen=True)
class WeightSpace:
    """The weights of a chain of layers, and the neurons that may be permuted.

    >>> [tensor.axes for tensor in WeightSpace.hnp((3, 8, 2), (9, 1)).tensors]
    [(1,), (1,), (1,), ()]

    Attributes:
        widths: numbers of neurons (channels) in the sets 0 .. L.
        kernels: numbers of weights between two neurons in layers 1 .. L: kernel positions of convolutions, otherwise 1.
        permuted: the neuron sets that may be permuted.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    permuted: frozenset[int]

    @classmethod
    def np(cls, widths: tuple[int, ...], kernels: tuple[int, ...]) -> "WeightSpace":
        """Neuron permutation: inputs and outputs may be permuted, too."""
        return cls(widths, kernels, frozenset(range(len(widths))))

    @classmethod
    def hnp(cls, widths: tuple[int, ...], kernels: tuple[int, ...]) -> "WeightSpace":
        """Hidden neuron permutation: inputs and outputs keep their positions."""
        return cls(widths, kernels, frozenset(range(1, len(widths) - 1)))

    @property
    def ends(self) -> tuple[int, int]:
        """The neuron sets of the inputs and of the outputs."""
        return 0, len(self.widths) - 1

    @cached_property
    def tensors(self) -> tuple[WeightTensor, ...]:
        """W(1), v(1), W(2), v(2), ..."""
        pairs = [((i, i - 1), (i,)) for i in range(1, len(self.widths))]
        entries = [(kernel, 1) for kernel in self.kernels]
        return tuple(map(self._tensor, chain(*pairs), chain(*entries)))

    def _tensor(self, sets: Axes, entries: int) -> WeightTensor:
        axes = tuple(i for i in sets if i in self.permuted)
        in_place = math.prod(self.widths[i] for i in sets if i not in self.permuted)
        return WeightTensor(axes, tuple(self.widths[i] for i in axes), entries * in_place)

    def fold(self, weights: list[Tensor], biases: list[Tensor]) -> Features:
        """Features of one channel from weights [batch, outputs, inputs, kernel] and biases [batch, outputs]."""
        layers = enumerate(zip(weights, biases, strict=True), start=1)
        pairs = [(self._fold(weight, (i, i - 1)), self._fold(bias[..., None], (i,))) for i, (weight, bias) in layers]
        return list(chain(*pairs))

    def _fold(self, tensor: Tensor, sets: Axes) -> Tensor:
        in_place = [d for d, i in enumerate(sets, start=1) if i not in self.permuted]
        axes = [d for d, i in enumerate(sets, start=1) if i in self.permuted]
        return tensor.permute(0, -1, *in_place, *axes).flatten(1, 1 + len(in_place))


def chain_sizes(architecture: Architecture) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths and kernels of the layers with weights, for ``WeightSpace``.

    The image positions of one channel that a linear layer reads count as its kernel.

    Raises:
        NotApplicable: the network has shortcuts.
    """
    if any(isinstance(layer, Residual) for layer in architecture.layers):
        raise NotApplicable(
            "a neural functional permutes the neurons of each layer independently, and shortcuts tie layers together"
        )
    places = architecture.weighted
    widths = (architecture.input_shape[0], *(place.output_shape[0] for place in places))
    sizes = [math.prod(place.parameters[f"{place.name}.weight"]) for place in places]
    return widths, tuple(size // (a * b) for size, a, b in zip(sizes, widths, widths[1:], strict=False))
