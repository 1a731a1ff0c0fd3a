"""Who is ahead: order, ranks with intervals and statistical ties of predictions by one score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmark.scoring.scorecard import Score


@dataclass(frozen=True)
class Ranking:
    """Who is how far ahead by one score.

    Attributes:
        places: of each prediction: "best", "tie" (a statistical tie with the best), "behind", or "unranked" (undefined,
            or defined for less than 95 % of the models).
        ranks: best and worst rank of each, simultaneous 95 % intervals; None for the unranked.
        best_two: the two best, by number; None where fewer are ranked.
        models_needed: how many models would separate these two; None where there are no two, or no number would.
    """

    places: tuple[str, ...]
    ranks: tuple[tuple[int, int] | None, ...]
    best_two: tuple[int, int] | None
    models_needed: int | None


def ranking_of(score: "Score", predictions: "np.ndarray", scorer: "Callable[..., dict[str, Score]]") -> Ranking:
    """The ranked are compared on the models that all of them are defined for, in draws that they share."""
    import numpy as np

    from benchmark.scoring.bootstrap import interval
    from benchmark.scoring.comparison import MINIMUM_COVERAGE, models_needed, rank_intervals

    values = {
        e: -entry.value if score.definition.lower_is_better else entry.value
        for e, entry in enumerate(score.entries)
        if entry.value is not None and entry.coverage >= MINIMUM_COVERAGE
    }
    ranked = sorted(values, key=lambda e: -values[e])
    places = ["unranked"] * len(predictions)
    ranks: list[tuple[int, int] | None] = [None] * len(predictions)
    if not ranked:
        return Ranking(tuple(places), tuple(ranks), None, None)
    defined = ~np.isnan(predictions[ranked])
    common = defined.all(axis=0)
    entries, draws = [score.entries[e] for e in ranked], score.draws[ranked]
    if not (defined == common).all():
        shared = scorer(
            np.where(common, predictions[ranked], np.nan), scores=[score.definition.name], random_measures=0
        )[score.definition.name]
        entries, draws = shared.entries, shared.draws
    sign = -1 if score.definition.lower_is_better else 1
    # Draws in which a score does not exist, as psi's without a cell, compare nobody.
    draws = sign * draws[:, ~np.isnan(draws).any(axis=0)]
    points = np.array([np.nan if entry.value is None else sign * entry.value for entry in entries])
    comparable = draws.shape[1] > 1 and not np.isnan(points).any()
    spans = rank_intervals(points, draws) if comparable else [(1, len(ranked))] * len(ranked)
    for number, (e, span) in enumerate(zip(ranked, spans, strict=True)):
        behind = comparable and interval(draws[0] - draws[number]).low > 0
        places[e], ranks[e] = "behind" if behind else "tie" if number else "best", span
    if len(ranked) == 1:
        return Ranking(tuple(places), tuple(ranks), None, None)
    needed = models_needed(points[0] - points[1], draws[0] - draws[1], int(common.sum())) if comparable else None
    return Ranking(tuple(places), tuple(ranks), (ranked[0], ranked[1]), needed)
