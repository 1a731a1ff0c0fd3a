"""How far random draws within a method disturb the order of its own values."""

import numpy as np
from scipy.special import ndtr

from benchmark.scoring import ScoreError, finite

_PAIRS_AT_A_TIME = 4_000_000


def tau_to_exact(values: np.ndarray, errors: np.ndarray) -> float:
    """The expected Kendall tau between values and what they would be without their errors.

    Let the errors be normal and independent, and the difference of two values without errors normal with variance t^2,
    twice that of the values less their mean squared error. Of two values that differ by d, with s^2 the sum of their
    squared standard errors, the difference without errors is then normal with mean r d and variance r s^2, where
    r = t^2 / (t^2 + s^2). So it has the sign of d with probability Phi(d sqrt(r) / s), and the pair adds
    2 Phi(d sqrt(r) / s) - 1. Methods that give all models the same draws do better. Pairs of equal values without
    errors do not count.

    Args:
        values: [n], finite.
        errors: [n], standard errors from 0 on, in the unit of the values.

    Raises:
        ScoreError: no two values differ or have errors; wrong shapes, NaN, infinity, or negative errors.

    >>> tau_to_exact(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 0.0]))
    1.0
    """
    values, errors = finite(values, "values"), finite(errors, "errors")
    if errors.shape != values.shape or (errors < 0).any():
        raise ScoreError(f"errors of shape {errors.shape}, expected {values.shape}, from 0 on")
    total, pairs, n = 0.0, 0, len(values)
    exact = 2 * max(float(values.var() - np.square(errors).mean()), 0.0)
    step = max(1, _PAIRS_AT_A_TIME // max(1, n))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        later = np.arange(n) > rows[:, None]
        difference = np.abs(values[rows, None] - values)[later]
        error = np.hypot(errors[rows, None], errors)[later]
        counted = (difference > 0) | (error > 0)
        difference, error = difference[counted], error[counted]
        with np.errstate(divide="ignore"):
            total += float((2 * ndtr(difference / error * np.sqrt(exact / (exact + error**2))) - 1).sum())
        pairs += int(counted.sum())
    if not pairs:
        raise ScoreError("no two values differ or have errors")
    return total / pairs
