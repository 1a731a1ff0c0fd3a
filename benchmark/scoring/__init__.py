"""Scores of generalization predictors, and how far each can be trusted: pure functions on arrays (numpy only).

Conventions, for every module here:

- A *prediction* is one float per model, a *target* what it should have said. Both are oriented alike: larger says
  larger. Scores are signed, so a measure that orders the models backwards scores below 0.
- n is the number of models; the predictions of E methods are stacked as [E, n]. Values are finite: the functions that
  take a NaN prediction, for "undefined for this model", say so.
- A *cluster* is a configuration: models with equal cluster labels differ in their seed alone, and are resampled
  together.
- What cannot be scored (fewer than 2 models, a target without variation, NaN or infinity) raises ScoreError. A
  constant prediction can be scored: it orders nothing, and its tau is 0 with the flag "constant".
- Scores that compare models by their hyperparameters (``pgdl``, ``conditional_mi``, ``granulated``, ``robust``) take
  all methods at once, without NaN, and raise NoGrid, a ScoreError, where the models form no grid (``grid``).
"""

import numpy as np


class ScoreError(ValueError):
    """These arrays have no score. The message says what was given and what to do."""


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """``values`` as float64 [n]; ScoreError where they are not a vector of finite numbers."""
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


def require_fractions(target: np.ndarray) -> None:
    """ScoreError where ``target`` [n] cannot be accuracies, or differences of two, as fractions."""
    if (largest := np.abs(target).max(initial=0)) > 1:
        raise ScoreError(
            f"undefined: targets of up to {largest:.3g} in size are no accuracies or gaps as fractions; divide "
            "percentages by 100"
        )


def finite_pair(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [n]; ScoreError where one is not finite or their lengths differ."""
    prediction, target = finite(prediction, "prediction"), finite(target, "target")
    if len(prediction) != len(target):
        raise ScoreError(f"{len(prediction)} predictions for {len(target)} targets; give one prediction per model")
    return prediction, target
