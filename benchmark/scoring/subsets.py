"""Kendall's tau of methods on many subsets of the same models, as comparisons of methods with gaps need it.

The pairs of a subset are the pairs of the models that a method is defined for, less those of the models that are left
out. These are few, so that a subset costs a small part of what it would cost to count its pairs again; the counts are
whole numbers, so that the result is the same to the last bit.
"""

from collections.abc import Sequence

import numpy as np

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import (
    PairCounts,
    TargetPairs,
    checked_weights,
    pair_counts,
    partly_defined,
    tied_pairs,
)
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.scorecard import MINIMUM_DRAWN, MINIMUM_MODELS

# With more models left out, the pairs of a subset are counted again: that takes about as long then.
MOST_LEFT_OUT = 256
# Models that are multiplied at a time, with as many draws as BLAS multiplies in the calling thread, see
# ``bootstrap.CHUNK``.
BLOCK = 64


class TauOnSubsets:
    """Tau-b and its bootstrap draws for E methods on subsets of n models.

    Subsets are fast for the methods that were scored on all models of theirs before.

    Args:
        predictions: [E, n], NaN where a method is undefined.
        target: [n], finite.
        weights: [n, D], from ``bootstrap.resample``.

    Raises:
        ScoreError: see ``bootstrap.bootstrap_tau``.
    """

    def __init__(self, predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> None:
        self._predictions = partly_defined(predictions, len(target))
        self._target = target
        self._weights = checked_weights(weights, len(target))
        blocks = -(-len(target) // BLOCK)
        padded = np.zeros((blocks * BLOCK, self._weights.shape[1]), dtype=np.float32)
        padded[: len(target)] = self._weights
        # [blocks of models, BLOCK, D]
        self._blocks = padded.reshape(blocks, BLOCK, -1)
        # By method, on all models that it is defined for.
        self._whole: dict[int, PairCounts] = {}

    def __call__(self, models: np.ndarray, methods: Sequence[int]) -> list[tuple[float, np.ndarray]]:
        """Value and draws [D] of each of the ``methods`` on ``models``, bool [n], all of which they define.

        NaN where ``scorecard`` leaves tau undefined.
        """
        target = TargetPairs.of(self._target[models], self._weights[models])
        nothing = np.full(self._weights.shape[1], np.nan)
        scores = []
        for method in methods:
            try:
                if models.sum() < MINIMUM_MODELS:
                    raise ScoreError(f"{models.sum()} models")
                value = kendall_tau(self._predictions[method, models], target.target).value
                draws = self._counts(method, models, target).tau
                if np.isfinite(draws).sum() < MINIMUM_DRAWN * len(draws):
                    raise ScoreError("too few draws")
            except ScoreError:
                scores.append((np.nan, nothing))
            else:
                scores.append((value, draws))
        return scores

    def _counts(self, method: int, models: np.ndarray, target: TargetPairs) -> PairCounts:
        prediction = self._predictions[method]
        left_out = np.flatnonzero(~np.isnan(prediction) & ~models)
        if method in self._whole and 0 < len(left_out) <= MOST_LEFT_OUT:
            difference = self._whole[method].difference - self._difference_of(left_out, prediction)
            untied = target.pairs - tied_pairs(prediction[models], target.weights)
            return PairCounts(difference, untied, target.untied)
        counts = pair_counts(prediction[models], target)
        if not len(left_out):
            self._whole[method] = counts
        return counts

    def _difference_of(self, left_out: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Concordant minus discordant pairs that hold a model of ``left_out``, in both directions: float64 [D]."""
        signs = _signs(prediction, left_out) * _signs(self._target, left_out)
        # A pair of two that are left out is counted from both of them, any other pair from one of the two.
        signs *= 2
        signs[:, left_out] /= 2
        blocks = len(self._blocks)
        signs = np.pad(signs, ((0, 0), (0, blocks * BLOCK - signs.shape[1])))
        signs = np.ascontiguousarray(signs.reshape(-1, blocks, BLOCK).swapaxes(0, 1))
        weights = self._weights[left_out].astype(np.float64)
        total = np.zeros(weights.shape[1])
        for some in _slices(len(left_out), BLOCK):
            for draws in _slices(len(total), BLOCK**2 // min(BLOCK, len(left_out))):
                # Whole numbers below 2^24, which float32 holds.
                partners = (signs[:, some] @ self._blocks[:, :, draws]).sum(axis=0)
                total[draws] += np.einsum("xd,xd->d", weights[some, draws], partners)
        return total


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, length, step)]


def _signs(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The signs of the differences of some ``values`` to all: float32 [rows, n], 0 where one is NaN."""
    some = values[rows, None]
    return (some > values).astype(np.float32) - (some < values)
