"""Estimators on logits whose answer can be worked out by hand."""

import numpy as np
import pytest

from baselines.access import TargetData, View
from baselines.estimators.average_confidence import AverageConfidence
from baselines.estimators.disagreement import Disagreement
from baselines.methods import NotApplicable


def view(logits, configurations=None) -> View:
    logits = np.asarray(logits, dtype=np.float16)
    configurations = np.arange(len(logits)) if configurations is None else np.array(configurations)
    return View(
        access="unlabeled-data",
        size=len(logits),
        configurations=configurations,
        target=TargetData(images=None, logits=logits),
    )


def votes(*rows: str) -> np.ndarray:
    """One string per model, one class per image: "012" is class 0 for the first image, and so on."""
    return np.stack([np.eye(4)[[int(k) for k in row]] for row in rows])


def test_average_confidence_in_closed_form():
    # ln 3 against 0: 3/4. Equal logits of 2 classes: 1/2. A far ahead: 1.
    logits = [[[np.log(3), 0], [0, 0]], [[0, 0], [5, 5]], [[60000, -60000], [0, 60000]]]
    prediction = AverageConfidence().estimate(view(logits))
    assert prediction.values == pytest.approx([(0.75 + 0.5) / 2, 0.5, 1], abs=1e-3)
    assert prediction.values.dtype == np.float64
    assert prediction.reasons == {}


def test_average_confidence_is_the_mean_largest_softmax_probability():
    logits = np.random.default_rng(0).normal(size=(3, 20, 5)).astype(np.float16)
    exponentials = np.exp(logits.astype(float))
    truth = (exponentials / exponentials.sum(2, keepdims=True)).max(2).mean(1)
    np.testing.assert_allclose(AverageConfidence().estimate(view(logits)).values, truth, rtol=1e-12)


def test_disagreement_by_hand():
    logits = votes("0000", "3333", "0001", "0021", "3332")
    prediction = Disagreement().estimate(view(logits, [7, 5, 7, 7, 5]))
    # Of configuration 7, models 0, 2, 3: agreements 3/4 (0, 2), 1/2 (0, 3), 3/4 (2, 3). Of 5: 3/4.
    assert prediction.values == pytest.approx([5 / 8, 3 / 4, 3 / 4, 5 / 8, 3 / 4])
    assert prediction.reasons == {}


def test_disagreement_of_runs_that_err_independently_estimates_their_error():
    """Two-class runs that are right with probability p on every image agree with p^2 + (1 - p)^2; GDE holds where each
    image is either sure or a coin flip: then disagreement and error are both half the share of coin flips."""
    random = np.random.default_rng(0)
    sure, runs, images = 0.7, 6, 20_000
    coin = random.random(images) > sure
    wrong = coin & (random.random((runs, images)) < 0.5)
    prediction = Disagreement().estimate(view(np.eye(2)[wrong.astype(int)], np.zeros(runs)))
    np.testing.assert_allclose(prediction.values, 1 - wrong.mean(1), atol=0.01)


def test_disagreement_needs_seeds():
    with pytest.raises(NotApplicable, match=r"one run, and .* `seeds` of at least 2"):
        Disagreement().estimate(view(votes("01", "11")))


def test_a_model_without_a_twin_has_a_reason():
    prediction = Disagreement().estimate(view(votes("01", "00", "22"), [3, 3, 4]))
    np.testing.assert_array_equal(prediction.values, [0.5, 0.5, np.nan])
    assert prediction.reasons == {2: "no other run of its configuration has finite outputs"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite(bad):
    logits = votes("01", "00", "22", "22")
    logits[2, 0, 0] = bad
    given = view(logits, [3, 3, 4, 4])
    confidence, disagreement = AverageConfidence().estimate(given), Disagreement().estimate(given)
    assert confidence.reasons == {2: "the model has outputs that are not finite"}
    assert np.isnan(confidence.values).tolist() == [False, False, True, False]
    assert disagreement.reasons == {
        2: "the model has outputs that are not finite",
        3: "no other run of its configuration has finite outputs",
    }
    np.testing.assert_array_equal(disagreement.values, [0.5, 0.5, np.nan, np.nan])


@pytest.mark.parametrize("estimator", [AverageConfidence(), Disagreement()])
def test_no_target_data_is_not_applicable(estimator):
    with pytest.raises(NotApplicable, match="no target data"):
        estimator.estimate(View(access="unlabeled-data", size=2, configurations=np.zeros(2)))


@pytest.mark.parametrize("estimator", [AverageConfidence(), Disagreement()])
def test_the_order_of_models_changes_no_estimate(estimator):
    logits = np.random.default_rng(0).normal(size=(8, 30, 3))
    given = view(logits, np.arange(8) // 2)
    order = np.random.default_rng(1).permutation(8)
    np.testing.assert_allclose(estimator.estimate(given.take(order)).values, estimator.estimate(given).values[order])
