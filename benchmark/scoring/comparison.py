"""Methods against each other, from bootstrap draws that they share: ranks with intervals, and how many models it takes
to tell two methods apart."""

import math
from itertools import combinations

import numpy as np
from scipy.special import ndtri

from benchmark.scoring import ScoreError

LEVEL = 0.95
# A method that is defined for a smaller share of the models is not ranked.
MINIMUM_COVERAGE = 0.95
POWER = 0.8


def rank_intervals(values: np.ndarray, draws: np.ndarray, level: float = LEVEL) -> list[tuple[int, int]]:
    """Best and worst rank of each method; with probability ``level`` all intervals hold the true ranks at once.

    Args:
        values: [E] scores, more is better; negate one of which less is better.
        draws: [E, D] the same scores in draws that the methods share. Draws with NaN are left out.

    Raises:
        ScoreError: as ``ranks_of_differences``.
    """
    pairs = list(combinations(range(len(values)), 2))
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    return ranks_of_differences(len(values), values[first] - values[second], draws[first] - draws[second], level)


def ranks_of_differences(
    methods: int, differences: np.ndarray, draws: np.ndarray, level: float = LEVEL
) -> list[tuple[int, int]]:
    """``rank_intervals`` where each two methods are compared on models of their own, those that both define.

    All differences get simultaneous intervals: as many standard errors to either side as the largest of them in a draw
    stays within in 95 % of the draws (max-t). A method's rank is at least 1 + the methods that are better for sure,
    and at most E - those that are worse. True ranks are 1 + the methods that are truly better.

    Args:
        methods: E.
        differences: [P], first minus second, more is better, for the pairs of ``combinations(range(E), 2)`` in order.
            NaN where two have no model in common; they are not told apart.
        draws: [P, D] the same differences in draws that all pairs share. Draws with a NaN elsewhere are left out.

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
    draws = draws[compared]
    draws = draws[:, ~np.isnan(draws).any(axis=0)]
    if draws.shape[1] < 2:
        raise ScoreError(f"{draws.shape[1]} draws in which all differences are defined; give at least 2")
    errors = draws.std(axis=1)
    # Two methods that differ by the same in every draw are told apart by any difference; they tell nothing of others.
    errors[errors <= 1e-12] = 0
    sizes = np.zeros(draws.shape[1])
    for difference, draw, error in zip(differences[compared], draws, errors, strict=True):
        if error:
            np.maximum(sizes, np.abs(draw - difference) / error, out=sizes)
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
    """How many models would separate two methods whose scores truly differ as much as they do here.

    models ((z_level + z_power) standard error / difference)^2, since the error shrinks with the square root of their
    number: 1.96 + 0.84 standard errors for the 95 % interval of the difference to leave out 0 in 80 % of repeats. (At
    ``power`` .5 the expected interval just touches 0.) An observed difference is a rough guess of the true one: of a
    statistical tie take no more than the order of magnitude from it.

    Args:
        difference: of the two scores. draws: [D] of the difference, paired; NaN is left out.
        models: how many models the scores are of. With several seeds per configuration the result has as many.

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
