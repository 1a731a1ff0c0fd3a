"""The score of the competition "Predicting Generalization in Deep Learning" (PGDL, 2020), as its program computes it.

It differs from the conditional mutual information of Jiang et al. on purpose (``conditional_mi``):

- Pairs of models (i, j) are ordered and include i = j.
- V = 1 where the first is greater, and 0 otherwise: ties and i = j count as "not greater". A measure and its negation
  therefore have different scores, and larger has to mean a larger gap.
- Exactly two distinct hyperparameters are conditioned on. A one-valued one counts, and such a set conditions on the
  other one alone.
- A cell is the ordered pair's values of both. Cells are not weighted by their pairs: the score of a set is the sum of
  the cells' mutual informations I(V_mu; V_g) over the sum of the cells' entropies H(V_g). Empty cells add nothing.
- The score is the minimum over all sets, a fraction in [0, 1]; the leaderboard of the competition shows 100 times it.

Chosen here: a set in which no cell has any entropy is 0/0 and left out; of equal sets the first is reported. Runs that
differ in their seed are models like any others.

Source: Jiang et al., "NeurIPS 2020 Competition: Predicting Generalization in Deep Learning", arXiv:2012.07976, and the
scoring program of its starting kit.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmark.scoring import ScoreError
from benchmark.scoring.grid import NoGrid, PairCounts, checked, entropy, labels, mutual_information


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
    """The competition's score of every entrant.

    Args:
        predictions: [E, n]. target: [n]. hyperparameters: [n, K], K >= 2, one-valued ones included.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 models, a target without variation, or one
            hyperparameter alone.
        NoGrid: the models form no grid, or the target has no variation within any cell.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    if codes.shape[1] < 2:
        raise ScoreError("the score conditions on two hyperparameters, and there is one; a one-valued one would count")
    sets = list(combinations(range(codes.shape[1]), 2))
    pairs = PairCounts(target, [labels(codes[:, each]) for each in sets])
    return [_score(pairs.of(prediction), sets) for prediction in predictions]


def _score(counts: list[np.ndarray], sets: list[tuple[int, int]]) -> Pgdl:
    scores = {}
    for hyperparameters, table in zip(sets, counts, strict=True):
        greater = np.empty((*table.shape[:2], 2, 2))
        greater[..., 1, 1] = table[..., 2, 2]
        greater[..., 1, 0] = table[..., 2, :2].sum(axis=-1)
        greater[..., 0, 1] = table[..., :2, 2].sum(axis=-1)
        greater[..., 0, 0] = table[..., :2, :2].sum(axis=(-2, -1))
        total = entropy(greater.sum(axis=-2), -1).sum()
        if total > 0:
            scores[hyperparameters] = float(mutual_information(greater).sum() / total)
    if not scores:
        raise NoGrid("undefined: any two hyperparameters determine the order of the target, so no cell has entropy")
    best = min(scores, key=lambda each: scores[each])
    return Pgdl(scores[best], best)
