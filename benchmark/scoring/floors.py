"""What chance alone would score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NoiseFloor:
    """A score's distribution over random measures.

    Attributes:
        median: about 0 for tau.
        p95: the 95th percentile. A measure that scores above it, its orientation fixed beforehand, does better than
            95 % of random ones.
    """

    median: float
    p95: float


def noise_floor(score: Callable[[np.ndarray], float], models: int, measures: int = 500, seed: int = 0) -> NoiseFloor:
    """The noise floor of ``score``, a function of one measure [models], over that many standard normal measures.

    ``noise_floor(lambda measure: kendall_tau(measure, target).value, len(target))`` is that of tau. It is one-sided.
    For a reading that accepts either sign, pass the score's absolute value: its 95th percentile is then the floor
    (of tau, which is symmetric about 0, that is the 97.5th percentile of the signed score).
    """
    rng = np.random.default_rng(seed)
    scores = [score(rng.standard_normal(models)) for _ in range(measures)]
    median, p95 = np.percentile(scores, [50, 95])
    return NoiseFloor(float(median), float(p95))
