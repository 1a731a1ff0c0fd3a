"""Partial tau: how well a measure predicts the target's order beyond the hyperparameters.

Prediction and target are both residualized on the hyperparameters, out of fold: the caller's regressor is fitted on all
folds but one and predicts that one. Partial tau is Kendall's tau-b of the two residuals.

- The caller supplies the regressor, so that no learning library is needed here; records name it and its settings.
- Folds are of configurations: runs that differ only in their seed share one. They depend only on the seed, and are the
  same for the target and all predictions.
- A residual of at most 1e-9 of its vector's range is rounding and counts as 0. A prediction that the regressor explains
  completely therefore has tied residuals, and scores 0 with the flag "constant", like a constant prediction.

Tau-b is that of ``kendall``. Residualizing both out of fold follows Chernozhukov et al., "Double/debiased machine
learning for treatment and structural parameters", Econometrics Journal 21 (2018).
"""

from collections.abc import Callable

import numpy as np

from benchmark.scoring import ScoreError, finite, stacked
from benchmark.scoring.kendall import Tau, kendall_tau
from benchmark.scoring.regression import FOLDS, design, folds_of

_ROUNDING = 1e-9

# (features [m, F], values [m], features [p, F]) -> predicted values [p]: fit on the first two, predict the third.
Regressor = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def partial_tau(
    predictions: np.ndarray,
    target: np.ndarray,
    hyperparameters: np.ndarray,
    regressor: Regressor,
    folds: int = FOLDS,
    seed: int = 0,
) -> list[Tau]:
    """Tau-b of the out-of-fold residuals of every method.

    Arguments and errors are those of ``residuals``.
    """
    predictions, target = residuals(predictions, target, hyperparameters, regressor, folds, seed)
    return [kendall_tau(prediction, target) for prediction in predictions]


def residuals(
    predictions: np.ndarray,
    target: np.ndarray,
    hyperparameters: np.ndarray,
    regressor: Regressor,
    folds: int = FOLDS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals on the hyperparameters, of the predictions [E, n] and of the target [n].

    ``bootstrap_tau`` of the two gives the draws of partial tau. Folds and fits are the same in every draw, so the
    interval shows the effect of other models and not of other folds.

    Args:
        predictions: [E, n].
        target: [n].
        hyperparameters: float [n, F], encoded for the regressor; equal rows are runs of one configuration.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer configurations than folds, a regressor that does not return one
            finite value per row, or a target without variation, before or after the residualization.
    """
    target = finite(target, "target")
    hyperparameters = design(hyperparameters, len(target), "hyperparameters")
    predictions = stacked(predictions, len(target))
    if len(target) and np.ptp(target) == 0:
        raise ScoreError(f"the target is {target[0]} for all {len(target)} models, so there is no order to predict")
    configurations = np.unique(hyperparameters, axis=0, return_inverse=True)[1]
    fold = folds_of(configurations, folds, seed)
    beyond = _residuals(target, hyperparameters, fold, regressor)
    if np.ptp(beyond) == 0:
        raise ScoreError("the regressor explains the target completely, so there is no order left to predict")
    rest = [
        _residuals(finite(prediction, "prediction"), hyperparameters, fold, regressor) for prediction in predictions
    ]
    return np.array(rest).reshape(-1, len(target)), beyond


def out_of_fold(values: np.ndarray, features: np.ndarray, fold: np.ndarray, regressor: Regressor) -> np.ndarray:
    """The predictions of ``regressor`` for each fold when it is fitted on the other folds: float64 [n].

    Args:
        values: float64 [n].
        features: float64 [n, F].
        fold: [n] labels.

    Raises:
        ScoreError: the regressor does not return one finite value per row.
    """
    predicted = np.empty_like(values)
    for held_out in np.unique(fold):
        test = fold == held_out
        fitted = finite(regressor(features[~test], values[~test], features[test]), "the regressor's predictions")
        if len(fitted) != test.sum():
            raise ScoreError(f"the regressor returned {len(fitted)} predictions for {test.sum()} models")
        predicted[test] = fitted
    return predicted


def _residuals(values: np.ndarray, features: np.ndarray, fold: np.ndarray, regressor: Regressor) -> np.ndarray:
    if np.ptp(values) == 0:
        return np.zeros_like(values)
    residuals = values - out_of_fold(values, features, fold, regressor)
    residuals[np.abs(residuals) <= _ROUNDING * np.ptp(values)] = 0
    return residuals
