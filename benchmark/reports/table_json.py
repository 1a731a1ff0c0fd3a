"""A scored table as JSON."""

from typing import Any

from benchmark.reports.table import ScoredTable
from benchmark.reports.words import finite
from benchmark.scoring.scorecard import Entry, Score


def to_json(scored: ScoredTable) -> dict[str, Any]:
    """Everything but the draws, in plain values: null where there is none."""
    return {
        "table": str(scored.path),
        "target": scored.target,
        "models": scored.models,
        "configurations": scored.configurations,
        "hyperparameters": list(scored.hyperparameters),
        "test_examples": scored.test_examples,
        "notes": list(scored.notes),
        "reference": {"tie_ceiling": scored.tie_ceiling, "tie_fraction": scored.tie_fraction},
        "scores": {name: _score_json(scored, name, score) for name, score in scored.card.items()},
        "rows": [_row_json(scored, e) for e in scored.order],
    }


def _score_json(scored: ScoredTable, name: str, score: Score) -> dict[str, Any]:
    ranking = scored.rankings[name]
    return {
        "lower_is_better": score.definition.lower_is_better,
        "by": score.definition.by,
        "undefined": scored.undefined(name),
        "noise_floor": score.floor and vars(score.floor),
        "architecture_floor": (floor := scored.architecture_floors.get(name)) and vars(floor),
        "best_two": [scored.predictions[e] for e in ranking.best_two or ()],
        "models_needed": ranking.models_needed,
    }


def _row_json(scored: ScoredTable, e: int) -> dict[str, Any]:
    return {
        "prediction": scored.predictions[e],
        "coverage": scored.coverage[e],
        "scores": {name: _entry_json(scored, name, score.entries[e], e) for name, score in scored.card.items()},
    }


def _entry_json(scored: ScoredTable, name: str, entry: Entry, e: int) -> dict[str, Any]:
    return {
        "value": entry.value,
        "low": finite(entry.low),
        "high": finite(entry.high),
        "place": scored.place(name, e),
        "ranks": scored.ranks(name, e),
        "flipped": entry.flipped,
        "undefined": scored.reason(entry.undefined),
        **entry.named_detail(scored.hyperparameters),
    }
