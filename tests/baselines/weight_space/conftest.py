"""Random weights of a weight space, and features whose neurons are permuted."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def random_weights():
    """random_weights(space, batch): weights [batch, out, in, kernel] and biases [batch, out] of every layer."""

    def draw(space, batch):
        sizes = list(zip(space.widths[1:], space.widths, space.kernels, strict=False))
        weights = [torch.randn(batch, *size, dtype=torch.float64) for size in sizes]
        return weights, [torch.randn(batch, out, dtype=torch.float64) for out, _, _ in sizes]

    return draw


@pytest.fixture(scope="session")
def permute_features():
    """permute_features(space, features, {set: permutation})."""

    def permute(space, features, permutations):
        permuted = []
        for tensor, feature in zip(space.tensors, features, strict=True):
            for position, axis in enumerate(tensor.axes):
                feature = feature.index_select(2 + position, permutations[axis])
            permuted.append(feature)
        return permuted

    return permute
