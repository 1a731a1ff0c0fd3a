import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.scoring import subsets
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.scorecard import scorecard
from benchmark.scoring.subsets import TauOnSubsets


def on(predictions, target, clusters, models, methods, draws=50):
    """What a scorecard gives for predictions that are NaN elsewhere."""
    some = np.where(models, predictions[methods], np.nan)
    score = scorecard(some, target, clusters=clusters, scores=["tau"], draws=draws, random_measures=0)["tau"]
    values = [np.nan if entry.value is None else entry.value for entry in score.entries]
    return values, score.draws


def check(predictions, target, clusters, masks, draws=50):
    taus = TauOnSubsets(predictions, target, resample(len(target), clusters, draws))
    defined = ~np.isnan(predictions)
    for method, own in enumerate(defined):
        (found,) = taus(own, [method])
        value, drawn = on(predictions, target, clusters, own, [method], draws)
        np.testing.assert_array_equal(found[0], value[0])
        np.testing.assert_array_equal(found[1], drawn[0])
    for mask in masks:
        methods = np.flatnonzero((defined | ~mask).all(axis=1))
        if not len(methods) or not mask.any():
            continue
        values, drawn = zip(*taus(mask, methods), strict=True)
        expected_values, expected = on(predictions, target, clusters, mask, methods, draws)
        np.testing.assert_array_equal(values, expected_values)
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("most", [0, 5, 256])
@pytest.mark.parametrize("decimals", [1, 17])
def test_equals_a_scorecard_of_the_subset_to_the_last_bit(monkeypatch, most, decimals):
    """Whether the pairs are counted again or those of the models that are left out are taken away."""
    monkeypatch.setattr(subsets, "MOST_LEFT_OUT", most)
    rng = np.random.default_rng(0)
    n = 150
    target = rng.random(n).round(decimals)
    predictions = (target + 0.3 * rng.normal(size=(4, n))).round(decimals)
    predictions[1, :9] = np.nan
    predictions[2, 100:] = np.nan
    defined = ~np.isnan(predictions)
    masks = [defined[1], defined[2], defined[1] & defined[2], np.arange(n) < 70, np.arange(n) % 7 > 0, np.arange(n) < 2]
    check(predictions, target, np.arange(n) // 2, masks)


cells = st.tuples(
    st.sampled_from([0.0, 1.0, 2.0, -1e308, 1e308, np.nan]),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.integers(0, 2),
    st.integers(0, 4),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=3, max_size=16))
def test_equals_a_scorecard_with_ties_gaps_and_huge_numbers(table):
    first, second, target, clusters, mask = np.array(table, dtype=float).T
    if len(np.unique(clusters)) < 2 or np.ptp(target) == 0:
        return
    check(np.stack([first, second]), target, clusters, [mask > 0], draws=20)
