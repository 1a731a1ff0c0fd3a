"""How `gengap score` prints a scored table: all scores on one screen, and as JSON."""

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from baselines.predictors.boosting import PLAIN_WORDS
from benchmark.reports.table import ScoredTable
from benchmark.reports.words import TITLES, by_reason, caveats
from benchmark.scoring.comparison import POWER
from benchmark.scoring.scorecard import Entry, Score

# Scores that are a minimum over sets of hyperparameters.
CONDITIONED = ("k", "pgdl")
MARKS = {"best": "*", "tie": "=", "behind": " ", "unranked": "-"}


def to_json(scored: ScoredTable) -> dict[str, Any]:
    """Everything but the draws, in plain values: null where there is none."""
    return {
        "table": str(scored.path),
        "target": scored.target,
        "models": scored.models,
        "configurations": scored.configurations,
        "hyperparameters": list(scored.hyperparameters),
        "test_examples": scored.test_examples,
        "regressor": PLAIN_WORDS if "partial" in scored.card else None,
        "reference": {"tie_ceiling": scored.tie_ceiling, "tie_fraction": scored.tie_fraction},
        "scores": {name: _score_json(scored, score) for name, score in scored.card.items()},
        "rows": [_row_json(scored, e) for e in scored.order],
    }


def _score_json(scored: ScoredTable, score: Score) -> dict[str, Any]:
    ranking = scored.rankings[score.definition.name]
    return {
        "lower_is_better": score.definition.lower_is_better,
        "undefined": scored.undefined(score.definition.name),
        "noise_floor": score.floor and vars(score.floor),
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
    ranking = scored.rankings[name]
    return {
        "value": entry.value,
        "low": finite(entry.low),
        "high": finite(entry.high),
        "place": ranking.places[e],
        "ranks": ranking.ranks[e],
        "flipped": entry.flipped,
        "undefined": scored.reason(entry.undefined),
        **entry.named_detail(scored.hyperparameters),
    }


def finite(value: float | None) -> float | None:
    """None for an end of an interval that is infinite, because the score exists in no draw."""
    return value if value is not None and math.isfinite(value) else None


def format_text(scored: ScoredTable, width: int) -> str:
    """A row per prediction, as many scores side by side as ``width`` has room for; below, what the rows share."""
    prefix, names = shortened(scored.predictions)
    models, configurations = _count(scored.models, "model"), _count(scored.configurations, "configuration")
    predictions = _count(len(names), "prediction") + (f" {prefix}*" if prefix else "")
    everywhere = min(scored.coverage) == 1
    head = [
        f"{scored.path.name}: {scored.target} of {models} in {configurations}; {predictions}"
        + (", for all models" if everywhere else ""),
        f"{scored.tie_fraction:.1%} of pairs are tied in {scored.target}: a prediction without ties reaches at most "
        f"tau {scored.tie_ceiling:.3f}",
    ]
    stub = _left(["", *(names[e] for e in scored.order), "noise floor"])
    if not everywhere:
        stub = _joined(stub, _right(["covers", *(f"{scored.coverage[e]:.1%}" for e in scored.order), ""]))
    columns = [_column(scored, score) for name, score in scored.card.items() if not scored.undefined(name)]
    lines = [line for text in head for line in _wrapped(text, width)]
    for block in _packed(stub, columns, width):
        lines += ["", *block]
    lines += ["", *(line for note in _notes(scored, names) for line in _wrapped(note, width))]
    return "\n".join(line.rstrip() for line in lines)


def shortened(names: Sequence[str]) -> tuple[str, list[str]]:
    """What the names share up to a dot ("measure."), and the rest of each."""
    prefixes = {name[: name.rfind(".") + 1] for name in names}
    prefix = prefixes.pop() if len(prefixes) == 1 < len(names) else ""
    return printable(prefix), [printable(name.removeprefix(prefix)) or "(empty)" for name in names]


def printable(name: str) -> str:
    """What a terminal would take for a command, or turn the line around, as a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _column(scored: ScoredTable, score: Score) -> list[str]:
    """The lines of one score: its title, its cells in the table's order, and its noise floor."""
    entries, ranking = score.entries, scored.rankings[score.definition.name]
    digits = 2 if score.definition.name == "mae" else 3

    def figures(values: Iterable[float | None]) -> list[str]:
        return _right([_figure(value, digits) for value in values])

    floor = score.floor.p95 if score.floor else None
    *values, floor = figures([*(entries[e].value for e in scored.order), floor])
    lows, highs = (figures(finite(getattr(entries[e], end)) for e in scored.order) for end in ("low", "high"))
    marks = [MARKS[ranking.places[e]] for e in scored.order]
    cells = [
        f"{mark}{value} [{low}, {high}]" if entries[e].value is not None else f"{mark}undefined"
        for e, mark, value, low, high in zip(scored.order, marks, values, lows, highs, strict=True)
    ]
    extras = ["ranks"]
    cells = _joined(_left(cells), _left([_span(ranking.ranks[e]) for e in scored.order]), " ")
    if score.definition.name == "r2":
        extras.append("fold R²")
        cells = _joined(cells, figures(entries[e].detail.get("fold_r2") for e in scored.order), " ")
    if score.definition.name in CONDITIONED:
        extras.append("set")
        cells = _joined(_left(cells), [_set(entries[e]) for e in scored.order], " ")
    if any(flip_differs(entry) for entry in entries):
        extras.append("flip")
        cells = _joined(_left(cells), figures(entries[e].flipped for e in scored.order), " ")
    title = f" {TITLES[score.definition.name]}" + (f" ({', '.join(extras)})" if extras else "")
    return _left([title, *cells, f" {floor}"])


def _set(entry: Entry) -> str:
    return "".join(map(_letter, entry.detail.get("hyperparameters", ()))) or "-"


def _letter(hyperparameter: int) -> str:
    """a to z, then a1 to z1, and so on: in a row of these, each begins with its letter."""
    again, letter = divmod(hyperparameter, 26)
    return chr(ord("a") + letter) + (str(again) if again else "")


def _span(ranks: tuple[int, int] | None) -> str:
    """ "2-5", or "2" """
    return "-".join(map(str, sorted(set(ranks)))) if ranks else "-"


def flip_differs(entry: Entry) -> bool:
    """Whether the negated prediction's score does not follow from the score itself, as -v, v or 1 - v do."""
    value, flipped = entry.value, entry.flipped
    if value is None or flipped is None:
        return False
    return min(abs(flipped + value), abs(flipped - value), abs(flipped - (1 - value))) > 1e-9


def _figure(value: float | None, digits: int) -> str:
    """ ".663", and "8.21e+10" for what is no share and no percentage."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}" if abs(value) < 10_000 else f"{value:.2e}"
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return text.removeprefix("-") if not text.strip("-.0") else text


def _packed(stub: list[str], columns: Iterable[list[str]], width: int) -> list[list[str]]:
    """Columns side by side, in as many blocks as it takes, each beginning with the stub."""
    blocks: list[list[str]] = []
    for column in columns:
        if blocks and len(blocks[-1][0]) + 1 + len(column[0]) <= width:
            blocks[-1] = _joined(blocks[-1], column, " ")
        else:
            blocks.append(_joined(stub, column, " "))
    return blocks


def _joined(left: list[str], right: list[str], between: str = "  ") -> list[str]:
    return [f"{a}{between}{b}" for a, b in zip(left, right, strict=True)]


def _left(cells: list[str]) -> list[str]:
    return [cell.ljust(max(map(len, cells))) for cell in cells]


def _right(cells: list[str]) -> list[str]:
    return [cell.rjust(max(map(len, cells))) for cell in cells]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _notes(scored: ScoredTable, names: list[str]) -> Iterable[str]:
    defined = [score for name, score in scored.card.items() if not scored.undefined(name)]
    for reason, titles in undefined_scores(scored).items():
        yield f"{', '.join(titles)}: undefined: {reason}"
    for score in defined:
        for e in scored.order:
            if reason := score.entries[e].undefined:
                yield f"{TITLES[score.definition.name]} of {names[e]}: undefined: {scored.reason(reason)}"
    if "tau" in scored.card:
        entries = scored.card["tau"].entries
        if constant := [names[e] for e in scored.order if "constant" in entries[e].detail.get("flags", ())]:
            yield f"constant, so that nothing is ordered: {', '.join(constant)}"
    if any(score.definition.name in CONDITIONED for score in defined):
        axes = shortened(scored.hyperparameters)[1]
        yield "set: " + ", ".join(f"{_letter(number)} {axis}" for number, axis in enumerate(axes))
        flips = any(flip_differs(entry) for score in defined for entry in score.entries)
        yield "set: the hyperparameters that attain the minimum" + (
            "; flip: the score of the negated prediction" if flips else ""
        )
    if any(score.definition.name == "partial" for score in defined):
        yield f"partial tau: by {PLAIN_WORDS}"
    needed = {TITLES[score.definition.name]: scored.rankings[score.definition.name] for score in defined}
    needed = [
        f"{title} {ranking.models_needed:,}" if ranking.models_needed else f"{title} none, they are equal"
        for title, ranking in needed.items()
        if ranking.best_two
    ]
    if needed:
        yield f"models to tell the best two apart ({POWER:.0%} power): {'; '.join(needed)}"
    yield from table_caveats(scored)
    if any(score.definition.name == "r2" for score in defined):
        yield "fold R²: of lines fitted without the models that they are judged on"
    yield "[ ] 95 % bootstrap interval, by configuration; ranks: best and worst, 95 % probable for all at once"
    yield "noise floor: 95 % of random measures do no better"
    yield "* best, = statistical tie with it (the paired interval of the difference contains 0)" + (
        ", - unranked (defined for under 95 % of the models)"
        if any("unranked" in scored.rankings[score.definition.name].places for score in defined)
        else ""
    )


def table_caveats(scored: ScoredTable) -> list[str]:
    scores = ((name, vars(entry)) for name, score in scored.card.items() for entry in score.entries)
    return caveats(scored.coverage, scores)


def undefined_scores(scored: ScoredTable) -> dict[str, list[str]]:
    """Why a score does not exist for any prediction -> the titles of such scores."""
    return by_reason((name, scored.undefined(name)) for name in scored.card)
