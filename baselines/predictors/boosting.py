"""Gradient-boosted trees with settings for a hundred to a few thousand models."""

from math import inf

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import ParameterGrid

from baselines.weight_space.selection import validation_tau

SETTINGS = ParameterGrid({"max_leaf_nodes": [4, 16], "min_samples_leaf": [5, 20]})
ROUNDS = (25, 50, 100, 200, 400)
LEARNING_RATE = 0.05
# Without labels to choose by: smooth enough for a hundred models and flexible enough for thousands.
PLAIN_WORDS = "gradient-boosted trees, 100 rounds of at most 4 leaves of at least 5 models, learning rate 0.1"


def fit_boosted_trees(
    features: pd.DataFrame, target: np.ndarray, validation_features: pd.DataFrame, validation_target: np.ndarray
) -> HistGradientBoostingRegressor:
    """Trees fitted to ``target``, with the setting and number of rounds that order the validation models best.

    Columns of dtype category are split by their values; NaN is a value of its own.
    """
    best, chosen = -inf, {}
    for setting in SETTINGS:
        trees = _trees(max(ROUNDS), setting).fit(features, target)
        for rounds, prediction in enumerate(trees.staged_predict(validation_features), start=1):
            if rounds in ROUNDS and (tau := validation_tau(prediction, validation_target)) > best:
                best, chosen = tau, {"rounds": rounds, "setting": setting}
    return _trees(**chosen).fit(features, target)


def boosted_regression(features: np.ndarray, values: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Values predicted for ``new`` features by the trees of ``PLAIN_WORDS``: the regressor behind partial tau."""
    # Not by histograms: on some hundred models their threads wait for each other longer than they compute.
    trees = GradientBoostingRegressor(max_leaf_nodes=4, min_samples_leaf=5, random_state=0)
    return trees.fit(features, values).predict(new)


def _trees(rounds: int, setting: dict[str, int]) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        learning_rate=LEARNING_RATE,
        max_iter=rounds,
        early_stopping=False,
        categorical_features="from_dtype",
        random_state=0,
        **setting,
    )
