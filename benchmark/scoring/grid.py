"""Hyperparameter grids, for the scores that compare models by their hyperparameters.

- Hyperparameters are [n, K], one row per model in the order of the target. Values are compared only with ``==``, so
  they may be numbers, strings and None (for "does not apply"). Results name a hyperparameter by its column, 0 .. K-1.
- A *configuration* is a distinct row; models with equal rows differ only in their seed.
- A hyperparameter is *varied* if it has two values or more, and *one-valued* otherwise.
- The models form a *grid* if every varied hyperparameter has two configurations that differ in it alone. Cells may be
  missing: the grid need not be factorial. Hyperparameters that were sampled, or that only vary together, form no grid;
  the scores are then undefined and raise NoGrid.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from benchmark.scoring import ScoreError, finite, stacked
from benchmark.scoring.bootstrap import checked_weights

MOST_GROUPS = 500

Set = TypeVar("Set", bound=tuple[int, ...])


class NoGrid(ScoreError):
    """The models form no grid, so the score is undefined for every prediction."""


def with_names(reason: str, hyperparameters: Sequence[str]) -> str:
    """A message of these scores with names of hyperparameters in place of columns.

    >>> with_names("no two configurations differ in hyperparameter 1 alone", ["width", "depth"])
    'no two configurations differ in depth alone'
    """
    return re.sub(r"\bhyperparameter (\d+)", lambda column: hyperparameters[int(column[1])], reason)


def checked(
    predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions float64 [E, n], target float64 [n], and the hyperparameters as codes int64 [n, K].

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 models, or a target without variation.
        NoGrid: the models form no grid.
    """
    target = finite(target, "target")
    n = len(target)
    predictions = stacked(predictions, n)
    for method, prediction in enumerate(predictions):
        finite(prediction, f"prediction {method}")
    codes = codes_of(hyperparameters, n)
    if n < 2:
        raise ScoreError(f"models are compared in pairs, and there are {n} models; give at least 2")
    if np.ptp(target) == 0:
        raise ScoreError(f"the target is {target[0]} for all {n} models, so there is no order to predict")
    _require_grid(codes)
    return predictions, target, codes


def codes_of(hyperparameters: np.ndarray, n: int) -> np.ndarray:
    """Hyperparameters as codes int64 [n, K], numbered per column; ScoreError if they have another shape or a NaN."""
    hyperparameters = np.asarray(hyperparameters)
    if hyperparameters.ndim != 2 or len(hyperparameters) != n:
        raise ScoreError(f"hyperparameters of {n} models have shape [{n}, K], got {list(hyperparameters.shape)}")
    codes = np.empty((n, hyperparameters.shape[1]), dtype=np.int64)
    for column, values in enumerate(hyperparameters.T.tolist()):
        codes[:, column] = _codes(values, column)
    return codes


def encoded(hyperparameters: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Hyperparameters as input of a regressor, float64 [n, F]: numbers unchanged, other values one-hot.

    In a column of numbers and other values, such as a learning rate that may be "auto" or empty, the numbers stay one
    feature and each other value is one-hot; in their place, the numbers' feature has a number beyond the largest.

    Args:
        hyperparameters: [n, K].
        codes: of ``hyperparameters``, from ``codes_of``.
    """
    columns = [np.empty((len(codes), 0))]
    for numbered, values in zip(codes.T, np.asarray(hyperparameters).T.tolist(), strict=True):
        numeric = np.array([isinstance(value, (int, float)) for value in values])
        if numeric.all():
            columns.append(np.array(values, dtype=float)[:, None])
            continue
        if numeric.any():
            numbers = np.array([value for value, number in zip(values, numeric, strict=True) if number], dtype=float)
            feature = np.full(len(values), numbers.max() + max(1, np.ptp(numbers)))
            feature[numeric] = numbers
            columns.append(feature[:, None])
            columns.append((numbered[:, None] == np.unique(numbered[~numeric])).astype(float))
        else:
            columns.append(np.eye(numbered.max() + 1)[numbered])
    return np.concatenate(columns, axis=1)


def _codes(values: list, column: int) -> list[int]:
    numbers = {}
    for row, value in enumerate(values):
        if value != value:
            raise ScoreError(
                f"hyperparameter {column} is NaN at position {row}; leave the model out, or give a value that stands "
                "for 'does not apply'"
            )
        numbers.setdefault(value, len(numbers))
    return [numbers[value] for value in values]


def _require_grid(codes: np.ndarray) -> None:
    if not len(varied(codes)):
        raise NoGrid("undefined: no grid; all hyperparameters have one value")
    configurations, _ = configurations_of(codes)
    for column in varied(codes):
        others = labels(np.delete(configurations, column, axis=1))
        if others.max() + 1 == len(others):
            raise NoGrid(
                f"undefined: no grid; no two configurations differ in hyperparameter {column} alone, so it was sampled "
                "or only varies together with another; leave it out, or join the two into one"
            )


def varied(codes: np.ndarray) -> np.ndarray:
    """Columns of ``codes`` [n, K] with at least two values."""
    return np.flatnonzero((codes != codes[0]).any(axis=0))


def labels(codes: np.ndarray) -> np.ndarray:
    """The number 0 .. G-1 of each row of ``codes`` [n, K] among the distinct rows: int64 [n]; all 0 without columns."""
    groups = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        # Renumbered after each column, so that the product cannot overflow.
        groups = np.unique(groups * (column.max() + 1) + column, return_inverse=True)[1]
    return groups


def configurations_of(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The configurations' codes [C, K], and each model's configuration [n]."""
    runs = labels(codes)
    return codes[np.unique(runs, return_index=True)[1]], runs


def pairs_within(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (i, j) of different members of one group, each once and group by group, for group labels [n]."""
    order = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    places = np.arange(len(order))
    partners = np.repeat(np.cumsum(sizes), sizes) - places - 1
    first = np.repeat(places, partners)
    second = first + 1 + counted(partners)
    return order[first], order[second]


def counted(lengths: np.ndarray) -> np.ndarray:
    """0 .. length - 1 for every length, concatenated."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def neighbour_sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums of consecutive ``values`` along the first axis, ``lengths`` of them each; no length may be 0."""
    return np.add.reduceat(values, np.cumsum(lengths) - lengths)


def configuration_weights(weights: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """The configurations' ``weights`` [C, D] from the models' [n, D]; ScoreError if they differ within one."""
    weights = checked_weights(weights, len(runs))
    _, some, runs = np.unique(runs, return_index=True, return_inverse=True)
    if (weights[some][runs] != weights).any():
        raise ScoreError(
            "weights differ between the runs of a configuration; give resample the configurations as clusters, so that "
            "it draws their runs together"
        )
    return weights[some]


def conditioned_on(codes: np.ndarray, sets: Iterable[Set]) -> dict[Set, np.ndarray]:
    """Each set of columns with each model's group [n] by it, without the sets in which every model has its own group.

    In such sets a cell is a single pair, which has no entropy.

    Raises:
        NoGrid: a set makes more than ``MOST_GROUPS`` groups: its cells would hold few pairs and exhaust the memory.
    """
    groups = {each: labels(codes[:, each]) for each in sets}
    groups = {each: members for each, members in groups.items() if members.max(initial=0) + 1 < len(codes)}
    for each, members in groups.items():
        if (count := members.max() + 1) > MOST_GROUPS:
            names = " and ".join(f"hyperparameter {column}" for column in each)
            raise NoGrid(
                f"undefined: no grid; {names} put {len(codes)} models into {count} groups, of at most {MOST_GROUPS}; "
                "leave one out, or round it"
            )
    return groups
