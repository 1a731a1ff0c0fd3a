"""Affine maps on the weights of a network that commute with permutations of its neurons.

Neuron set 0 holds a network's inputs, set i the outputs of its i-th layer. A weight tensor W(i) is indexed by a neuron
of set i and one of set i - 1, a bias v(i) by a neuron of set i. The sets that may be permuted are axes of a feature
tensor; every other index (a kernel position, a neuron that keeps its position) is folded into its channels.

An orbit of pairs (output entry, input entry) is determined by the shared axes of the two tensors on which both entries
are at the same neuron. Hence there is one term for each set of shared axes: average the input over its other axes, mix
the channels, repeat along the other axes of the output. With one constant per output channel, these terms span all
equivariant affine maps; written out, they are the terms of Zhou et al. 2023 (arXiv:2302.14040).
"""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from baselines.weight_space.symmetry import Axes, Features, WeightSpace


class EquivariantLinear(nn.Module):
    """All equivariant affine maps between two feature lists of a weight space (a complete NF-Layer).

    The matrix of a term mixes the concatenated channels of all tensors that have the term's axes. Its entries are drawn
    uniformly from +-1/sqrt(n), where n is the number of values that an output sums up.

    Attributes:
        tensors: the weight tensors of the space.
        terms: for each term, its shared axes and the positions of the tensors that have them.
        weights: for each term, its matrix: output channels x input channels, tensor after tensor.
        constants: for each tensor, one constant per output channel.
    """

    def __init__(self, space: WeightSpace, channels_in: int, channels_out: int):
        super().__init__()
        self.tensors = space.tensors
        folds = [tensor.fold for tensor in self.tensors]
        shared = sorted({axes for tensor in self.tensors for axes in _subsets(tensor.axes)})
        self.terms = [
            (axes, [p for p, tensor in enumerate(self.tensors) if {*axes} <= {*tensor.axes}]) for axes in shared
        ]
        columns = [channels_in * sum(folds[p] for p in having) for _, having in self.terms]
        self.rows = [channels_out * fold for fold in folds]
        inputs = [
            sum(count for count, (_, having) in zip(columns, self.terms, strict=True) if p in having)
            for p in range(len(self.tensors))
        ]
        self.weights = nn.ParameterList(
            torch.cat([_uniform((self.rows[p], count), inputs[p]) for p in having])
            for count, (_, having) in zip(columns, self.terms, strict=True)
        )
        self.constants = nn.ParameterList(
            _uniform((rows, *[1] * len(tensor.axes)), count)
            for rows, tensor, count in zip(self.rows, self.tensors, inputs, strict=True)
        )

    def forward(self, features: Features) -> Features:
        outputs: Features = list(self.constants)
        for (axes, having), weight in zip(self.terms, self.weights, strict=True):
            averages = [average(features[p], self.tensors[p].axes, axes) for p in having]
            mixed = torch.einsum("oc,bc...->bo...", weight, torch.cat(averages, 1))
            for p, share in zip(having, mixed.split([self.rows[p] for p in having], 1), strict=True):
                outputs[p] = outputs[p] + _repeat(share, axes, self.tensors[p].axes)
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
