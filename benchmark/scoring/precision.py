"""How far random draws within a method disturb the order of its own values."""

import numpy as np
from scipy.special import ndtr

from benchmark.scoring import ScoreError, finite

_PAIRS_AT_A_TIME = 4_000_000


def tau_to_exact(values: np.ndarray, errors: np.ndarray) -> float:
    """The expected Kendall tau between values and what they would be without their errors.

    A pair of values that differ by d keeps its order with probability Phi(d / s), where s^2 is the sum of their squared
    standard errors: so it adds 2 Phi(d / s) - 1. That holds for normal, independent errors that are small against the
    spread of the values. Methods that give all models the same draws do better than that. Pairs of equal values without
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
    step = max(1, _PAIRS_AT_A_TIME // max(1, n))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        later = np.arange(n) > rows[:, None]
        difference = np.abs(values[rows, None] - values)[later]
        error = np.hypot(errors[rows, None], errors)[later]
        counted = (difference > 0) | (error > 0)
        with np.errstate(divide="ignore"):
            total += float((2 * ndtr(difference[counted] / error[counted]) - 1).sum())
        pairs += int(counted.sum())
    if not pairs:
        raise ScoreError("no two values differ or have errors")
    return total / pairs
