"""Gradient-boosted trees for a hundred to a few thousand models."""

from math import inf

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import ParameterGrid

from baselines.weight_space.selection import validation_tau

SETTINGS = ParameterGrid({"max_leaf_nodes": [4, 16], "min_samples_leaf": [5, 20]})
ROUNDS = (25, 50, 100, 200, 400)
LEARNING_RATE = 0.05


def fit_boosted_trees(
    features: pd.DataFrame, target: np.ndarray, validation_features: pd.DataFrame, validation_target: np.ndarray
) -> HistGradientBoostingRegressor:
    """Trees fitted to ``target``, with the setting and number of rounds of the largest validation tau.

    Columns of dtype category are split by their values; NaN counts as a separate value.

    Args:
        features, validation_features: one row per model.
        target, validation_target: float64 [n].
    """
    best, chosen = -inf, {}
    for setting in SETTINGS:
        trees = _trees(max(ROUNDS), setting).fit(features, target)
        for rounds, prediction in enumerate(trees.staged_predict(validation_features), start=1):
            if rounds in ROUNDS and (tau := validation_tau(prediction, validation_target)) > best:
                best, chosen = tau, {"rounds": rounds, "setting": setting}
    return _trees(**chosen).fit(features, target)


def _trees(rounds: int, setting: dict[str, int]) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        learning_rate=LEARNING_RATE,
        max_iter=rounds,
        early_stopping=False,
        categorical_features="from_dtype",
        random_state=0,
        **setting,
    )
