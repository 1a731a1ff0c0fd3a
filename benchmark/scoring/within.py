"""Scores within architectures: pairs of models of different architectures do not count.

A measure may order architectures rightly, or wrongly, for a reason that has nothing to do with generalization, and four
architectures have only 24 orders. These scores ask what is left when the architecture is known.

- tau within architecture is tau-b over the pairs of models that share an architecture: concordant minus discordant
  pairs, over the geometric mean of the pairs that are not tied in prediction and target, each summed over the
  architectures. It is what ``kendall`` calls tau-b where there is one architecture.
- Psi within architecture is the mean of psi over the hyperparameters that change no architecture (``granulated``).

Choices made here: architectures count with their numbers of pairs, not equally, so that an architecture of three models
does not speak as loud as one of a hundred. A prediction that is a function of the architecture scores 0.
"""

import numpy as np

from benchmark.scoring import ScoreError, finite
from benchmark.scoring.bootstrap import PairCounts, TargetPairs, checked_weights, pair_counts, partly_defined
from benchmark.scoring.grid import labels, varied


def tau_within(
    predictions: np.ndarray, target: np.ndarray, architectures: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """tau-b within architectures of every method in every draw: float64 [E, D].

    NaN in a draw in which all targets of each architecture are tied.

    Args:
        predictions: [E, n], finite.
        target: [n], finite.
        architectures: [n] labels.
        weights: [n, D], how often each model is in each draw, from ``bootstrap.resample``. Without them, each model is
            once in the only draw.

    Raises:
        ScoreError: all models have one architecture, or no two models of one have different targets; wrong shapes, NaN
            or infinity.
    """
    target = finite(target, "target")
    predictions = partly_defined(predictions, len(target))
    groups = groups_of(architectures, len(target))
    weights = np.ones((len(target), 1), dtype=np.uint8) if weights is None else checked_weights(weights, len(target))
    members = [rows for rows in map(np.flatnonzero, groups == np.arange(groups.max() + 1)[:, None]) if len(rows) > 1]
    if not any(np.ptp(target[rows]) for rows in members):
        raise ScoreError("no two models of one architecture have different targets")
    pairs = [TargetPairs.of(target[rows], weights[rows]) for rows in members]
    taus = np.empty((len(predictions), weights.shape[1]))
    for number, prediction in enumerate(predictions):
        finite(prediction, f"prediction {number}")
        counts = [pair_counts(prediction[rows], each) for rows, each in zip(members, pairs, strict=True)]
        taus[number] = PairCounts(*(np.sum(part, axis=0) for part in zip(*counts, strict=True))).tau
    return taus


def axes_within(codes: np.ndarray, architectures: np.ndarray) -> np.ndarray:
    """The varied columns of ``codes`` [n, K] of which no two values make different architectures of a configuration.

    Raises:
        ScoreError: all models have one architecture, or every hyperparameter changes it.
    """
    groups = groups_of(architectures, len(codes))
    axes = []
    for axis in varied(codes):
        others = labels(np.delete(codes, axis, axis=1))
        if labels(np.stack([others, groups], axis=1)).max() == others.max():
            axes.append(axis)
    if not axes:
        raise ScoreError("every hyperparameter changes the architecture")
    return np.array(axes)


def architecture_share(prediction: np.ndarray, architectures: np.ndarray) -> float:
    """How much of the variance of the ranks of a prediction [n] lies between G architectures, in [0, 1].

    Eta squared, less what chance adds (its expectation for a random prediction is (G - 1) / (n - 1)): the adjusted
    1 - (1 - eta^2) (n - 1) / (n - G), at least 0. It is 1 for a function of the architecture, and 0 for a constant
    prediction and where each model has its own architecture. Tied predictions share their mean rank.
    """
    _, level, counts = np.unique(prediction, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[level]
    names, groups = np.unique(architectures, return_inverse=True)
    n = len(ranks)
    if len(counts) == 1 or len(names) == n:
        return 0.0
    means = np.bincount(groups, ranks) / np.bincount(groups)
    unexplained = 1 - means[groups].var() / ranks.var()
    return max(0.0, 1 - float(unexplained) * (n - 1) / (n - len(names)))


def groups_of(architectures: np.ndarray, n: int) -> np.ndarray:
    """Numbers 0 .. G-1 of the ``architectures`` [n], G > 1; ScoreError if there are fewer, or another number."""
    names, groups = np.unique(architectures, return_inverse=True)
    if len(groups) != n:
        raise ScoreError(f"{len(groups)} architectures for {n} models; give one label per model")
    if len(names) < 2:
        raise ScoreError("all models have one architecture")
    return groups
