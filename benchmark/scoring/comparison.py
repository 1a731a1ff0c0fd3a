"""Comparisons of methods by shared bootstrap draws: rank intervals, and how many models separate two methods."""

import math
from itertools import combinations

import numpy as np
from scipy.special import ndtri

from benchmark.scoring import ScoreError

LEVEL = 0.95
# Methods that are defined for a smaller share of the models are not ranked.
MINIMUM_COVERAGE = 0.95
POWER = 0.8
# Pairs that are compared at a time.
CHUNK = 64


def rank_intervals(
    methods: int, differences: np.ndarray, draws: np.ndarray, level: float = LEVEL
) -> list[tuple[int, int]]:
    """Best and worst rank of each method; with probability ``level`` all intervals hold the true ranks at once.

    All differences get simultaneous intervals. Their half-width in standard errors is the 95 % quantile, over the
    draws, of the largest deviation of any difference (max-t). A method's rank is at least 1 + the number of methods
    that are certainly better, and at most E - the number of those that are certainly worse. A true rank is 1 + the
    number of methods that are truly better.

    Args:
        methods: E.
        differences: [P], first minus second, higher is better, for the pairs of ``combinations(range(E), 2)`` in order.
            NaN where two methods have no model in common; nothing separates them.
        draws: [P, D] the same differences in draws that all pairs share. Draws in which another difference is NaN are
            left out.

    Raises:
        ScoreError: wrong shapes, or fewer than 2 draws without NaN.

    Source: Mogstad, Romano, Shaikh & Wilhelm, "Inference for Ranks with Applications to Mobility across Neighbourhoods
    and Academic Achievement across Countries", Review of Economic Studies 91 (2024), in its single-step form.
    """
    pairs = list(combinations(range(methods), 2))
    if differences.shape != (len(pairs),) or draws.ndim != 2 or len(draws) != len(pairs):
        raise ScoreError(
            f"{methods} methods have {len(pairs)} differences and draws of each, got {list(differences.shape)} and "
            f"{list(draws.shape)}"
        )
    best, worst = [1] * methods, [methods] * methods
    compared = np.flatnonzero(~np.isnan(differences))
    if not len(compared):
        return list(zip(best, worst, strict=True))
    if len(compared) < len(draws):
        draws = draws[compared]
    defined = ~np.isnan(draws).any(axis=0)
    if not defined.all():
        draws = draws[:, defined]
    if draws.shape[1] < 2:
        raise ScoreError(f"{draws.shape[1]} draws in which all differences are defined; give at least 2")
    errors = draws.std(axis=1)
    # Any difference separates two methods that differ by the same amount in every draw; such pairs have no deviation.
    errors[errors <= 1e-12] = 0
    sizes = np.zeros(draws.shape[1])
    varying = np.flatnonzero(errors)
    for start in range(0, len(varying), CHUNK):
        some = varying[start : start + CHUNK]
        deviations = draws[some]
        deviations -= differences[compared[some], None]
        np.abs(deviations, out=deviations)
        deviations /= errors[some, None]
        np.maximum(sizes, deviations.max(axis=0), out=sizes)
    critical = np.quantile(sizes, level)
    for pair, error in zip(compared, errors, strict=True):
        if abs(differences[pair]) > max(critical * error, 1e-12):
            better, other = pairs[pair] if differences[pair] > 0 else pairs[pair][::-1]
            best[other] += 1
            worst[better] -= 1
    return list(zip(best, worst, strict=True))


def models_needed(
    difference: float, draws: np.ndarray, models: int, level: float = LEVEL, power: float = POWER
) -> int | None:
    """How many models would separate two methods whose true scores differ as much as the observed ones.

    models ((z_level + z_power) standard error / difference)^2, since the error shrinks with the square root of the
    number of models: 1.96 + 0.84 standard errors for the 95 % interval of the difference to exclude 0 in 80 % of
    repeats. (At ``power`` .5 the expected interval just touches 0.) An observed difference is a rough estimate of the
    true one: for a statistical tie the result is an order of magnitude.

    Args:
        difference: of the two scores.
        draws: [D] of the difference, paired; NaN draws are left out.
        models: how many models were scored. The result assumes the same number of seeds per configuration.

    Returns:
        At least 2; None for equal scores, which no number of models separates.

    Raises:
        ScoreError: fewer than 2 draws without NaN.
    """
    draws = draws[~np.isnan(draws)]
    if len(draws) < 2:
        raise ScoreError(f"a standard error of {len(draws)} draws; give at least 2 that are not NaN")
    if difference == 0:
        return None
    errors = float(ndtri((1 + level) / 2) + ndtri(power))
    return max(2, math.ceil(models * (errors * float(draws.std()) / difference) ** 2))
