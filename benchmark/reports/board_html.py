"""Boards as one self-contained HTML page: styles, script, plotly and data are inside.

The page makes no network requests: its content security policy forbids them, and forbids every script but the three
that the page itself holds, so that neither a mistake here nor the name of a method can add one. Equal input gives equal
bytes.
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

from benchmark.records import Record
from benchmark.reports.axis import Axis
from benchmark.reports.boards import Board, Population
from benchmark.reports.pages import TEMPLATES, style, template
from benchmark.reports.words import (
    architecture,
    capitalized,
    duration,
    heading,
    number,
    other_scores,
    percent,
    record_caveats,
    remarks,
    signed,
    title,
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
    """What the page draws of a zoo.

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


def render_html(populations: Sequence[Population], zoos: Sequence[ZooSummary] = ()) -> str:
    """The whole page. A zoo without its ``ZooSummary`` is shown without figures of its models."""
    summaries = {zoo.weights_hash: zoo for zoo in zoos}
    by_zoo = [
        {"name": zoo, "weights_hash": weights, "summary": summaries.get(weights), "tasks": list(group)}
        for (zoo, weights), group in groupby(populations, key=lambda each: (each.head.zoo, each.head.weights_hash))
    ]
    data = {
        "tasks": {task_id(task): _task_data(task) for task in populations},
        "boards": {board_id(task, board): _board_data(task, board) for task in populations for board in task.boards},
        "zoos": {zoo["weights_hash"]: _zoo_data(zoo["summary"]) for zoo in by_zoo if zoo["summary"]},
    }
    scripts = [get_plotlyjs(), (TEMPLATES / "page.js").read_text(encoding="utf-8")]
    page = template(
        "page.html.j2",
        number=number,
        signed=signed,
        duration=duration,
        percent=percent,
        score_title=title,
        capitalized=capitalized,
        architecture=architecture,
    )
    return page.render(
        zoos=by_zoo,
        methods=len({record.method for task in populations for record in task.scored}),
        data=data,
        style=style(),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_integrity(script) for script in scripts],
        task_id=task_id,
        board_id=board_id,
        axis_of=_axis,
        heading=heading,
        other_scores=other_scores,
        undefined_scores=undefined_scores,
        caveats=record_caveats,
        scores=SCORES,
    )


def task_id(task: Population) -> str:
    """The anchor of a population in the page: readable, and distinct for distinct populations."""
    distinct = hashlib.sha256(repr(task.head.population).encode()).hexdigest()[:6]
    return f"{_slug(task.head.task)}-{distinct}"


def board_id(task: Population, board: Board) -> str:
    distinct = hashlib.sha256(board.access.encode()).hexdigest()[:6]
    return f"{task_id(task)}-{_slug(board.access)}-{distinct}"


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower())


def _integrity(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _axis(board: Board, ceiling: float | None) -> Axis:
    """The axis that all intervals of a board share."""
    return Axis.of([row.headline[end] for row in board.rows for end in ("low", "high")] + [ceiling or 0.0])


def _task_data(task: Population) -> dict:
    """What the script of the page draws and shows of the methods of a population."""
    return {
        "target": task.head.target,
        "models": task.models["model_id"].tolist(),
        "values": _numbers(task.models["target"]),
        "methods": [_method_data(*each) for each in zip(task.scored, task.predictions, strict=True)],
    }


def _board_data(task: Population, board: Board) -> dict:
    """The task of a board, and the places of the board's rows among the methods of the task."""
    places = {record.method: place for place, record in enumerate(task.scored)}
    return {"task": task_id(task), "methods": [places[row.record.method] for row in board.rows]}


def _method_data(record: Record, prediction: np.ndarray) -> dict:
    undefined = int(np.isnan(prediction).sum())
    scores = {record.headline: record.scores[record.headline]} | record.scores
    facts = {
        **{capitalized(title(name)): with_interval(score) for name, score in scores.items()},
        "What it is": f"{record.kind}, reads {record.access}",
        "Formula": record.formula,
        "Source": record.citation,
        "Undefined for": f"{undefined} of {record.models} models" if undefined else "",
        "Remarks": ", ".join(remarks(record)),
        "Cost": duration(record.seconds) + (f", {memory:,.0f} MiB" if (memory := record.peak_memory_mib) else ""),
        "Run": f"{record.time:%Y-%m-%d}, gengap {record.package_version}"
        + (f", commit {record.commit[:10]}" if record.commit else ""),
    }
    return {
        "name": record.method,
        "prediction": _numbers(prediction),
        "on_scale": any(name in SCORES and SCORES[name].on_target_scale for name in record.scores),
        "facts": [[name, fact] for name, fact in facts.items() if fact],
    }


def _zoo_data(zoo: ZooSummary) -> dict:
    table = zoo.table
    return {
        "models": table["model_id"].tolist(),
        "train": _numbers(table["train_accuracy"]),
        "test": _numbers(table["test_accuracy"]),
        "axes": {name: axis_data(table[name]) for name in zoo.axes},
    }


def axis_data(column: pd.Series) -> dict:
    """How a hyperparameter is drawn.

    {"kind": "groups", "groups": labels in order, "values": labels}, or "linear" or "log" with numbers as values.
    """
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
