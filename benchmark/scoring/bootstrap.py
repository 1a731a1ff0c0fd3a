"""Bootstrap by configuration: how much a score would vary if other models had been trained.

A draw resamples the configurations with replacement, each with all of its runs. It is represented by weights, the
number of times that each model was drawn, and tau is computed for all draws at once from weighted pair counts. The
copies of a model that was drawn twice are tied in prediction and target, as in a plain loop over resampled arrays.

All methods of a board share the draws, so that differences are paired: ``interval(draws[a] - draws[b])`` is the
interval of a difference, and two methods are in a *statistical tie* where it contains 0.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.scoring import ScoreError, finite, stacked
from benchmark.scoring.kendall import PairOrder

DRAWS = 2000
# BLAS multiplies square matrices of this size, and any with as many products, in the calling thread; it splits larger
# ones over threads, whose synchronization takes ten times as long on a busy machine.
CHUNK = 64
# Pairs are counted digit by digit of the ranks in this base, or in half of it where two digits are enough.
RADIX = 64


@dataclass(frozen=True)
class Interval:
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def interval(draws: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval of one score's ``draws`` [D] without NaN draws; the whole line if no draw is left.

    >>> interval(np.arange(101.0), level=0.5)
    Interval(low=25.0, high=75.0)
    """
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return Interval(-math.inf, math.inf)
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(float(low), float(high))


