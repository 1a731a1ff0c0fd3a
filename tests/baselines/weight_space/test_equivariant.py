"""Equivariant layers against the brute-force count of all equivariant maps."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from baselines.weight_space.equivariant import EquivariantLinear, average
from baselines.weight_space.symmetry import WeightSpace

# Widths, kernel positions (a 2x2 kernel has 4), and the dimension of the space of equivariant affine maps.
DIMENSIONS = [
    (WeightSpace.np, (2, 3, 3, 3), (1, 1, 1), 68),
    (WeightSpace.np, (2, 3, 4, 3, 2), (1, 1, 1, 1), 108),
    (WeightSpace.np, (3, 4, 2), (1, 1), 36),
    (WeightSpace.np, (1, 3, 3, 2), (4, 4, 1), 294),
    (WeightSpace.np, (1, 2, 2, 2, 3), (4, 4, 4, 1), 541),
    (WeightSpace.hnp, (2, 3, 3, 3), (1, 1, 1), 174),
    (WeightSpace.hnp, (2, 3, 4, 3, 2), (1, 1, 1, 1), 175),
    (WeightSpace.hnp, (3, 4, 2), (1, 1), 108),
    (WeightSpace.hnp, (1, 3, 3, 2), (4, 4, 1), 356),
    (WeightSpace.hnp, (1, 2, 2, 2, 3), (4, 4, 4, 1), 720),
]


VARIANTS = [WeightSpace.np, WeightSpace.hnp]


def orbit_count(space, random_weights, permute_weights):
    """Orbits of the entries of a weight space and of their pairs, by brute force."""
    weights, biases = random_weights(space, 1)
    sizes = [tensor.numel() for tensor in weights + biases]
    n = sum(sizes)
    numbers = [own.view(t.shape) for own, t in zip(torch.arange(n).split(sizes), weights + biases, strict=True)]
    moves = []
    for i in space.permuted:
        cycle, swap = torch.arange(space.widths[i]).roll(1), torch.arange(space.widths[i])
        swap[:2] = swap[:2].flip(0)
        for permutation in (cycle, swap):  # together they generate all permutations
            moved = permute_weights(numbers[: len(weights)], numbers[len(weights) :], {i: permutation})
            moves.append(torch.cat([tensor.flatten() for tensors in moved for tensor in tensors]).numpy())

    def components(moves):
        size = len(moves[0])
        edges = np.tile(np.arange(size), len(moves)), np.concatenate(moves)
        return connected_components(coo_array((np.ones(len(edges[0])), edges), (size, size)), directed=False)[0]

    return components(moves) + components([(move[:, None] * n + move).ravel() for move in moves])


def spanned_maps(space, random_weights):
    """A one-channel layer and, per parameter, what each entry adds to the outputs: {name: [outputs, *parameter shape]}.

    The layer is affine in its inputs and linear in its parameters, so the rank of all this, on more random inputs than
    there are weights, is the dimension of the space of functions that it spans.
    """
    layer = EquivariantLinear(space, 1, 1).double()
    features = space.fold(
        *random_weights(space, 5 + sum(tensor.fold * np.prod(tensor.sizes, dtype=int) for tensor in space.tensors))
    )

    shapes = {name: parameter.shape for name, parameter in layer.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def outputs(flat):
        parts = zip(shapes.items(), flat.split(sizes), strict=True)
        parameters = {name: part.view(shape) for (name, shape), part in parts}
        produced = torch.func.functional_call(layer, parameters, (features,))
        return torch.cat([output.expand(len(features[0]), *output.shape[1:]).flatten() for output in produced])

    columns = torch.vmap(outputs)(torch.eye(sum(sizes), dtype=torch.float64)).T.split(sizes, 1)
    return layer, {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), columns, strict=True)}


def rank(maps):
    return int(torch.linalg.matrix_rank(torch.cat([columns.flatten(1) for columns in maps.values()], 1)))


@pytest.mark.parametrize(("variant", "widths", "kernels", "dimension"), DIMENSIONS)
def test_layer_spans_every_equivariant_affine_map(variant, widths, kernels, dimension, random_weights, permute_weights):
    space = variant(widths, kernels)
    assert orbit_count(space, random_weights, permute_weights) == dimension
    assert rank(spanned_maps(space, random_weights)[1]) == dimension


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_term_can_be_left_out(variant, random_weights):
    space = variant((2, 3, 4, 3), (1, 2, 1))
    layer, maps = spanned_maps(space, random_weights)
    full = rank(maps)
    folds = [tensor.fold for tensor in space.tensors]
    for t, (_, having) in enumerate(layer.terms):
        edges = np.cumsum([0, *(folds[p] for p in having)])
        for rows in pairwise(edges):
            for columns in pairwise(edges):
                without = maps[f"weights.{t}"].clone()
                without[:, slice(*rows), slice(*columns)] = 0
                assert rank(maps | {f"weights.{t}": without}) < full
    for name in (name for name in maps if name.startswith("constants")):
        assert rank({other: columns for other, columns in maps.items() if other != name}) < full


@pytest.mark.parametrize("variant", VARIANTS)
def test_layer_commutes_with_permutations(variant, permute_features):
    space = variant((3, 5, 4, 6, 2), (4, 9, 1, 1))
    layer = EquivariantLinear(space, 3, 2).double()
    features = [torch.randn(2, 3 * tensor.fold, *tensor.sizes, dtype=torch.float64) for tensor in space.tensors]
    permutations = {i: torch.randperm(space.widths[i]) for i in space.permuted}

    @torch.no_grad()
    def error(function):
        moved = function(permute_features(space, features, permutations))
        expected = permute_features(space, function(features), permutations)
        return max((a - b).abs().max().item() for a, b in zip(moved, expected, strict=True))

    assert error(layer) < 1e-12
    position_weights = [torch.randn(tensor.sizes, dtype=torch.float64) for tensor in space.tensors]
    per_position = lambda inputs: [a * (1 + 1e-3 * b) for a, b in zip(layer(inputs), position_weights, strict=True)]  # noqa: E731
    assert error(per_position) > 1e-6


@pytest.mark.parametrize(("variant", "invariant"), [(WeightSpace.np, True), (WeightSpace.hnp, False)])
@pytest.mark.parametrize("end", [0, 3])
def test_only_np_ignores_the_order_of_inputs_and_outputs(variant, invariant, end, random_weights, permute_weights):
    space = variant((3, 5, 4, 3), (4, 9, 1))
    layer = EquivariantLinear(space, 1, 2).double()
    weights, biases = random_weights(space, 2)

    @torch.no_grad()
    def averages(weights, biases):
        outputs = layer(space.fold(weights, biases))
        return torch.cat([average(f, tensor.axes, ()) for f, tensor in zip(outputs, space.tensors, strict=True)], 1)

    moved = averages(*permute_weights(weights, biases, {end: torch.tensor([1, 2, 0])}))
    error = (averages(weights, biases) - moved).abs().max().item()
    assert error < 1e-12 if invariant else error > 1e-3


def test_outputs_of_a_layer_start_at_the_scale_of_its_inputs():
    space = WeightSpace.hnp((1, 16, 16, 16, 10), (9, 9, 9, 1))
    outputs = EquivariantLinear(space, 16, 16)(
        [torch.randn(4, 16 * tensor.fold, *tensor.sizes) for tensor in space.tensors]
    )
    assert all(0.05 < output.std().item() < 2 for output in outputs)
