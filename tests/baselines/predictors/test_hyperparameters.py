"""The control that reads only hyperparameters, on a table with a known answer."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from baselines.access import View
from baselines.methods import NotApplicable
from baselines.predictors.hyperparameters import Hyperparameters

TRAIN, VALIDATION, TEST = np.arange(80), np.arange(80, 110), np.arange(110, 200)


def fitted(view: View, target: np.ndarray) -> Hyperparameters:
    return Hyperparameters().fit(view.take(TRAIN), target[TRAIN], view.take(VALIDATION), target[VALIDATION])


@pytest.fixture(scope="session")
def table() -> tuple[View, np.ndarray]:
    """200 runs; the accuracy depends on a number, a category and whether a value is missing."""
    random = np.random.default_rng(0)
    rate, optimizer = 10 ** random.uniform(-3, -1, 200), random.choice(["sgd", "adam", "rmsprop"], 200)
    std = np.where(random.random(200) < 0.5, np.nan, 0.1)
    accuracy = 0.5 + 0.1 * np.log10(rate) + 0.15 * (optimizer == "adam") + 0.1 * np.isnan(std)
    frame = pd.DataFrame(
        {"learning_rate": rate, "optimizer": optimizer, "std": std, "constant": 3, "flag": rate > 0.01}
    )
    return View(access="hyperparameters", size=200, hyperparameters=frame), accuracy


def test_a_known_signal_is_recovered(table):
    view, accuracy = table
    prediction = fitted(view, accuracy).predict(view.take(TEST))
    assert kendalltau(prediction, accuracy[TEST]).statistic > 0.85
    assert np.abs(prediction - accuracy[TEST]).mean() < 0.02


def test_an_unseen_category_counts_as_missing(table):
    view, accuracy = table
    predictor = fitted(view, accuracy)
    frame = view.hyperparameters.head(3).assign(optimizer=["lion", None, "adam"])
    prediction = predictor.predict(View(access="hyperparameters", size=3, hyperparameters=frame))
    assert np.isfinite(prediction).all()


def test_columns_that_do_not_vary_are_left_out(table):
    view, accuracy = table
    frame = view.hyperparameters.assign(missing=np.nan, none=None)
    padded = View(access="hyperparameters", size=200, hyperparameters=frame)
    prediction = fitted(padded, accuracy).predict(padded)
    np.testing.assert_array_equal(prediction, fitted(view, accuracy).predict(view))


def test_a_column_must_vary():
    view = View(access="hyperparameters", size=3, hyperparameters=pd.DataFrame({"batch_size": [32] * 3}))
    with pytest.raises(NotApplicable, match="no hyperparameter varies"):
        Hyperparameters().fit(view, np.zeros(3), view, np.zeros(3))


def test_a_constant_target_is_predicted(table):
    view, accuracy = table
    prediction = fitted(view, np.full_like(accuracy, 0.25)).predict(view.take(TEST))
    np.testing.assert_allclose(prediction, 0.25, atol=0.01)
