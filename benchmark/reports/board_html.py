"""Boards to one HTML page that needs nothing else: styles, script, plotly and data are inside, no address is asked.

The page's content security policy forbids every request and every script but the three that stand in it, so that
neither a slip here nor a name that somebody gave to a method can add one. Equal input gives equal bytes.
"""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from benchmark.reports.boards import Board, Row
from benchmark.reports.pages import TEMPLATES, style, template
from benchmark.reports.words import (
    TITLES,
    board_caveats,
    duration,
    number,
    percent,
    score_names,
    signed,
    undefined_scores,
    with_interval,
)
from benchmark.scoring.scores import SCORES

# A hyperparameter with at most this many values is drawn as groups, one with more as an axis.
GROUPS = 8
# An axis whose central 90 % of values span more than this factor is logarithmic: a uniform sample from 0 spans 19.
LOG_SPAN = 30


@dataclass(frozen=True, eq=False)
class ZooSummary:
    """What the page draws of a population.

    Attributes:
        weights_hash: that of the zoo; boards with this hash are shown under it.
        description: one line.
        table: one row per run: model_id, status, train_accuracy, test_accuracy, and the columns of ``axes``.
        axes: hyperparameters to draw.
    """

    weights_hash: str
    description: str
    table: pd.DataFrame
    axes: Sequence[str]


@dataclass(frozen=True)
class Scale:
    """The horizontal axis that all intervals of a board share, from ``low`` to ``high`` in tenths of tau."""

    low: int
    high: int

    @classmethod
    def of(cls, board: Board) -> "Scale":
        values = [row.record.scores["tau"][end] for row in board.rows for end in ("low", "high")]
        values += [0.0, board.head.reference.get("tie_ceiling") or 0.0]
        return cls(math.floor(min(values) * 10), math.ceil(max(values) * 10))

    @property
    def ticks(self) -> list[float]:
        span = self.high - self.low
        step = 5 if span > 10 else 2 if span > 5 else 1
        return [tenth / 10 for tenth in range(self.low, self.high + 1) if tenth % step == 0]

    def percent(self, value: float) -> float:
        """Where ``value`` lies across the column, leaving room for a marker at both ends."""
        share = (value * 10 - self.low) / (self.high - self.low)
        return round(3 + 94 * min(max(share, 0), 1), 2)


def render_html(boards: Sequence[Board], zoos: Sequence[ZooSummary] = ()) -> str:
    """The whole page. A population without its ``ZooSummary`` is shown without the section on the zoo."""
    summaries = {zoo.weights_hash: zoo for zoo in zoos}
    populations = [
        {"zoo": zoo, "weights_hash": weights, "summary": summaries.get(weights), "boards": list(group)}
        for (zoo, weights), group in groupby(boards, key=lambda board: (board.head.zoo, board.head.weights_hash))
    ]
    data = {
        "boards": {board_id(board): _board_data(board) for board in boards},
        "zoos": {zoo["weights_hash"]: _zoo_data(zoo["summary"]) for zoo in populations if zoo["summary"]},
    }
    scripts = [get_plotlyjs(), (TEMPLATES / "page.js").read_text(encoding="utf-8")]
    page = template("page.html.j2", number=number, signed=signed, duration=duration, percent=percent)
    return page.render(
        populations=populations,
        methods=len({row.record.method for board in boards for row in board.rows}),
        data=data,
        style=style(),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_integrity(script) for script in scripts],
        board_id=board_id,
        scale=Scale.of,
        score_names=score_names,
        undefined_scores=undefined_scores,
        caveats=board_caveats,
        titles=TITLES,
        lower_is_better=[name for name, kind in SCORES.items() if kind.lower_is_better],
    )


def board_id(board: Board) -> str:
    """The board's anchor in the page: readable, and distinct for distinct boards."""
    distinct = hashlib.sha256(repr(board.key).encode()).hexdigest()[:6]
    return f"{re.sub('[^a-z0-9]+', '-', board.head.task.lower())}-{distinct}"


def _integrity(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _board_data(board: Board) -> dict:
    """What the script of the page draws and says of a board."""
    return {
        "target": board.head.target,
        "models": board.models["model_id"].tolist(),
        "values": _numbers(board.models["target"]),
        "methods": [_method_data(row) for row in board.rows],
    }


def _method_data(row: Row) -> dict:
    record = row.record
    undefined = int(np.isnan(row.prediction).sum())
    facts = {
        "Tau": with_interval(record.scores["tau"]),
        **{TITLES.get(name, name): with_interval(score) for name, score in record.scores.items() if name != "tau"},
        "What it is": f"{record.kind}, reads {record.access}",
        "Formula": record.formula,
        "Source": record.citation,
        "Undefined for": f"{undefined} of {record.models} models" if undefined else "",
        "Remarks": ", ".join(record.flags),
        "Cost": duration(record.seconds) + (f", {memory:,.0f} MiB" if (memory := record.peak_memory_mib) else ""),
        "Run": f"{record.time:%Y-%m-%d}, gengap {record.package_version}"
        + (f", commit {record.commit[:10]}" if record.commit else ""),
    }
    return {
        "name": record.method,
        "prediction": _numbers(row.prediction),
        "on_scale": "mae" in record.scores,
        "facts": [[name, fact] for name, fact in facts.items() if fact],
    }


def _zoo_data(zoo: ZooSummary) -> dict:
    table = zoo.table
    return {
        "models": table["model_id"].tolist(),
        "train": _numbers(table["train_accuracy"]),
        "test": _numbers(table["test_accuracy"]),
        "axes": {name: _axis_data(table[name]) for name in zoo.axes},
    }


def _axis_data(column: pd.Series) -> dict:
    """{"kind": "groups", "groups": labels in order, "values": labels}, or "linear" or "log" with numbers as values."""
    distinct = sorted(column.dropna().unique().tolist())
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and len(distinct) > GROUPS:
        low, high = column.quantile([0.05, 0.95])
        log = distinct[0] > 0 and high / low > LOG_SPAN
        return {"kind": "log" if log else "linear", "values": _numbers(column)}
    labels = {value: f"{value:g}" if numeric else str(value) for value in distinct}
    return {"kind": "groups", "groups": list(labels.values()), "values": [labels.get(value) for value in column]}


def _numbers(values: Sequence[float] | np.ndarray | pd.Series) -> list[float | None]:
    """Six digits, enough to draw; null where JSON has no number."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
