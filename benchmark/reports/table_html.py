"""A scored table as one self-contained HTML page, whose picture is drawn without a script.

The page makes no network requests: its content security policy forbids them and every script. Equal input gives equal
bytes.
"""

import math
import re
from typing import Any

from benchmark.reports.axis import Axis
from benchmark.reports.pages import style, template
from benchmark.reports.table import ScoredTable
from benchmark.reports.words import capitalized, finite, number, percent, shortened
from benchmark.scoring.comparison import POWER
from benchmark.scoring.scorecard import Score

# Classes of the page's style, by ``ScoredTable.place``.
STANDINGS = {"best": "leading", "tie": "leading", "behind": "ranked", "unranked": "unranked"}


def render_page(scored: ScoredTable) -> str:
    """One row per prediction, one column per score that is defined: a dot with its interval over the noise floor."""
    return template("scores.html.j2", number=_number, percent=percent, capitalized=capitalized).render(
        scored=scored,
        names=shortened(scored.predictions)[1],
        columns=[_column(scored, score) for score in scored.defined],
        caveats=scored.caveats,
        undefined=scored.undefined_scores,
        power=POWER,
        style=style(),
    )


def score_axis(score: Score) -> Axis:
    """The axis of all intervals and the noise floor; of an error, up to twice the error of random measures."""
    ends = [finite(end) for entry in score.entries for end in (entry.value, entry.low, entry.high)]
    values = [end for end in ends if end is not None]
    if score.floor is None:
        return Axis.of(values)
    if score.definition.lower_is_better:
        return Axis.of(values, most=2 * score.floor.median)
    return Axis.of([*values, score.floor.p95])


def _column(scored: ScoredTable, score: Score) -> dict[str, Any]:
    axis, floor, definition = score_axis(score), score.floor, score.definition
    show_ceiling = definition.tie_ceiling and scored.tie_ceiling <= axis.high
    return {
        "title": definition.title,
        "lower_is_better": definition.lower_is_better,
        "axis": axis,
        "noise": axis.noise(floor.median, floor.p95) if floor else None,
        "ceiling": scored.tie_ceiling if show_ceiling else None,
        "floor": floor,
        "ranking": scored.rankings[definition.name],
        "cells": [_cell(scored, score, e) for e in range(len(score.entries))],
        "beyond": any(entry.value is not None and entry.value > axis.high for entry in score.entries),
    }


def _cell(scored: ScoredTable, score: Score, e: int) -> dict[str, Any]:
    entry, name = score.entries[e], score.definition.name
    if entry.value is None:
        return {"undefined": scored.reason(entry.undefined), "facts": ""}
    facts = []
    if ranks := scored.ranks(name, e):
        facts.append(f"{ranks[0]}–{ranks[1]}")
    if score.definition.conditioned:
        given = [shortened(scored.hyperparameters)[1][column] for column in entry.detail["hyperparameters"]]
        facts.append(f"given {', '.join(given) or 'nothing'}")
    if entry.flip_differs and entry.flipped is not None:
        facts.append(f"negated {_number(entry.flipped)}")
    place = scored.place(name, e)
    return {
        "undefined": None,
        "standing": STANDINGS[place],
        "place": place,
        "value": entry.value,
        "low": finite(entry.low),
        "high": finite(entry.high),
        "facts": "; ".join(facts),
    }


def _number(value: float) -> str:
    """Shares with three decimals, points with three digits, larger numbers as "1.1e11"."""
    size = abs(value)
    if size < 2:
        return number(value)
    if size >= 1000:
        return re.sub(r"e\+0?", "e", f"{value:.1e}").replace("-", "−")
    return f"{value:.{2 - math.floor(math.log10(size))}f}".replace("-", "−")
