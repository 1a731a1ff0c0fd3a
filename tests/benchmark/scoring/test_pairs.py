from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmark.scoring import bootstrap, pairs
from benchmark.scoring.pairs import PairCounts, nats


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=1, max_size=12), st.integers(1, 20), st.booleans())
def test_counts_equal_a_loop_over_pairs(table, chunk, themselves):
    """Those of resampled models are tested with the scores, in ``test_pgdl`` and ``test_conditional_mi``."""
    prediction, target, *sets = np.array(table).T
    sets = [np.unique(each, return_inverse=True)[1] for each in sets]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "CHUNK", chunk)
        patch.setattr(bootstrap, "RADIX", 4)
        tables = PairCounts(target, sets, themselves).of(prediction)
    for found, groups in zip(tables, sets, strict=True):
        expected = np.zeros((3, 3, groups.max() + 1, groups.max() + 1))
        for i, j in product(range(len(table)), repeat=2):
            if themselves or i != j:
                signs = 1 + np.sign(prediction[i] - prediction[j]), 1 + np.sign(target[i] - target[j])
                expected[*signs, groups[i], groups[j]] += 1
        second, first = np.tril_indices(groups.max() + 1)
        np.testing.assert_array_equal(found.counts[..., 0], expected[..., first, second])
        np.testing.assert_array_equal(found.turned[..., 0], expected[..., second, first][..., first != second])


def test_nats_of_a_certain_outcome_are_exactly_zero():
    """Of two coins: a constant one, two equal ones, two independent ones, and none."""
    constant, equal, independent, empty = [[7.0, 5], [0, 0]], [[3.0, 0], [0, 3]], [[1.0, 2], [2, 4]], [[0.0, 0], [0, 0]]
    information, entropy = nats(np.stack([constant, equal, independent, empty], axis=-1))
    np.testing.assert_allclose(information, [0, 6 * np.log(2), 0, 0], atol=1e-14)
    expected = [12 * scipy.stats.entropy([7, 5]), 6 * np.log(2), 9 * scipy.stats.entropy([3, 6]), 0]
    np.testing.assert_allclose(entropy, expected, atol=1e-14)
    assert information[0] == 0
    assert (nats(np.stack([constant, empty], axis=-1).swapaxes(0, 1))[1] == 0).all()
