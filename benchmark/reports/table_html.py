"""A scored table as one HTML page that needs nothing else: its picture is drawn in the page, without a script.

The page's content security policy forbids every request and every script. Equal input gives equal bytes.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from baselines.predictors.boosting import PLAIN_WORDS
from benchmark.reports.pages import style, template
from benchmark.reports.table import ScoredTable
from benchmark.reports.table_text import finite, flip_differs, shortened, table_caveats, undefined_scores
from benchmark.reports.words import TITLES, number, percent
from benchmark.scoring.comparison import POWER
from benchmark.scoring.scorecard import Score


@dataclass(frozen=True)
class Axis:
    """The horizontal axis of one score, from ``low`` to ``high``."""

    low: float
    high: float

    @classmethod
    def of(cls, score: Score) -> "Axis":
        """Has room for all intervals, the noise floor and 0; of an error, for no more than twice what chance makes."""
        ends = [finite(end) for entry in score.entries for end in (entry.value, entry.low, entry.high)]
        values = [0.0, *(end for end in ends if end is not None)]
        high = max(values)
        if score.floor:
            values.append(score.floor.p95)
            high = min(high, 2 * score.floor.median) if score.definition.lower_is_better else max(values)
        return cls(min(values), high if high > min(values) else min(values) + 1)

    @property
    def ticks(self) -> list[float]:
        """Two to five round numbers."""
        least = (self.high - self.low) / 4
        size = 10 ** math.floor(math.log10(least))
        step = size * min(factor for factor in (1, 2, 5, 10) if factor * size >= least)
        return [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]

    def percent(self, value: float) -> float:
        """Where ``value`` lies across the column, leaving room for a marker at both ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(5 + 90 * min(max(share, 0), 1), 2)


def render_page(scored: ScoredTable) -> str:
    """One row per prediction, one column per score that is defined: a dot with its interval over the noise floor."""
    defined = [score for name, score in scored.card.items() if not scored.undefined(name)]
    return template("scores.html.j2", number=_number, percent=percent).render(
        scored=scored,
        names=shortened(scored.predictions)[1],
        columns=[_column(scored, score) for score in defined],
        caveats=table_caveats(scored),
        undefined=undefined_scores(scored),
        power=POWER,
        regressor=PLAIN_WORDS if any(score.definition.name == "partial" for score in defined) else None,
        style=style(),
    )


def _column(scored: ScoredTable, score: Score) -> dict[str, Any]:
    axis, floor = Axis.of(score), score.floor
    # A random measure is about symmetric around its median, so the 95th percentile gives the 5th.
    band = sorted(axis.percent(end) for end in (2 * floor.median - floor.p95, floor.p95)) if floor else None
    return {
        "title": TITLES[score.definition.name],
        "lower_is_better": score.definition.lower_is_better,
        "axis": axis,
        "band": band,
        "ceiling": scored.tie_ceiling if score.definition.name == "tau" and scored.tie_ceiling <= axis.high else None,
        "floor": floor,
        "ranking": scored.rankings[score.definition.name],
        "cells": [_cell(scored, score, e, axis) for e in range(len(score.entries))],
        "beyond": any(entry.value is not None and entry.value > axis.high for entry in score.entries),
    }


def _cell(scored: ScoredTable, score: Score, e: int, axis: Axis) -> dict[str, Any]:
    entry, ranking = score.entries[e], scored.rankings[score.definition.name]
    if entry.value is None:
        return {"undefined": scored.reason(entry.undefined), "facts": ""}
    low, high, ranks = finite(entry.low), finite(entry.high), ranking.ranks[e]
    facts = []
    if ranks:
        facts.append(f"{ranks[0]}–{ranks[1]}")
    if "hyperparameters" in entry.detail:
        given = [shortened(scored.hyperparameters)[1][column] for column in entry.detail["hyperparameters"]]
        facts.append(f"given {', '.join(given) or 'nothing'}")
    if flip_differs(entry) and entry.flipped is not None:
        facts.append(f"negated {_number(entry.flipped)}")
    return {
        "undefined": None,
        "standing": {"behind": "ranked", "unranked": "unranked"}.get(ranking.places[e], "leading"),
        "place": ranking.places[e],
        "value": entry.value,
        "low": low,
        "high": high,
        "beyond": entry.value > axis.high,
        "facts": "; ".join(facts),
    }


def _number(value: float) -> str:
    """Of shares, three decimals; of points, three digits; of what is neither, "1.1e11"."""
    size = abs(value)
    if size < 2:
        return number(value)
    if size >= 1000:
        return re.sub(r"e\+0?", "e", f"{value:.1e}").replace("-", "−")
    return f"{value:.{2 - math.floor(math.log10(size))}f}".replace("-", "−")
