"""Kendall's tau-b in O(n log n), and its limit from ties.

Pairs of models i < j are concordant (prediction and target order them alike), discordant, or tied in one or both:

    tau-b = (concordant - discordant) / sqrt((pairs - tied in prediction) (pairs - tied in target))

Source: Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.scoring import ScoreError, finite, finite_pair


@dataclass(frozen=True)
class Tau:
    """Kendall's tau-b of one prediction.

    Attributes:
        value: in [-1, 1]; 0 for a constant prediction.
        prediction_ties, target_ties: share of the pairs of models that are tied, in [0, 1].
    """

    value: float
    prediction_ties: float
    target_ties: float

    @property
    def flags(self) -> tuple[str, ...]:
        return ("constant",) if self.prediction_ties == 1 else ()


def kendall_tau(prediction: np.ndarray, target: np.ndarray) -> Tau:
    """Kendall's tau-b between two vectors [n].

    Raises:
        ScoreError: fewer than 2 models, different lengths, NaN or infinity, or a target without variation.

    >>> kendall_tau(np.array([1, 2, 4, 3]), np.array([0.1, 0.2, 0.3, 0.4])).value
    0.6666666666666666
    """
    prediction, target = finite_pair(prediction, target)
    n = len(target)
    if n < 2:
        raise ScoreError(f"tau compares pairs of models, and there are {n} models; give at least 2")
    order = PairOrder.of(prediction, target)
    pairs = n * (n - 1) // 2
    tied_prediction, tied_target, tied_both = map(
        _pairs_within, (order.prediction_sizes, order.target_sizes, order.both_sizes)
    )
    if tied_target == pairs:
        raise ScoreError(f"the target is {target[0]} for all {n} models, so there is no order to predict")
    if tied_prediction == pairs:
        return Tau(0.0, 1.0, tied_target / pairs)
    difference = pairs - tied_prediction - tied_target + tied_both - 2 * inversions(order.ranks)
    # Python integers: the product would overflow 64 bits from n = 80,000 on.
    value = difference / math.sqrt((pairs - tied_prediction) * (pairs - tied_target))
    return Tau(value, tied_prediction / pairs, tied_target / pairs)


def tie_fraction(values: np.ndarray) -> float:
    """Share of the pairs of models with equal values [n], in [0, 1]."""
    values = finite(values, "values")
    if len(values) < 2:
        raise ScoreError(f"ties are counted among pairs, and there are {len(values)} models; give at least 2")
    counts = np.unique(values, return_counts=True)[1]
    return _pairs_within(counts) / _pairs_within(np.array([len(values)]))


def tie_ceiling(target: np.ndarray) -> float:
    """The largest tau-b that a prediction without ties can reach on ``target`` [n]: sqrt(1 - tie fraction).

    A prediction with the target's ties can exceed it.
    """
    return math.sqrt(1 - tie_fraction(target))


class PairOrder(NamedTuple):
    """Models sorted so that discordant pairs are inversions, and the sizes of the groups of tied models.

    Attributes:
        rows: int64 [n], the models by target; ties in the target are ordered by prediction, so that they form no
            inversion.
        ranks: int64 [n], the prediction's rank of each of ``rows``, a permutation of 0 .. n-1. Models tied in the
            prediction are ranked in the order of ``rows``, so that they form no inversion either.
        target_sizes: models per distinct target, in the order of ``rows``.
        prediction_sizes: models per distinct prediction, in the order of ``ranks``.
        both_sizes: models per distinct pair of both, in the order of ``rows``.
    """

    rows: np.ndarray
    ranks: np.ndarray
    target_sizes: np.ndarray
    prediction_sizes: np.ndarray
    both_sizes: np.ndarray

    @classmethod
    def of(cls, prediction: np.ndarray, target: np.ndarray) -> "PairOrder":
        n = len(target)
        _, target_level, target_sizes = np.unique(target, return_inverse=True, return_counts=True)
        _, prediction_level, prediction_sizes = np.unique(prediction, return_inverse=True, return_counts=True)
        # Sorting one whole number per model is several times faster than np.lexsort.
        both_level = target_level * n + prediction_level
        rows = np.argsort(both_level)
        by_prediction = np.argsort(prediction_level[rows] * n + np.arange(n))
        ranks = np.empty_like(by_prediction)
        ranks[by_prediction] = np.arange(n)
        return cls(rows, ranks, target_sizes, prediction_sizes, _run_lengths(both_level[rows]))


def _run_lengths(values: np.ndarray) -> np.ndarray:
    changes = values[1:] != values[:-1]
    return np.diff(np.flatnonzero(np.concatenate([[True], changes, [True]])))


def _pairs_within(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def inversions(ranks: np.ndarray) -> int:
    """Pairs i < j with ranks[i] > ranks[j], for a permutation of 0 .. n-1: a vectorized top-down merge count.

    At each level the ranks lie in groups, each a set of consecutive ranks in their original order. The lower half of a
    group moves in front of its upper half, and both keep their order. Each lower rank moves by one place for every
    upper rank before it, so the distances sum to the number of inversions that the level removes.
    """
    # Padded to a power of two with ranks that are in place already, so that all groups are full.
    size = 1 << (len(ranks) - 1).bit_length()
    places = np.arange(size)
    ranks = np.concatenate([ranks, places[len(ranks) :]])
    count = 0
    half = size // 2
    while half:
        upper = (ranks & half) != 0
        low, high = np.flatnonzero(~upper), np.flatnonzero(upper)
        count += int(low.sum() - places.reshape(-1, 2, half)[:, 0].sum())
        ranks = np.stack([ranks[low].reshape(-1, half), ranks[high].reshape(-1, half)], axis=1).ravel()
        half //= 2
    return count
