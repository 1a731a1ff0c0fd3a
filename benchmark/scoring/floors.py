"""What chance alone would score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MEASURES = 500


@dataclass(frozen=True)
class NoiseFloor:
    """A score's distribution over random measures.

    Attributes:
        median: about 0 for tau.
        p95: what 95 % of random measures do not reach. A measure that is better, its orientation fixed beforehand, does
            better than 95 % of random ones. It is the 95th percentile, and the 5th of a score of which less is better.
    """

    median: float
    p95: float

    @classmethod
    def of(cls, scores: Sequence[float] | np.ndarray, lower_is_better: bool = False) -> "NoiseFloor":
        """Of the scores of ``random_measures``, one each.

        It is one-sided. For a reading that accepts either sign, give absolute values: of tau, which is symmetric about
        0, their 95th percentile is the 97.5th of the signed score.
        """
        median, p95 = np.percentile(scores, [50, 5 if lower_is_better else 95])
        return cls(float(median), float(p95))


def random_measures(models: int, measures: int = MEASURES, seed: int = 0) -> np.ndarray:
    """Standard normal measures [measures, models]."""
    return np.random.default_rng(seed).standard_normal((measures, models))
