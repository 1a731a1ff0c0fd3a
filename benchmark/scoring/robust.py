"""Robust sign error: how often does a measure err on a change of one hyperparameter, in the worst case?

- Runs with equal hyperparameters are the seeds of one configuration. An *environment* is a pair of configurations that
  differ in exactly one hyperparameter, by any change of its value. Its pairs of models combine the seeds of one with
  the seeds of the other.
- The sign error of a pair is (1 - sign(mu_i - mu_j) sign(g_i - g_j)) / 2: 0 right, 1 wrong, 1/2 for a tied prediction.
- The weight of a pair is max(0, h - 1/2) with h = max(0, 1 - 2 exp(-2 n (|g_i - g_j| / 2)^2))^2, n the size of the test
  set: differences that n test examples cannot distinguish from noise do not count. Targets are fractions, not
  percentages.
- An environment's error is the weighted mean over its pairs. Environments with an effective sample size
  (sum of weights)^2 / (sum of squared weights) below 12 are left out; no environment of fewer than 12 pairs of seeds
  is kept, so 4 seeds each are needed for every environment to have a chance.
- Over the environments: mean, 90th percentile (with linear interpolation) and maximum. Lower is better; 1/2 is chance.

Choices made here: all environments have the same weight, including those of a hyperparameter with many values. As for
psi, every varied hyperparameter must have an environment; otherwise the score is undefined and raises NoGrid.

The program of the paper (robust-generalization-measures, experiments/coupled_networks) differs in two points. It lists
each environment in both directions, which moves a percentile between two environments; and it keeps environments whose
effective sample size is within 0.00012 of 12, where this module allows for rounding alone.

Source: Dziugaite et al., "In Search of Robust Measures of Generalization", arXiv:2010.11924, section 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.scoring import ScoreError, require_fractions
from benchmark.scoring.bootstrap import CHUNK
from benchmark.scoring.grid import (
    checked,
    configuration_weights,
    configurations_of,
    counted,
    labels,
    neighbour_sums,
    pairs_within,
    varied,
)

MINIMUM_SAMPLE = 12
# Sums of weights that are equal in theory may differ by rounding.
_ROUNDING = 1e-9
# Pairs of models in a chunk.
PAIR_CHUNK = 1 << 20


@dataclass(frozen=True)
class RobustSignError:
    """One prediction's error over environments.

    Attributes:
        mean, p90, maximum: in [0, 1]; all 1/2 for a constant prediction.
        environments: number of environments that were kept.
        candidates: number of pairs of configurations that differ in one hyperparameter, kept or not.
    """

    mean: float
    p90: float
    maximum: float
    environments: int
    candidates: int


def robust_sign_error(
    predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray, test_examples: int
) -> list[RobustSignError]:
    """The robust sign error of every method.

    Args:
        predictions: [E, n].
        target: [n], gaps or accuracies as fractions.
        hyperparameters: [n, K], equal rows for runs that differ only in their seed.
        test_examples: how many examples the target was measured on.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 models, a target without variation or above 1 in size,
            no test examples, or no environment with a sufficient effective sample size.
        NoGrid: the models form no grid.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    kept = _kept_environments(predictions, target, codes, test_examples)
    return [
        RobustSignError(
            float(error.mean()), float(np.percentile(error, 90)), float(error.max()), len(error), kept.candidates
        )
        for error in kept.errors
    ]


