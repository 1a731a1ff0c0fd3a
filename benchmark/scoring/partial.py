"""Partial tau: how well a measure predicts the target's order beyond the hyperparameters.

The ranks of prediction and target are both residualized on the hyperparameters: from each model's rank, the rank is
taken that a Gaussian process (``gaussian_process``) predicts from the models of all other configurations. Partial tau
is Kendall's tau-b of the two residuals. It is the same for all increasing transformations of prediction and target.

- Runs that differ only in their seed are one configuration: no model is predicted from its own configuration.
- With hundreds of configurations, a prediction that is a function of the hyperparameters scores 0 on average, unless it
  resembles the expected target given the hyperparameters. What the regressor misses of that, it misses in both, so such
  a prediction scores above 0: .1 to .3 in simulations of 150 to 400 models with every regressor that was tried
  (``tests/benchmark/scoring/test_partial.py``). Therefore methods that are fitted to the target have no partial tau.
- With few configurations (tens), what is missed at the edges of the grid is a large part of both residuals, and even
  a function of one hyperparameter can score .1 or .2 from 0.

Tau-b is that of ``kendall``. Residualizing both, each model without itself, follows Chernozhukov et al., "Double/
debiased machine learning for treatment and structural parameters", Econometrics Journal 21 (2018).
"""

import numpy as np

from benchmark.scoring import ScoreError, finite, stacked
from benchmark.scoring.gaussian_process import predicted_without_own, ranks
from benchmark.scoring.kendall import Tau, kendall_tau
from benchmark.scoring.regression import design


def partial_tau(predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray) -> list[Tau]:
    """Tau-b of the residuals of every method.

    Arguments and errors are those of ``residuals``.
    """
    predictions, target = residuals(predictions, target, hyperparameters)
    return [kendall_tau(prediction, target) for prediction in predictions]


def residuals(
    predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residual ranks of the predictions [E, n] and of the target [n]; all 0 where all values are equal.

    ``bootstrap_tau`` of the two gives the draws of partial tau. The residuals are the same in every draw, so the
    interval shows the effect of other models and not of other fits.

    Args:
        predictions: [E, n].
        target: [n].
        hyperparameters: float [n, F], as ``grid.encoded`` gives them; equal rows are runs of one configuration.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 configurations, or a target without variation.
    """
    target = finite(target, "target")
    hyperparameters = design(hyperparameters, len(target), "hyperparameters")
    predictions = stacked(predictions, len(target))
    configurations = np.unique(hyperparameters, axis=0, return_inverse=True)[1].ravel()
    if len(target) and np.ptp(target) == 0:
        raise ScoreError(f"the target is {target[0]} for all {len(target)} models, so there is no order to predict")

    def beyond(values: np.ndarray) -> np.ndarray:
        rank = ranks(values)
        # Rounded, so that seeds with equal values have equal residuals in any order of the models.
        return np.round(rank - predicted_without_own(rank, hyperparameters, configurations), 5)

    rest = [beyond(finite(prediction, "prediction")) for prediction in predictions]
    return np.array(rest).reshape(-1, len(target)), beyond(target)
