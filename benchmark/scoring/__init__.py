"""Scores of generalization predictors and their uncertainty: pure functions on arrays, with only numpy and scipy.

Conventions, for every module here:

- A *prediction* is one float per model, and the *target* is its true value. Both have the same orientation: a larger
  prediction means a larger target. Scores are signed: a measure that orders the models backwards scores below 0.
- n is the number of models; predictions of E methods are stacked as [E, n]. Values are finite, except where a function
  documents that NaN marks a model for which a prediction is undefined.
- A *cluster* is a configuration: models with equal cluster labels differ only in their seed and are resampled together.
- Input that has no score (fewer than 2 models, a target without variation, NaN or infinity) raises ScoreError. A
  constant prediction has one: it orders nothing, and its tau is 0 with the flag "constant".
- Scores that compare models by their hyperparameters (``pgdl``, ``conditional_mi``, ``granulated``, ``robust``) take
  all methods at once, without NaN, and raise NoGrid, a ScoreError, where the models form no grid (see ``grid``).
"""

import numpy as np


class ScoreError(ValueError):
    """The arrays have no score; the message states what was given and what to do."""


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """``values`` as float64 [n]; ScoreError if they are not a vector of finite numbers."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ScoreError(f"{name}: expected one value per model, got an array of shape {values.shape}")
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        raise ScoreError(
            f"{name}: {len(broken)} of {len(values)} values are NaN or infinite, the first is {values[broken[0]]} at "
            f"position {broken[0]}; leave these models out and state the coverage"
        )
    return values


def stacked(predictions: np.ndarray, n: int) -> np.ndarray:
    """``predictions`` as float64 [E, n]; ScoreError if they have another shape."""
    predictions = np.asarray(predictions, dtype=np.float64)
    if predictions.ndim != 2 or predictions.shape[1] != n:
        raise ScoreError(f"predictions of {n} models by E methods have shape [E, {n}], got {list(predictions.shape)}")
    return predictions


def require_fractions(target: np.ndarray) -> None:
    """ScoreError if ``target`` [n] cannot be accuracies, or differences of accuracies, as fractions."""
    if (largest := np.abs(target).max(initial=0)) > 1:
        raise ScoreError(
            f"undefined: targets of up to {largest:.3g} in size are not accuracies or gaps as fractions; divide "
            "percentages by 100"
        )


def finite_pair(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [n]; ScoreError if one is not finite or their lengths differ."""
    prediction, target = finite(prediction, "prediction"), finite(target, "target")
    if len(prediction) != len(target):
        raise ScoreError(f"{len(prediction)} predictions for {len(target)} targets; give one prediction per model")
    return prediction, target
