"""Noise floors: what scores random measures reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RANDOM_MEASURES = 500


@dataclass(frozen=True)
class NoiseFloor:
    """A score's distribution over random measures.

    Attributes:
        median: about 0 for tau.
        p95: a measure that is better than this value, with its orientation fixed beforehand, is better than 95 % of
            random measures. The 95th percentile, and the 5th of a score for which lower is better.
    """

    median: float
    p95: float

    @classmethod
    def of(cls, scores: Sequence[float] | np.ndarray, lower_is_better: bool = False) -> "NoiseFloor":
        """From the scores of ``random_measures``.

        The floor is one-sided. For a reading that accepts either sign, give absolute values: the 95th percentile of
        |tau|, which is symmetric about 0, is the 97.5th of tau.
        """
        median, p95 = np.percentile(scores, [50, 5 if lower_is_better else 95])
        return cls(float(median), float(p95))


def random_measures(groups: np.ndarray, measures: int = RANDOM_MEASURES, seed: int = 0) -> np.ndarray:
    """Standard normal measures [measures, n], with one value for all models of a group.

    Models of one configuration hang together in a measure as in the target, so that a random function of the
    configuration reaches further than random numbers do; a random function of few architectures reaches further still.

    Args:
        groups: [n] labels.
    """
    names, groups = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).standard_normal((measures, len(names)))[:, groups]
