"""Granulated Kendall coefficients psi and their mean Psi: does a measure follow the gap along each hyperparameter?

- Runs that differ only in their seed are averaged first, in prediction and target: one value of each per configuration.
  Means that differ by less than the rounding of a sum are tied.
- A cell of hyperparameter k holds the configurations that agree in all others. Within it tau has its tau-a form:
  sum over pairs of sign(mu_i - mu_j) sign(g_i - g_j) / pairs, so that a pair tied in either adds 0.
- psi_k is the mean over the cells of k, Psi the mean over the hyperparameters, both unweighted.

Choices made here: a cell of one configuration, as in a grid with gaps, has no pairs and is left out; a cell whose
targets are all tied is 0. A one-valued hyperparameter has no psi, and Psi is the mean over the others. Where no cell of
a varied hyperparameter has two configurations, because it was sampled, psi and Psi are undefined and raise NoGrid.

Source: Jiang et al., "Fantastic Generalization Measures and Where to Find Them", arXiv:1912.02178, section 4.
"""

from dataclasses import dataclass

import numpy as np

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import CHUNK
from benchmark.scoring.grid import (
    checked,
    configuration_weights,
    configurations_of,
    labels,
    neighbour_sums,
    pairs_within,
    varied,
)

# Two means of equal sums that were added in different orders may differ by this share of their size.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Granulated:
    """One prediction's coefficients.

    Attributes:
        value: Psi, in [-1, 1]; 0 for a constant prediction.
        psi: per hyperparameter, in [-1, 1]; None for a one-valued one, and for one that is left out.
        cells: per hyperparameter, the number of cells that psi is the mean of; 0 where psi is None.
    """

    value: float
    psi: tuple[float | None, ...]
    cells: tuple[int, ...]


def granulated_tau(
    predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray, axes: np.ndarray | None = None
) -> list[Granulated]:
    """psi and Psi of every method.

    Args:
        predictions: [E, n].
        target: [n].
        hyperparameters: [n, K], equal rows for runs that differ only in their seed.
        axes: the varied columns that Psi is the mean over; None for all.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 models, or a target without variation, before or after
            seeds are averaged.
        NoGrid: the models form no grid.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    configurations, runs = configurations_of(codes)
    predictions, target = _averaged(predictions, target, runs)
    psi = np.zeros((len(predictions), codes.shape[1]))
    cells = np.zeros(codes.shape[1], dtype=int)
    axes = varied(codes) if axes is None else axes
    for axis in axes:
        first, second, sizes = _cells(configurations, axis)
        cells[axis] = len(sizes)
        order = _signs(target, first, second)
        for row, prediction in zip(psi, predictions, strict=True):
            row[axis] = (neighbour_sums(_signs(prediction, first, second) * order, sizes) / sizes).mean()
    return [
        Granulated(
            float(row[axes].mean()),
            tuple(float(value) if axis in axes else None for axis, value in enumerate(row)),
            tuple(cells.tolist()),
        )
        for row in psi
    ]


def bootstrap_granulated(
    predictions: np.ndarray,
    target: np.ndarray,
    hyperparameters: np.ndarray,
    weights: np.ndarray,
    axes: np.ndarray | None = None,
) -> np.ndarray:
    """Psi of every method in every draw: float64 [E, D].

    A pair of configurations counts w_i w_j times, as often as both were drawn; copies of one configuration are not a
    pair. All cells in which a pair was drawn have the same weight, and so have all hyperparameters that vary in the
    table. Psi is NaN in a draw in which one of these has no such cell.

    Draws lose cells that the grid has by design, so intervals are slightly too wide: on simulated grids of 96 models
    they held the true Psi in 97 to 98 % of repeats.

    Args:
        predictions, target, hyperparameters, axes: as in ``granulated_tau``.
        weights: [n, D], how often each model is in each draw, equal for the runs of a configuration, from
            ``bootstrap.resample``.

    Raises:
        As ``granulated_tau``; ScoreError also if the weights are not whole numbers of this shape, or differ between the
            runs of a configuration.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    configurations, runs = configurations_of(codes)
    drawn = configuration_weights(weights, runs)
    predictions, target = _averaged(predictions, target, runs)
    axes = varied(codes) if axes is None else axes
    values = np.zeros((len(predictions), drawn.shape[1]))
    for axis in axes:
        first, second, sizes = _cells(configurations, axis)
        order = _signs(target, first, second)
        for start in range(0, drawn.shape[1], CHUNK):
            here = slice(start, start + CHUNK)
            pairs = drawn[first, here].astype(np.float64) * drawn[second, here]
            totals = neighbour_sums(pairs, sizes)
            cells = np.count_nonzero(totals, axis=0)
            # 0 / 0 for a cell without a pair, which adds 0, and for a draw without a cell, which is NaN.
            totals[totals == 0] = 1
            share = np.divide(1, cells * len(axes), out=np.full(len(cells), np.nan), where=cells > 0)
            for value, prediction in zip(values, predictions, strict=True):
                agreements = neighbour_sums((_signs(prediction, first, second) * order)[:, None] * pairs, sizes)
                value[here] += (agreements / totals).sum(axis=0) * share
    return values


def _averaged(predictions: np.ndarray, target: np.ndarray, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds; ScoreError if the means of the target do not vary."""
    target = _means(target, runs)
    if not _signs(target, np.zeros(len(target) - 1, dtype=int), np.arange(1, len(target))).any():
        raise ScoreError(f"the mean target over seeds is {target[0]} for all {len(target)} configurations")
    return np.array([_means(prediction, runs) for prediction in predictions]).reshape(-1, len(target)), target


def _cells(configurations: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of configurations that differ only in ``axis``, cell by cell, and the number of pairs per cell."""
    groups = labels(np.delete(configurations, axis, axis=1))
    first, second = pairs_within(groups)
    sizes = np.bincount(groups[first])
    return first, second, sizes[sizes > 0]


def _means(values: np.ndarray, runs: np.ndarray) -> np.ndarray:
    return np.bincount(runs, weights=values) / np.bincount(runs)


def _signs(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    difference = values[first] - values[second]
    size = np.maximum(np.abs(values[first]), np.abs(values[second]))
    return np.where(np.abs(difference) > _ROUNDING * size, np.sign(difference), 0)
