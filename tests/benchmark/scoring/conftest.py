"""A small grid that has every score."""

from itertools import combinations, product

import numpy as np
import pytest

from benchmark.scoring.comparison import rank_intervals
from benchmark.scoring.scorecard import scorecard

EXAMPLES = 20_000


class Zoo:
    """A grid of 3 x 2 x 2 with four seeds, its gap, and three predictions."""

    examples = EXAMPLES

    def __init__(self):
        rng = np.random.default_rng(0)
        grid = np.array(list(product([1, 2, 4], [0.0, 0.5], [0, 1])))
        self.hyperparameters = np.repeat(grid, 4, axis=0)
        self.clusters = np.repeat(np.arange(12), 4)
        self.architectures = self.hyperparameters[:, 0]
        self.target = 0.2 + self.hyperparameters @ [0.1, 0.2, 0.3] / 3 + 0.05 * rng.standard_normal(48)
        self.predictions = self.target + np.array([[0.05], [0.2], [0.5]]) * rng.standard_normal((3, 48))

    def scorecard(self, predictions=None, **options):
        options = {
            "hyperparameters": self.hyperparameters,
            "test_examples": EXAMPLES,
            "architectures": self.architectures,
            "draws": 30,
            "random_measures": 20,
            **options,
        }
        predictions = self.predictions if predictions is None else predictions
        return scorecard(predictions, self.target, **options)


@pytest.fixture(scope="session")
def zoo():
    return Zoo()


@pytest.fixture(scope="session")
def card(zoo):
    """All scores of the zoo's predictions, from 30 draws and 20 random measures."""
    return zoo.scorecard()


@pytest.fixture(scope="session")
def ranks_of_scores():
    """ranks_of_scores(values [E], draws [E, D]): the rank intervals of methods that are defined on all models."""

    def ranks(values: np.ndarray, draws: np.ndarray) -> list[tuple[int, int]]:
        first, second = np.array(list(combinations(range(len(values)), 2)), dtype=int).reshape(-1, 2).T
        return rank_intervals(len(values), values[first] - values[second], draws[first] - draws[second])

    return ranks
