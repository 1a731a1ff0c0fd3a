"""The conditional mutual information score K: does a measure tell more of the gap's order than two hyperparameters do?

    K = min over S, |S| <= 2, of I(V_mu; V_g | U_S) / H(V_g | U_S)

- V = sign(first - second) of a pair of different models, which has three symbols: a tie, in the prediction or in the
  target, is a symbol of its own. Pairs are ordered, all equally probable; i != j.
- U_S are the values of the hyperparameters in S for both models, in order. A cell's information and entropy are
  weighted by the cell's share of the pairs.
- S runs over no hyperparameter, each varied one, and each two of them. A one-valued one would change nothing.
- K is in [0, 1]; a measure and its negation have the same.

Chosen here: sets with H(V_g | U_S) = 0, which determine the target's order, are 0/0 and left out (the empty set never
is); of equal sets the smaller, then the first, is reported. Runs that differ in their seed are models like any others;
average them beforehand for pairs of configurations. Information is the plug-in estimate, which is biased upwards in
cells of few pairs: compare it with the noise floor. The competition's variant is ``pgdl``.

Source: Jiang et al., "Fantastic Generalization Measures and Where to Find Them", arXiv:1912.02178, section 4.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmark.scoring.grid import PairCounts, checked, entropy, labels, mutual_information, varied


@dataclass(frozen=True)
class ConditionalMI:
    """One prediction's score.

    Attributes:
        value: K, in [0, 1]; 0 for a constant prediction.
        hyperparameters: the columns of the set that attains the minimum, none to two.
    """

    value: float
    hyperparameters: tuple[int, ...]


def conditional_mi(predictions: np.ndarray, target: np.ndarray, hyperparameters: np.ndarray) -> list[ConditionalMI]:
    """K of every entrant.

    Args:
        predictions: [E, n]. target: [n]. hyperparameters: [n, K].

    Raises:
        ScoreError: wrong shapes, NaN or infinity, fewer than 2 models, or a target without variation.
        NoGrid: the models form no grid.
    """
    predictions, target, codes = checked(predictions, target, hyperparameters)
    columns = varied(codes).tolist()
    sets = [each for size in range(3) for each in combinations(columns, size)]
    groups = {each: labels(codes[:, each]) for each in sets}
    pairs = PairCounts(target, groups.values())
    sizes = {each: np.bincount(members) for each, members in groups.items()}
    return [_score(pairs.of(prediction), sizes) for prediction in predictions]


def _score(counts: list[np.ndarray], sizes: dict[tuple[int, ...], np.ndarray]) -> ConditionalMI:
    scores = {}
    for (hyperparameters, members), table in zip(sizes.items(), counts, strict=True):
        # The pairs i = j, each a tie in both.
        table[..., 1, 1] -= np.diag(members)
        pairs = table.sum(axis=(-2, -1))
        total = (pairs * entropy(table.sum(axis=-2), -1)).sum()
        if total > 0:
            scores[hyperparameters] = float((pairs * mutual_information(table)).sum() / total)
    best = min(scores, key=lambda each: scores[each])
    return ConditionalMI(scores[best], best)
