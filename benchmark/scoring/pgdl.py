"""The score of the competition "Predicting Generalization in Deep Learning" (PGDL, 2020), as its program computes it.

It deliberately differs from the conditional mutual information of Jiang et al. (``conditional_mi``):

- Pairs of models (i, j) are ordered and include i = j.
- V = 1 if the first model is greater, and 0 otherwise: ties and i = j count as "not greater". A measure and its
  negation therefore have different scores, and a larger measure must mean a larger gap.
- A set has exactly two distinct hyperparameters. One-valued hyperparameters count: a set with one of them conditions
  only on the other.
- A cell holds the ordered pairs with the same values of both hyperparameters. Cells are not weighted by their pairs:
  the score of a set is the sum of the cells' mutual informations I(V_mu; V_g) over the sum of their entropies H(V_g).
- The score is the minimum over all sets, a fraction in [0, 1]; the competition's leaderboard shows 100 times the score.

Choices made here: a set in which no cell has entropy gives 0/0 and is left out; of equal sets the first is reported.
Runs that differ only in their seed count as models.

Source: Jiang et al., "NeurIPS 2020 Competition: Predicting Generalization in Deep Learning", arXiv:2012.07976, and the
scoring program of its starting kit.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import checked_weights
from benchmark.scoring.grid import NoGrid, checked, conditioned_on
from benchmark.scoring.pairs import PairCounts, Table, minima, nats

NO_ENTROPY = "undefined: any two hyperparameters determine the order of the target, so no cell has entropy"


@dataclass(frozen=True)
class Pgdl:
    """One prediction's score.

    Attributes:
        value: in [0, 1]; 0 for a constant prediction.
        hyperparameters: the columns of the set that attains the minimum.
    """

    value: float
    hyperparameters: tuple[int, int]


def pgdl_score(predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray) -> list[Pgdl]:
    """The competition's score of every method.

    Args:
        predictions: [E, n].
        target: [n].
        hyperparameters: [n, K], K >= 2, one-valued ones included.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 models, a target without variation, or only
            one hyperparameter.
        NoGrid: the models form no grid, or the target has no variation within any cell.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    sets = _sets(codes)
    pairs = PairCounts(target, sets.values(), themselves=True)
    return [_score(dict(zip(sets, pairs.of(prediction), strict=True))) for prediction in predictions]


def bootstrap_pgdl(
    predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The competition's score of every method in every draw: float64 [E, D].

    A model that was drawn w_i times counts as w_i models: it has w_i w_j pairs with another model, and w_i^2 with
    itself and its copies, all of them "not greater". Each draw has its own minimum, and is NaN if no cell has entropy.

    Arguments, errors, cost and the bias of the draws are those of ``bootstrap_conditional_mi``.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    weights = checked_weights(weights, len(target))
    return minima(_fraction, predictions, target, codes, _sets(codes), weights, themselves=True)


def _sets(codes: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """The pairs of hyperparameters to condition on, and each model's group [n] by each pair."""
    if codes.shape[1] < 2:
        raise ScoreError(
            "the score conditions on two hyperparameters, and there is one; give another, which may be one-valued"
        )
    sets = conditioned_on(codes, combinations(range(codes.shape[1]), 2))
    if not sets:
        raise NoGrid(NO_ENTROPY)
    return sets


def _score(tables: dict[tuple[int, int], Table]) -> Pgdl:
    scores = {each: float(_fraction(table)[0]) for each, table in tables.items()}
    scores = {each: value for each, value in scores.items() if not math.isnan(value)}
    if not scores:
        raise NoGrid(NO_ENTROPY)
    best = min(scores, key=lambda each: scores[each])
    return Pgdl(scores[best], best)


def _fraction(table: Table) -> np.ndarray:
    """Sum of information / sum of entropy [..., d] of one set; NaN without entropy."""
    greater = np.concatenate([_greater(table.counts), _greater(table.turned)], axis=-2)
    pairs = greater.sum(axis=(0, 1))
    information, total = (
        np.divide(each, pairs, out=np.zeros_like(each), where=pairs > 0).sum(axis=-2) for each in nats(greater)
    )
    return np.divide(information, total, out=np.full(total.shape, np.nan), where=total > 0)


def _greater(counts: np.ndarray) -> np.ndarray:
    """[2, 2, ...] by whether prediction and target are greater, from [3, 3, ...]."""
    by_prediction = np.stack([counts[0] + counts[1], counts[2]])
    return np.stack([by_prediction[:, 0] + by_prediction[:, 1], by_prediction[:, 2]], axis=1)
