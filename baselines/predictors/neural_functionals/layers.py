"""Affine maps on the weights of a network that commute with permutations of its neurons.

Neuron set 0 holds a network's inputs, set i the outputs of its i-th layer. A weight tensor W(i) is indexed by a neuron
of set i and one of set i - 1, a bias v(i) by a neuron of set i. The sets that may be permuted become axes of a feature
tensor; every other index (a kernel position, a neuron that stays in its place) folds into its channels.

Which maps there are: an orbit of pairs (output entry, input entry) knows, for each axis that the two tensors share,
whether both stand at the same neuron, and nothing else. Hence one term for each set of shared axes: average the input
over its other axes, mix the channels, repeat along the other axes of the output. With one constant per output channel
these span all equivariant affine maps. Written out, they are the terms of Zhou et al. 2023 (arXiv:2302.14040).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations

import torch
from torch import Tensor, nn

from baselines.interface import NotApplicable
from zoo_builder.architecture import Architecture, Residual

Axes = tuple[int, ...]  # neuron sets
Features = list[Tensor]  # one tensor per part of a weight space


@dataclass(frozen=True)
class Part:
    """A weight or bias tensor, as features of shape [batch, channels * fold, *sizes].

    Attributes:
        axes: the permuted neuron sets that index it, output side first.
        sizes: how many neurons each of them has.
        fold: how many entries share one position on the axes.
    """

    axes: Axes
    sizes: tuple[int, ...]
    fold: int


@dataclass(frozen=True)
class WeightSpace:
    """The weights of a chain of layers, and which neurons may be permuted.

    Attributes:
        widths: neurons (channels) of the sets 0 .. L.
        kernels: entries between two neurons in the layers 1 .. L: a convolution's kernel positions, otherwise 1.
        permuted: the neuron sets that may be permuted.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    permuted: frozenset[int]

    @classmethod
    def np(cls, widths: tuple[int, ...], kernels: tuple[int, ...]) -> "WeightSpace":
        """Neuron permutation: inputs and outputs may be permuted too."""
        return cls(widths, kernels, frozenset(range(len(widths))))

    @classmethod
    def hnp(cls, widths: tuple[int, ...], kernels: tuple[int, ...]) -> "WeightSpace":
        """Hidden neuron permutation: inputs and outputs keep their places."""
        return cls(widths, kernels, frozenset(range(1, len(widths) - 1)))

    @property
    def ends(self) -> tuple[int, int]:
        """The neuron sets of the inputs and of the outputs."""
        return 0, len(self.widths) - 1

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """W(1), v(1), W(2), v(2), ..."""
        pairs = [((i, i - 1), (i,)) for i in range(1, len(self.widths))]
        entries = [(kernel, 1) for kernel in self.kernels]
        return tuple(map(self._part, chain(*pairs), chain(*entries)))

    def _part(self, sets: Axes, entries: int) -> Part:
        axes = tuple(i for i in sets if i in self.permuted)
        in_place = math.prod(self.widths[i] for i in sets if i not in self.permuted)
        return Part(axes, tuple(self.widths[i] for i in axes), entries * in_place)

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
    """Widths and kernels of an architecture's weighted layers.

    The image positions that a linear layer reads from one channel count as a kernel.

    Raises:
        NotApplicable: the network has shortcuts.
    """
    if any(isinstance(layer, Residual) for layer in architecture.layers):
        raise NotApplicable(
            "a neural functional renumbers the neurons of each layer on their own, and shortcuts tie layers together"
        )
    places = architecture.weighted
    widths = (architecture.input_shape[0], *(place.output_shape[0] for place in places))
    sizes = [math.prod(place.parameters[f"{place.name}.weight"]) for place in places]
    return widths, tuple(size // (a * b) for size, a, b in zip(sizes, widths, widths[1:], strict=False))


class EquivariantLinear(nn.Module):
    """All equivariant affine maps between two feature lists of a weight space (an NF-Layer with nothing left out).

    The matrix of a term mixes the concatenated channels of every part that has the term's axes. Entries start uniform
    in +-1/sqrt(n), n being the number of values summed up in the output they contribute to.

    Attributes:
        terms: for each term its shared axes and the positions of the parts that have them.
        weights: for each term its matrix; rows are output channels, columns input channels, part after part.
        constants: for each part one constant per output channel.
    """

    def __init__(self, space: WeightSpace, channels_in: int, channels_out: int):
        super().__init__()
        self.parts = space.parts
        folds = [part.fold for part in self.parts]
        shared = sorted({axes for part in self.parts for axes in _subsets(part.axes)})
        self.terms = [(axes, [p for p, part in enumerate(self.parts) if {*axes} <= {*part.axes}]) for axes in shared]
        columns = [channels_in * sum(folds[p] for p in having) for _, having in self.terms]
        self.rows = [channels_out * fold for fold in folds]
        inputs = [
            sum(count for count, (_, having) in zip(columns, self.terms, strict=True) if p in having)
            for p in range(len(self.parts))
        ]
        self.weights = nn.ParameterList(
            torch.cat([_uniform((self.rows[p], count), inputs[p]) for p in having])
            for count, (_, having) in zip(columns, self.terms, strict=True)
        )
        self.constants = nn.ParameterList(
            _uniform((rows, *[1] * len(part.axes)), count)
            for rows, part, count in zip(self.rows, self.parts, inputs, strict=True)
        )

    def forward(self, features: Features) -> Features:
        outputs: Features = list(self.constants)
        for (axes, having), weight in zip(self.terms, self.weights, strict=True):
            averages = [average(features[p], self.parts[p].axes, axes) for p in having]
            mixed = torch.einsum("oc,bc...->bo...", weight, torch.cat(averages, 1))
            for p, piece in zip(having, mixed.split([self.rows[p] for p in having], 1), strict=True):
                outputs[p] = outputs[p] + _repeat(piece, axes, self.parts[p].axes)
        return outputs


def average(feature: Tensor, axes: Axes, kept: Axes) -> Tensor:
    """[batch, channels, *axes] -> [batch, channels, *kept]."""
    dims = [d for d, axis in enumerate(axes, start=2) if axis not in kept]
    return feature.mean(dims) if dims else feature


def _repeat(feature: Tensor, axes: Axes, wanted: Axes) -> Tensor:
    """Inserts a dimension of size 1 for each wanted axis that is missing."""
    for d, axis in enumerate(wanted, start=2):
        if axis not in axes:
            feature = feature.unsqueeze(d)
    return feature


def _subsets(axes: Axes) -> list[Axes]:
    return [chosen for size in range(len(axes) + 1) for chosen in combinations(axes, size)]


def _uniform(shape: tuple[int, ...], inputs: int) -> Tensor:
    return torch.empty(shape).uniform_(-1, 1) / math.sqrt(inputs)
