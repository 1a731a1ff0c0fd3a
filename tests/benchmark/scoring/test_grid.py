from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.scoring.grid import NoGrid, checked, codes_of, configurations_of, encoded, labels, pairs_within, varied


@given(st.lists(st.integers(0, 3), max_size=12))
def test_pairs_within_are_all_pairs_of_a_group(groups):
    first, second = pairs_within(np.array(groups, dtype=int))
    found = [tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)]
    assert sorted(found) == [(i, j) for i, j in combinations(range(len(groups)), 2) if groups[i] == groups[j]]


def test_labels_and_configurations():
    codes = np.array([[0, 1, 2], [1, 1, 2], [0, 1, 2], [1, 0, 2]])
    assert len(set(labels(codes))) == 3
    configurations, runs = configurations_of(codes)
    np.testing.assert_array_equal(configurations[runs], codes)
    assert len(configurations) == 3
    assert varied(codes).tolist() == [0, 1]
    assert labels(codes[:, :0]).tolist() == [0] * 4
    # 40 columns of 10 values: their product is far beyond 64 bits.
    many = np.random.default_rng(0).integers(10, size=(50, 40))
    assert len(set(labels(np.concatenate([many, many])))) == 50


def test_a_grid_need_not_be_factorial_or_of_numbers():
    table = np.array([["adam", None, 1], ["sgd", 0.9, 1], ["sgd", 0.5, 1], ["adam", 0.9, 1]], dtype=object)
    _, _, codes = checked(np.zeros((0, 4)), np.arange(4), table)
    assert codes.tolist() == [[0, 0, 0], [1, 1, 0], [1, 2, 0], [0, 1, 0]]


@pytest.mark.parametrize("sampled", ["all", "one"])
def test_sampled_hyperparameters_form_no_grid(sampled):
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.random(60), rng.random(60), rng.integers(2, size=60)])
    if sampled == "one":
        table[:, 1] = rng.integers(2, size=60)
    with pytest.raises(NoGrid, match="undefined: no grid"):
        checked(np.zeros((0, 60)), rng.random(60), table)


def test_the_numbers_of_a_column_with_words_or_empty_cells_stay_a_feature():
    table = np.array([[0.1, 8, "a"], [10.0, 8, None], ["auto", 16, "a"], [0.1, 16, "b"], [None, 8, "b"]], dtype=object)
    numbers, *words, width, a, none, b = encoded(table, codes_of(table, 5)).T
    assert numbers.tolist() == [0.1, 10, numbers[2], 0.1, numbers[2]]
    assert numbers[2] > 10
    assert [word.tolist() for word in words] == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    assert width.tolist() == [8, 8, 16, 16, 8]
    assert (a + none + b).tolist() == [1] * 5
