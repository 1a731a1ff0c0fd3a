"""Scores of predictions on the target's own scale."""

import numpy as np

from benchmark.scoring import ScoreError, finite, finite_pair
from benchmark.scoring.bootstrap import DRAWS, resample, stacked

POINTS = 100  # accuracies and gaps are fractions; errors are reported in accuracy points


def mean_absolute_error(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error in accuracy points, of accuracies or gaps given as fractions [n].

    Raises:
        ScoreError: no models, different lengths, NaN or infinity.
    """
    prediction, target = finite_pair(prediction, target)
    if not len(target):
        raise ScoreError("a mean absolute error of no models; give at least one")
    return POINTS * float(np.abs(prediction - target).mean())


def bootstrap_mae(
    predictions: np.ndarray, target: np.ndarray, clusters: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """Mean absolute error of every entrant in every draw: float64 [E, draws], in accuracy points.

    Arguments, errors and draws are those of ``bootstrap_tau``. A draw without a model that has a prediction is NaN.
    """
    target = finite(target, "target")
    predictions = stacked(predictions, len(target))
    weights = resample(len(target), clusters, draws, seed)
    maes = np.full((len(predictions), draws), np.nan)
    for mae, prediction in zip(maes, predictions, strict=True):
        defined = ~np.isnan(prediction)
        drawn = weights[defined]
        totals = drawn.sum(axis=0, dtype=np.float64)
        errors = np.einsum("n,nd->d", np.abs(prediction - target)[defined], drawn)
        np.divide(POINTS * errors, totals, out=mae, where=totals > 0)
    return maes
