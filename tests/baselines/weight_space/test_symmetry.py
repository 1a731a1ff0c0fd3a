"""Weight spaces: folding into features, and the sizes of a chain of layers."""

import pytest
import torch

from baselines.weight_space.symmetry import WeightSpace, chain_sizes
from zoo_builder.networks.architecture import Activation, Architecture, Conv, Linear
from zoo_builder.networks.families import small_cnn

VARIANTS = [WeightSpace.np, WeightSpace.hnp]


@pytest.mark.parametrize("variant", VARIANTS)
def test_folding_commutes_with_permutations(variant, random_weights, permute_weights, permute_features):
    space = variant((3, 5, 4, 2), (4, 9, 1))
    weights, biases = random_weights(space, 2)
    permutations = {i: torch.randperm(space.widths[i]) for i in space.permuted}
    moved = space.fold(*permute_weights(weights, biases, permutations))
    expected = permute_features(space, space.fold(weights, biases), permutations)
    assert all(torch.equal(a, b) for a, b in zip(moved, expected, strict=True))


def test_sizes_of_a_chain_count_image_positions_as_kernel():
    assert chain_sizes(small_cnn((1, 32, 32), 10)) == ((1, 16, 16, 16, 10), (9, 9, 9, 1))
    flat = Architecture((2, 5, 5), (Conv(4, kernel=2), Activation("relu"), Linear(3)))
    assert chain_sizes(flat) == ((2, 4, 3), (4, 16))
