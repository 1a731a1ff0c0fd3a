"""What a worker does with the answers of methods, without its process."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from baselines.access import View
from baselines.methods import NotApplicable, Prediction
from benchmark.evaluation.methods import describe
from benchmark.evaluation.worker import checked, failure, run_one
from benchmark.tasks import ESTIMATOR, PREDICTOR
from zoo_builder.errors import InputError

NAN = float("nan")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.zeros(2), "the prediction has shape (2,), expected (3,)"),
        (np.zeros((3, 1)), "the prediction has shape (3, 1), expected (3,)"),
        (["good"] * 3, "the prediction does not consist of numbers"),
        ([10**400] * 3, "the prediction does not consist of numbers"),
        (np.zeros(3, complex), "the prediction has the type complex128, expected real numbers"),
        (np.zeros(3, "datetime64[s]"), "the prediction has the type datetime64[s], expected real numbers"),
        (np.ma.masked_less([0.0, 1.0, 2.0], 1), "the prediction is masked: give NaN and a reason"),
        ([0, np.inf, 0], "the prediction of model 1 is infinite"),
        ([0, 0, NAN], "the prediction of model 2 (of 1) is NaN without a reason: return Prediction(values, reasons="),
        (Prediction(np.array([NAN, NAN, 0]), {0: "thin"}), "the prediction of model 1 (of 1) is NaN without a reason"),
        (Prediction(np.array([NAN, 0, 0]), {0: ""}), "the prediction of model 0 (of 1) is NaN without a reason"),
    ],
)
def test_a_bad_prediction_is_refused_with_the_reason(answer, words) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        checked(answer, 3)


def test_a_good_prediction_is_kept() -> None:
    assert checked([1, 2], 2).values.dtype == np.float64
    partly = checked(Prediction(np.array([NAN, 0.5]), {0: "too thin"}), 2)
    np.testing.assert_array_equal(partly.values, [NAN, 0.5])
    assert partly.reasons == {0: "too thin"}


VIEW = View("hyperparameters", 4, hyperparameters=pd.DataFrame({"l2": np.zeros(4)}), configurations=np.arange(4))
TARGET = np.array([0.1, 0.2, 0.3, 0.4])
ROWS = np.array([0, 1]), np.array([2]), np.array([3])


def test_a_predictor_sees_the_labels_of_the_train_and_validation_models() -> None:
    class Mine:
        def fit(self, view, target, validation, validation_target):
            self.seen = [view.size, target.tolist(), validation.size, validation_target.tolist()]
            return self

        def predict(self, view):
            return np.full(view.size, 0.5)

    mine = Mine()
    (outcome,), (values,) = run_one(mine, PREDICTOR, VIEW, TARGET, *ROWS)
    assert mine.seen == [2, [0.1, 0.2], 1, [0.3]]
    assert (outcome["status"], values.tolist()) == ("ok", [0.5])


def test_a_predictor_must_return_itself() -> None:
    mine = SimpleNamespace(fit=lambda *given: None)
    with pytest.raises(InputError, match="fit returned None: it must return the fitted predictor"):
        run_one(mine, PREDICTOR, VIEW, TARGET, *ROWS)


def test_a_method_runs_as_the_kind_that_describes_it() -> None:
    """An object with the functions of both kinds is described as a predictor."""

    class Both:
        name, access, citation = "both", "hyperparameters", "this test"

        def fit(self, view, target, validation, validation_target):
            return self

        def predict(self, view):
            return np.full(view.size, 0.5)

        def estimate(self, view):
            raise AssertionError("it runs as an estimator")

    kind = describe("mine.py:Both", Both()).kind
    assert kind is PREDICTOR
    (outcome,), (values,) = run_one(Both(), kind, VIEW, TARGET, *ROWS)
    assert (outcome["status"], values.tolist()) == ("ok", [0.5])


def test_not_applicable_is_no_failure() -> None:
    def estimate(view: View) -> np.ndarray:
        raise NotApplicable("needs two seeds")

    (outcome,), predictions = run_one(SimpleNamespace(estimate=estimate), ESTIMATOR, VIEW, TARGET, *ROWS)
    assert (outcome["status"], outcome["reason"], predictions) == ("not applicable", "needs two seeds", [])


def test_a_failure_has_a_log_unless_the_message_says_it_all() -> None:
    assert failure(InputError("too short")) == {"status": "failed", "reason": "too short", "log": None}
    try:
        raise RuntimeError("no idea")
    except RuntimeError as error:
        found = failure(error)
    assert found["reason"] == "RuntimeError: no idea"
    assert 'raise RuntimeError("no idea")' in found["log"]


def test_a_message_that_cannot_be_shown_is_said_to_be_one() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert failure(Silent())["reason"] == "Silent: (a message that cannot be shown)"
