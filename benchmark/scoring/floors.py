"""What chance alone would score."""

from collections.abc import Callable, Sequence
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
        """Of the scores of random measures, one each."""
        median, p95 = np.percentile(scores, [50, 5 if lower_is_better else 95])
        return cls(float(median), float(p95))


def random_measures(models: int, measures: int = MEASURES, seed: int = 0) -> np.ndarray:
    """Standard normal measures [measures, models], for the scores that take many at once."""
    return np.random.default_rng(seed).standard_normal((measures, models))


def noise_floor(
    score: Callable[[np.ndarray], float], models: int, measures: int = MEASURES, seed: int = 0
) -> NoiseFloor:
    """The noise floor of ``score``, a function of one measure [models], over ``random_measures``.

    ``noise_floor(lambda measure: kendall_tau(measure, target).value, len(target))`` is that of tau. It is one-sided.
    For a reading that accepts either sign, pass the score's absolute value: its 95th percentile is then the floor
    (of tau, which is symmetric about 0, that is the 97.5th percentile of the signed score).
    """
    return NoiseFloor.of([score(measure) for measure in random_measures(models, measures, seed)])
