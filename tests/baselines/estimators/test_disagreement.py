"""Disagreement on logits whose answer can be worked out by hand."""

import numpy as np
import pytest

from baselines.estimators.disagreement import Disagreement, mean_agreement
from baselines.methods import NotApplicable


def test_by_hand(target_view, votes):
    logits = votes("0000", "3333", "0001", "0021", "3332")
    prediction = Disagreement().estimate(target_view(logits, configurations=[7, 5, 7, 7, 5]))
    # Of configuration 7, models 0, 2, 3: agreements 3/4 (0, 2), 1/2 (0, 3), 3/4 (2, 3). Of 5: 3/4.
    assert prediction.values == pytest.approx([5 / 8, 3 / 4, 3 / 4, 5 / 8, 3 / 4])
    assert prediction.reasons == {}


def test_runs_that_err_independently_estimate_their_error():
    """Two-class runs that are right with probability p on every image agree with p^2 + (1 - p)^2; GDE holds where each
    image is either sure or a coin flip: then disagreement and error are both half the share of coin flips."""
    random = np.random.default_rng(0)
    sure, runs, images = 0.7, 6, 20_000
    coin = random.random(images) > sure
    wrong = coin & (random.random((runs, images)) < 0.5)
    np.testing.assert_allclose(mean_agreement(np.eye(2)[wrong.astype(int)]), 1 - wrong.mean(1), atol=0.01)


def test_it_needs_seeds(target_view, votes):
    with pytest.raises(NotApplicable, match=r"one run, and .* `seeds` of at least 2"):
        Disagreement().estimate(target_view(votes("01", "11")))


def test_a_model_without_a_twin_has_a_reason(target_view, votes):
    prediction = Disagreement().estimate(target_view(votes("01", "00", "22"), configurations=[3, 3, 4]))
    np.testing.assert_array_equal(prediction.values, [0.5, 0.5, np.nan])
    assert prediction.reasons == {2: "no other run of its configuration has finite outputs"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite(bad, target_view, votes):
    logits = votes("01", "00", "22", "22")
    logits[2, 0, 0] = bad
    prediction = Disagreement().estimate(target_view(logits, configurations=[3, 3, 4, 4]))
    assert prediction.reasons == {
        2: "the model has outputs that are not finite",
        3: "no other run of its configuration has finite outputs",
    }
    np.testing.assert_array_equal(prediction.values, [0.5, 0.5, np.nan, np.nan])