def resample(n: int, clusters: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each of n models is in each draw: uint8 [n, draws].

    Args:
        clusters: [n] labels of the configurations; models with equal labels are drawn together. None for one model per
            configuration.

    Raises:
        ScoreError: fewer than 2 clusters, or not one label per model.
    """
    labels, clusters = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)
    if len(clusters) != n:
        raise ScoreError(f"{len(clusters)} cluster labels for {n} models; give one label per model")
    if len(labels) < 2:
        raise ScoreError(
            f"{n} models of one configuration cannot be resampled by configuration; give at least 2 configurations"
        )
    rng = np.random.default_rng(seed)
    # A count above 255 needs more than 255 clusters, and its probability is then below 1e-500.
    counts = np.empty((draws, len(labels)), dtype=np.uint8)
    for draw in counts:
        draw[:] = np.bincount(rng.integers(len(labels), size=len(labels)), minlength=len(labels))
    return np.take(counts.T, clusters, axis=0)


def checked_weights(weights: np.ndarray, n: int) -> np.ndarray:
    """``weights`` unchanged; ScoreError if they are not whole numbers [n, D]."""
    weights = np.asarray(weights)
    if weights.ndim != 2 or len(weights) != n or weights.dtype.kind not in "ui":
        raise ScoreError(
            f"weights of {n} models are whole numbers of shape [{n}, draws], got {weights.dtype} "
            f"{list(weights.shape)}; make them with `resample`"
        )
    return weights


def bootstrap_tau(predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of every method in every draw: float64 [E, D].

    tau is NaN in a draw in which all targets are tied, and 0 in one in which all predictions are tied.

    Args:
        predictions: [E, n]; NaN where a method is undefined. Its tau is over the other models.
        target: [n], finite.
        weights: [n, D], how often each model is in each draw, from ``resample``.

    Raises:
        ScoreError: a target that is not finite, infinite predictions, weights that are not whole numbers, or wrong
            shapes.
    """
    target = finite(target, "target")
    predictions = partly_defined(predictions, len(target))
    weights = checked_weights(weights, len(target))
    taus = np.full((len(predictions), weights.shape[1]), np.nan)
    targets: dict[bytes, TargetPairs] = {}
    for tau, prediction in zip(taus, predictions, strict=True):
        defined = ~np.isnan(prediction)
        if defined.any():
            models = defined.tobytes()
            if models not in targets:
                targets[models] = TargetPairs.of(target[defined], weights[defined])
            tau[:] = pair_counts(prediction[defined], targets[models]).tau
    return taus


def partly_defined(predictions: np.ndarray, n: int) -> np.ndarray:
    """``predictions`` as float64 [E, n], with NaN; ScoreError if they have another shape or are infinite."""
    predictions = stacked(predictions, n)
    if np.isinf(predictions).any():
        method, row = np.argwhere(np.isinf(predictions))[0]
        raise ScoreError(f"prediction {method} is infinite at position {row}; use NaN for a model it is undefined for")
    return predictions


class PairCounts(NamedTuple):
    """The weighted pairs of different models behind tau-b in each draw: whole numbers, as float64 [D].

    Both directions of a pair count. Copies of one model are tied in both, and are no pair.

    Attributes:
        difference: concordant minus discordant.
        untied_prediction, untied_target: pairs that are not tied in the prediction, and in the target.
    """

    difference: np.ndarray
    untied_prediction: np.ndarray
    untied_target: np.ndarray

    @property
    def tau(self) -> np.ndarray:
        scale = np.sqrt(self.untied_prediction * self.untied_target)
        tau = np.divide(self.difference, scale, out=np.zeros_like(scale), where=scale > 0)
        tau[self.untied_target == 0] = np.nan
        return tau


class TargetPairs(NamedTuple):
    """What the pair counts of all predictions of the same n models share.

    Attributes:
        target: [n].
        weights: [n, D].
        pairs: all weighted pairs of different models, float64 [D].
        untied: those that are not tied in the target.
    """

    target: np.ndarray
    weights: np.ndarray
    pairs: np.ndarray
    untied: np.ndarray

    @classmethod
    def of(cls, target: np.ndarray, weights: np.ndarray) -> "TargetPairs":
        pairs = np.concatenate([_pairs(drawn) for drawn in _chunks(weights)])
        return cls(target, weights, pairs, pairs - tied_pairs(target, weights))


def pair_counts(prediction: np.ndarray, target: TargetPairs) -> PairCounts:
    """The counts of one prediction [n], finite."""
    order = PairOrder.of(prediction, target.target)
    levels = list(levels_of(order.ranks))
    draws_at_once = CHUNK**2 // levels[0].rows.shape[1]
    untied_prediction = target.pairs - tied_pairs(prediction, target.weights)
    discordant, tied_both = [], []
    for drawn in _chunks(target.weights, order.rows, draws_at_once):
        discordant.append(_discordant_pairs(levels, drawn))
        tied_both.append(_tied_in_groups(drawn, order.both_sizes))
    untied = untied_prediction + target.untied - target.pairs + np.concatenate(tied_both)
    return PairCounts(untied - 4 * np.concatenate(discordant), untied_prediction, target.untied)


def _chunks(
    weights: np.ndarray, rows: np.ndarray | slice = slice(None), draws_at_once: int = CHUNK
) -> Iterator[np.ndarray]:
    """Chunks of draws of some models [n, d], d <= draws_at_once.

    As float32, which is exact here: the sums are whole numbers below 2^24 for up to about 100,000 models.
    """
    for start in range(0, weights.shape[1], draws_at_once):
        yield weights[rows, start : start + draws_at_once].astype(np.float32)


def tied_pairs(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted ordered pairs of different models with equal values [n], in each of the draws [D]."""
    _, level, sizes = np.unique(values, return_inverse=True, return_counts=True)
    tied = np.flatnonzero(sizes[level] > 1)
    if not len(tied):
        return np.zeros(weights.shape[1])
    rows = tied[np.argsort(level[tied], kind="stable")]
    # Few models are tied as a rule, so that many draws make a chunk of the usual size.
    chunks = _chunks(weights, rows, max(CHUNK, CHUNK**3 // len(rows)))
    return np.concatenate([_tied_in_groups(drawn, sizes[sizes > 1]) for drawn in chunks])


def _pairs(weights: np.ndarray) -> np.ndarray:
    return weights.sum(axis=0).astype(np.float64) ** 2 - _squares(weights)


def _squares(weights: np.ndarray) -> np.ndarray:
    return np.einsum("id,id->d", weights, weights)


def _tied_in_groups(weights: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Weighted ordered pairs of different models of one group [d]; members of a group are consecutive in [n, d]."""
    groups = sizes[sizes > 1]
    if not len(groups):
        return np.zeros(weights.shape[1])
    members = weights[np.repeat(sizes > 1, sizes)]
    sums = np.add.reduceat(members, np.cumsum(groups) - groups, axis=0).astype(np.float64)
    return _squares(sums) - _squares(members)


class Level(NamedTuple):
    """One digit of the ranks, for a merge count in base R, with the models in C chunks of R.

    The models are grouped by the higher digits of their rank and keep their original order within a group. A pair of
    one group that differs in this digit is discordant if the larger digit is first.

    Attributes:
        rows: int64 [C, R], the models; numbers from n on are padding.
        group_chunks: chunks per group.
        inside: float32 [C, R, R], 1 where the second of two models of a chunk is first and has the larger digit.
        above: float32 [C, R, R], 1 where a model's digit is larger than the row's number.
        digit_rows: int64 [C, R], chunk times R plus digit of each model.
    """

    rows: np.ndarray
    group_chunks: int
    inside: np.ndarray
    above: np.ndarray
    digit_rows: np.ndarray


def levels_of(ranks: np.ndarray) -> Iterator[Level]:
    """The levels of ``PairOrder.ranks`` [n], the lowest digit first; at least one."""
    radix = RADIX // 2 if len(ranks) <= (RADIX // 2) ** 2 else RADIX
    chunks = -(-len(ranks) // radix)
    ranks = np.concatenate([ranks, np.arange(len(ranks), chunks * radix)])
    digits = np.arange(radix)
    width = 1
    while width < len(ranks):
        rows = np.argsort(ranks // (radix * width), kind="stable").reshape(chunks, radix)
        digit = ranks[rows] // width % radix
        inside = np.tril(digit[:, :, None] < digit[:, None, :]).astype(np.float32)
        above = (digits[:, None] < digit[:, None, :]).astype(np.float32)
        yield Level(rows, width, inside, above, np.arange(chunks)[:, None] * radix + digit)
        width *= radix


def _discordant_pairs(levels: list[Level], weights: np.ndarray) -> np.ndarray:
    """Sums of w_i w_j over the discordant pairs, for weights [n, d] in the order of ``PairOrder.rows``."""
    total = np.zeros(weights.shape[1])
    for _, here, larger_before in discordant_partners(levels, weights):
        total += np.einsum("cid,cid->cd", here, larger_before).sum(axis=0, dtype=np.float64)
    return total


def discordant_partners(
    levels: list[Level], weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The total weight of the models that precede each model and have a larger rank, in terms to be summed.

    Args:
        weights: float32 [n, d], d R <= CHUNK^2, in the order of ``PairOrder.rows``.

    Yields:
        The models [C, R], each once, their weights [C, R, d], and this level's term of the sums [C, R, d].
    """
    n, d = weights.shape
    weights = np.concatenate([weights, np.zeros((levels[0].rows.size - n, d), dtype=np.float32)])
    for level in levels:
        here = weights[level.rows]
        larger_before = level.inside @ here
        if level.group_chunks > 1:
            before = _sums_before(level.above @ here, level.group_chunks)
            larger_before += before.reshape(-1, d)[level.digit_rows]
        yield level.rows, here, larger_before


def _sums_before(sums: np.ndarray, group_chunks: int) -> np.ndarray:
    """Sums over the earlier chunks of the same group, from sums per chunk [C, R, d]."""
    before = np.zeros_like(sums)
    for chunk in range(1, len(sums)):
        if chunk % group_chunks:
            np.add(before[chunk - 1], sums[chunk - 1], out=before[chunk])
    return before
