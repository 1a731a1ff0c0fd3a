"""Pair counts of resampled models: what the bootstraps of ``pgdl`` and ``conditional_mi`` share.

A pair of different models that were drawn w_i and w_j times counts w_i w_j times. The copies of one model are no pair
here; a score that counts pairs i = j adds them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csc_array

from benchmark.scoring.grid import counted

# Draws that are counted together, so that the counts of one entrant stay in a core's cache; pairs per sparse matrix, at
# least as many as it has rows; counts that are held at once, over entrants.
_DRAWS = 64
_PAIRS = 1 << 15
_COUNTS = 1 << 26


def pair_draws(
    predictions: np.ndarray, target: np.ndarray, sets: Sequence[np.ndarray], weights: np.ndarray
) -> Iterator[tuple[int, slice, list[np.ndarray]]]:
    """Weighted counts of ordered pairs of different models, by cell and by how prediction and target order them.

    All pairs are visited for each entrant: O(E n^2 S D) operations and O(S G^2) memory for S sets.

    Args:
        predictions: [E, n]. target: [n].
        sets: group labels int64 [n], 0 .. G-1, for each set of hyperparameters.
        weights: [n, D], how often each model is in each draw.

    Yields:
        An entrant, some of the D draws, and float64 [G, G, 3, 3, draws] per set: weighted pairs by the groups of both
        models, 1 + sign(mu_i - mu_j) and 1 + sign(g_i - g_j).
    """
    groups = np.stack(sets, axis=1)
    sides = groups.max(axis=0) + 1
    ends = np.cumsum(9 * sides**2)
    for start in range(0, weights.shape[1], _DRAWS):
        here = slice(start, min(start + _DRAWS, weights.shape[1]))
        # float32 is exact up to 2^24, and the largest count is below half the square of the models drawn.
        exact = np.float32 if int(weights[:, here].sum(axis=0, dtype=np.int64).max()) ** 2 < 1 << 25 else np.float64
        drawn = weights[:, here].astype(exact)
        together = max(1, _COUNTS // (ends[-1] * drawn.shape[1]))
        for first in range(0, len(predictions), together):
            counts = _counts(predictions[first : first + together], target, groups, sides, drawn)
            for entrant, count in enumerate(counts, first):
                once = [
                    count[end - 9 * side**2 : end].reshape(side, side, 3, 3, -1)
                    for side, end in zip(sides, ends, strict=True)
                ]
                # A pair the other way round is in the transposed cell, and both signs are turned.
                yield (
                    entrant,
                    here,
                    [each + each.transpose(1, 0, 2, 3, 4)[:, :, ::-1, ::-1].astype(float) for each in once],
                )


def _counts(
    predictions: np.ndarray, target: np.ndarray, groups: np.ndarray, sides: np.ndarray, drawn: np.ndarray
) -> np.ndarray:
    """Weighted pairs i < j of e entrants [e, sum of 9 G^2, d]: the cells of all sets in a row, 9 orders in each."""
    ends = np.cumsum(9 * sides**2)
    counts = np.zeros((len(predictions), ends[-1], drawn.shape[1]), dtype=drawn.dtype)
    for i, j in _pairs(len(target), max(_PAIRS, ends[-1])):
        pairs = drawn[i] * drawn[j]
        cells = groups[i] * sides + groups[j]
        bins = ends - 9 * sides**2 + 9 * cells + (1 + _sign(target, i, j))[:, None]
        ones, columns = np.ones(bins.size, dtype=drawn.dtype), np.arange(0, bins.size + 1, len(sides))
        for count, prediction in zip(counts, predictions, strict=True):
            rows = bins + 3 * (1 + _sign(prediction, i, j))[:, None]
            count += csc_array((ones, rows.ravel(), columns), shape=(ends[-1], len(i))) @ pairs
    return counts


def _pairs(n: int, some_pairs: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs i < j of n models, about so many at a time."""
    rows = max(1, some_pairs // n)
    for start in range(0, n, rows):
        some = np.arange(start, min(start + rows, n))
        i = np.repeat(some, n - 1 - some)
        yield i, i + 1 + counted(n - 1 - some)


def _sign(values: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.sign(values[i] - values[j]).astype(np.int64)