def bootstrap_robust(
    predictions: np.ndarray,
    target: np.ndarray,
    hyperparameters: np.ndarray,
    test_examples: int,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 90th percentile of every method's errors in every draw: float64 [E, D] each.

    An environment is w_i w_j times in a draw, as often as both its configurations; its error is fixed, because a
    configuration is drawn with all of its seeds. A draw without environments is NaN. The maximum over a draw never
    exceeds the maximum over the table, so draws give no interval for the maximum.

    Args:
        predictions, target, hyperparameters, test_examples: as in ``robust_sign_error``.
        weights: [n, D], how often each model is in each draw, equal for the runs of a configuration, from
            ``bootstrap.resample``.

    Raises:
        As ``robust_sign_error``; ScoreError also if the weights are not whole numbers of this shape, or differ between
            the runs of a configuration.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    drawn = configuration_weights(weights, configurations_of(codes)[1])
    kept = _kept_environments(predictions, target, codes, test_examples)
    means = np.full((len(predictions), drawn.shape[1]), np.nan)
    percentiles = means.copy()
    order = np.argsort(kept.errors, axis=1)
    for start in range(0, drawn.shape[1], CHUNK):
        here = slice(start, start + CHUNK)
        copies = drawn[kept.first, here].astype(np.float64) * drawn[kept.second, here]
        totals = copies.sum(axis=0)
        some = totals > 0
        for mean, percentile, error, rows in zip(means, percentiles, kept.errors, order, strict=True):
            np.divide(error @ copies, totals, out=mean[here], where=some)
            percentile[here][some] = _percentile(error[rows], copies[rows][:, some], 0.9)
    return means, percentiles


def _percentile(values: np.ndarray, copies: np.ndarray, share: float) -> np.ndarray:
    """Linear percentiles [d] of rising ``values`` [m], each of them ``copies`` [m, d] times, at least one in a draw."""
    upto = np.cumsum(copies, axis=0)
    place = share * (upto[-1] - 1)
    below = np.floor(place)
    low, high = (values[(upto <= each).sum(axis=0)] for each in (below, np.ceil(place)))
    return low + (place - below) * (high - low)


class _Environments(NamedTuple):
    """The environments with a sufficient effective sample size.

    Attributes:
        errors: [E, environments].
        first, second: [environments], their configurations.
        candidates: number of environments of any sample size.
    """

    errors: np.ndarray
    first: np.ndarray
    second: np.ndarray
    candidates: int


def _kept_environments(
    predictions: np.ndarray, target: np.ndarray, codes: np.ndarray, test_examples: int
) -> _Environments:
    if test_examples < 1:
        raise ScoreError(f"the target was measured on {test_examples} test examples; give at least 1")
    require_fractions(target)
    configurations, runs = configurations_of(codes)
    first, second = _environments(configurations)
    candidates = len(first)
    errors, environments, largest = [], [], 0.0
    for here, i, j, sizes in _seed_pairs(first, second, runs):
        weights = pair_weights(target[i] - target[j], test_examples)
        samples = _effective_sample_sizes(weights, sizes)
        largest = max(largest, samples.max())
        kept = samples >= MINIMUM_SAMPLE - _ROUNDING
        if kept.any():
            rows = np.repeat(kept, sizes)
            errors.append(_sign_errors(predictions, target, i[rows], j[rows], weights[rows], sizes[kept]))
            environments.append(here[kept])
    if not errors:
        raise ScoreError(
            f"undefined: none of {candidates} pairs of configurations has an effective sample size of "
            f"{MINIMUM_SAMPLE}, the largest is {largest:.3g}; it takes 4 seeds each, whose targets differ by more than "
            "noise"
        )
    numbers = np.concatenate(environments)
    return _Environments(np.concatenate(errors, axis=1), first[numbers], second[numbers], candidates)


def pair_weights(difference: np.ndarray, test_examples: int) -> np.ndarray:
    """max(0, h - 1/2) in [0, 1/2] of differences between two targets, in any shape."""
    certainty = np.maximum(0, 1 - 2 * np.exp(-2 * test_examples * (difference / 2) ** 2))
    return np.maximum(0, certainty**2 - 0.5)


def _environments(configurations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of configurations [C, K] that differ in exactly one hyperparameter."""
    others = [labels(np.delete(configurations, axis, axis=1)) for axis in varied(configurations)]
    first, second = zip(*map(pairs_within, others), strict=True)
    return np.concatenate(first), np.concatenate(second)


def _seed_pairs(
    first: np.ndarray, second: np.ndarray, runs: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Environments in chunks: their numbers, models i and j of all their pairs, and the number of pairs of each.

    The number of pairs bounds the effective sample size. Environments with too few pairs are skipped, unless all have.
    """
    members = np.argsort(runs, kind="stable")
    seeds = np.bincount(runs)
    starts = np.cumsum(seeds) - seeds
    sizes = seeds[first] * seeds[second]
    enough = sizes >= min(MINIMUM_SAMPLE, sizes.max())
    numbers, first, second, sizes = np.flatnonzero(enough), first[enough], second[enough], sizes[enough]
    chunk = np.cumsum(sizes) // PAIR_CHUNK
    for here in np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(chunk)) + 1):
        # Pair number p of an environment is seed p // width of the first and seed p % width of the second.
        width = np.repeat(seeds[second[here]], sizes[here])
        pair = counted(sizes[here])
        i = members[np.repeat(starts[first[here]], sizes[here]) + pair // width]
        j = members[np.repeat(starts[second[here]], sizes[here]) + pair % width]
        yield numbers[here], i, j, sizes[here]


def _effective_sample_sizes(weights: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    # Relative to the largest weight of an environment, so that squares of small weights do not underflow.
    largest = np.repeat(np.maximum.reduceat(weights, np.cumsum(sizes) - sizes), sizes)
    weights = np.divide(weights, largest, out=np.zeros_like(weights), where=largest > 0)
    squares = neighbour_sums(weights**2, sizes)
    return np.divide(neighbour_sums(weights, sizes) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


def _sign_errors(
    predictions: np.ndarray, target: np.ndarray, i: np.ndarray, j: np.ndarray, weights: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Weighted mean error of every method in every environment: float64 [E, environments]."""
    order = weights * np.sign(target[i] - target[j])
    total = neighbour_sums(weights, sizes)
    errors = np.empty((len(predictions), len(sizes)))
    for error, prediction in zip(errors, predictions, strict=True):
        error[:] = (1 - neighbour_sums(np.sign(prediction[i] - prediction[j]) * order, sizes) / total) / 2
    return np.clip(errors, 0, 1)
