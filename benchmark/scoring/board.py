"""Where the entrants of one board stand: their tau with its interval, coverage, and who is tied with the best."""

from dataclasses import dataclass

import numpy as np

from benchmark.scoring import finite
from benchmark.scoring.bootstrap import DRAWS, Interval, bootstrap_tau, interval, stacked
from benchmark.scoring.kendall import Tau, kendall_tau

MINIMUM_COVERAGE = 0.95
# A tau of two models is -1 or 1, and so is every draw of it.
MINIMUM_MODELS = 3


@dataclass(frozen=True)
class Standing:
    """One entrant on a board.

    Attributes:
        tau, interval: over the models it is defined for; None where these are fewer than 2 or have one target alone.
        coverage: their share of all models.
        place: "best", "tie" (a statistical tie with the best), "behind" or "unranked" (a coverage below 95 %).
    """

    tau: Tau | None
    interval: Interval | None
    coverage: float
    place: str


def standings(
    predictions: np.ndarray, target: np.ndarray, clusters: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> list[Standing]:
    """The E entrants' standings, in the order given. Draws are shared, and comparisons are paired.

    The best is the ranked entrant with the largest tau. Another is compared with it on the models that both define.

    Args:
        predictions: [E, n], NaN where an entrant is undefined.
        target: [n]. clusters: [n] labels of the configurations; None for one run per configuration.

    Raises:
        ScoreError: as ``bootstrap_tau``.
    """
    target = finite(target, "target")
    predictions = stacked(predictions, len(target))
    defined = ~np.isnan(predictions)
    coverage = defined.mean(axis=1)
    taus = [_tau(prediction[rows], target[rows]) for prediction, rows in zip(predictions, defined, strict=True)]
    scored = bootstrap_tau(predictions, target, clusters, draws, seed)

    ranked = {e: tau.value for e, tau in enumerate(taus) if tau and coverage[e] >= MINIMUM_COVERAGE}
    best = max(ranked, key=lambda e: ranked[e], default=None)

    def place(e: int) -> str:
        if e not in ranked:
            return "unranked"
        if e == best:
            return "best"
        mine, theirs = scored[e], scored[best]
        if (defined[e] != defined[best]).any():
            both = np.where(defined[e] & defined[best], predictions[[e, best]], np.nan)
            mine, theirs = bootstrap_tau(both, target, clusters, draws, seed)
        return "tie" if 0 in interval(theirs - mine) else "behind"

    return [Standing(tau, tau and interval(scored[e]), float(coverage[e]), place(e)) for e, tau in enumerate(taus)]


def _tau(prediction: np.ndarray, target: np.ndarray) -> Tau | None:
    return kendall_tau(prediction, target) if len(target) >= MINIMUM_MODELS and np.ptp(target) > 0 else None
