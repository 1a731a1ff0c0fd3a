"""Average confidence on logits whose answer can be worked out by hand."""

import numpy as np
import pytest

from baselines.estimators.average_confidence import AverageConfidence, average_confidence


def test_in_closed_form(target_view):
    # ln 3 against 0: 3/4. Equal logits of 2 classes: 1/2. A far ahead: 1.
    logits = [[[np.log(3), 0], [0, 0]], [[0, 0], [5, 5]], [[60000, -60000], [0, 60000]]]
    prediction = AverageConfidence().estimate(target_view(logits))
    assert prediction.values == pytest.approx([(0.75 + 0.5) / 2, 0.5, 1], abs=1e-3)
    assert prediction.values.dtype == np.float64
    assert prediction.reasons == {}


def test_it_is_the_mean_largest_softmax_probability():
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float16)
    exponentials = np.exp(logits.astype(float))
    truth = (exponentials / exponentials.sum(1, keepdims=True)).max(1).mean()
    assert average_confidence(logits) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite(bad, target_view, votes):
    logits = votes("01", "00", "22", "22")
    logits[2, 0, 0] = bad
    prediction = AverageConfidence().estimate(target_view(logits))
    assert prediction.reasons == {2: "the model has outputs that are not finite"}
    assert np.isnan(prediction.values).tolist() == [False, False, True, False]
