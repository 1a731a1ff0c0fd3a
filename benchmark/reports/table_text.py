"""A scored table as text, with all scores on one screen, and as JSON."""

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from baselines.predictors.boosting import PLAIN_WORDS
from benchmark.reports.table import ScoredTable
from benchmark.reports.words import by_reason, caveats
from benchmark.scoring.comparison import MINIMUM_COVERAGE, POWER
from benchmark.scoring.scorecard import Entry, Score

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
        "regressor": PLAIN_WORDS
        if any("regressor" in score.definition.needs for score in scored.card.values())
        else None,
        "reference": {"tie_ceiling": scored.tie_ceiling, "tie_fraction": scored.tie_fraction},
        "scores": {name: _score_json(scored, name, score) for name, score in scored.card.items()},
        "rows": [_row_json(scored, e) for e in scored.order],
    }


def _score_json(scored: ScoredTable, name: str, score: Score) -> dict[str, Any]:
    ranking = scored.rankings[name]
    return {
        "lower_is_better": score.definition.lower_is_better,
        "undefined": scored.undefined(name),
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
    columns = [_column(scored, score) for score in scored.defined]
    lines = [line for text in head for line in _wrapped(text, width)]
    for panel in _packed(stub, columns, width):
        lines += ["", *panel]
    lines += ["", *(line for note in _notes(scored, names) for line in _wrapped(note, width))]
    return "\n".join(line.rstrip() for line in lines)


def shortened(names: Sequence[str]) -> tuple[str, list[str]]:
    """The prefix that all names share up to a dot ("measure."), and the rest of each name."""
    prefixes = {name[: name.rfind(".") + 1] for name in names}
    prefix = prefixes.pop() if len(prefixes) == 1 < len(names) else ""
    return printable(prefix), [printable(name.removeprefix(prefix)) or "(empty)" for name in names]


def printable(name: str) -> str:
    """``name`` with a question mark for every character that would control a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _column(scored: ScoredTable, score: Score) -> list[str]:
    """The lines of one score: its title, its cells in the table's order, and its noise floor."""
    definition = score.definition
    entries = [score.entries[e] for e in scored.order]

    def figures(values: Iterable[float | None]) -> list[str]:
        return _right([_figure(value, definition.digits) for value in values])

    *values, floor = figures([*(entry.value for entry in entries), score.floor.p95 if score.floor else None])
    lows, highs = (figures(finite(getattr(entry, end)) for entry in entries) for end in ("low", "high"))
    marks = [MARKS[scored.place(definition.name, e)] for e in scored.order]
    cells = [
        f"{mark}{value} [{low}, {high}]" if entry.value is not None else f"{mark}undefined"
        for entry, mark, value, low, high in zip(entries, marks, values, lows, highs, strict=True)
    ]
    extras = {"ranks": _left([_span(scored.ranks(definition.name, e)) for e in scored.order])}
    if beside := definition.beside:
        extras[beside.title] = figures(entry.detail.get(beside.key) for entry in entries)
    if definition.conditioned:
        extras["set"] = [_set(entry) for entry in entries]
    if any(map(flip_differs, entries)):
        extras["flip"] = figures(entry.flipped for entry in entries)
    for extra in extras.values():
        cells = _joined(_left(cells), extra, " ")
    return _left([f" {definition.title} ({', '.join(extras)})", *cells, f" {floor}"])


def _set(entry: Entry) -> str:
    return "".join(map(_letter, entry.detail.get("hyperparameters", ()))) or "-"


def _letter(hyperparameter: int) -> str:
    """a to z, then a1 to z1, and so on: in a sequence of these, each begins with its letter."""
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
    """ ".663", and "8.21e+10" for a number that is neither a share nor a percentage."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}" if abs(value) < 10_000 else f"{value:.2e}"
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return text.removeprefix("-") if not text.strip("-.0") else text


def _packed(stub: list[str], columns: Iterable[list[str]], width: int) -> list[list[str]]:
    """Panels of columns side by side, as many as it takes, each beginning with the stub."""
    panels: list[list[str]] = []
    for column in columns:
        if panels and len(panels[-1][0]) + 1 + len(column[0]) <= width:
            panels[-1] = _joined(panels[-1], column, " ")
        else:
            panels.append(_joined(stub, column, " "))
    return panels


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


def _notes(scored: ScoredTable, names: list[str]) -> Iterator[str]:
    yield from _undefined_notes(scored, names)
    if scored.constant:
        yield f"constant, so it orders nothing: {', '.join(names[e] for e in scored.order if e in scored.constant)}"
    if any(score.definition.conditioned for score in scored.defined):
        axes = shortened(scored.hyperparameters)[1]
        yield "set: " + ", ".join(f"{_letter(number)} {axis}" for number, axis in enumerate(axes))
        flips = any(flip_differs(entry) for score in scored.defined for entry in score.entries)
        yield "set: the hyperparameters that attain the minimum" + (
            "; flip: the score of the negated prediction" if flips else ""
        )
    if titles := regressed(scored):
        yield f"{', '.join(titles)}: by {PLAIN_WORDS}"
    if needed := list(_models_needed(scored)):
        yield f"models needed to separate the best two ({POWER:.0%} power): {'; '.join(needed)}"
    yield from table_caveats(scored)
    for score in scored.defined:
        if beside := score.definition.beside:
            yield f"{beside.title}: {beside.meaning}"
    yield "[ ] 95 % bootstrap interval, by configuration; ranks: best and worst, 95 % probable for all at once"
    yield "noise floor: 95 % of random measures are no better"
    unranked = any(
        scored.place(score.definition.name, e) == "unranked" for score in scored.defined for e in scored.order
    )
    yield "* best, = statistical tie with the best (the paired interval of the difference contains 0)" + (
        f", - unranked (defined for fewer than {MINIMUM_COVERAGE:.0%} of the models)" if unranked else ""
    )


def _undefined_notes(scored: ScoredTable, names: list[str]) -> Iterator[str]:
    for reason, titles in undefined_scores(scored).items():
        yield f"{', '.join(titles)}: undefined: {reason}"
    for score in scored.defined:
        for e in scored.order:
            if reason := scored.reason(score.entries[e].undefined):
                yield f"{score.definition.title} of {names[e]}: undefined: {reason}"


def _models_needed(scored: ScoredTable) -> Iterator[str]:
    for score in scored.defined:
        ranking = scored.rankings[score.definition.name]
        if ranking.best_two:
            needed = f"{ranking.models_needed:,}" if ranking.models_needed else "none, they are equal"
            yield f"{score.definition.title} {needed}"


def regressed(scored: ScoredTable) -> list[str]:
    """The titles of the scores that use a regressor."""
    return [score.definition.title for score in scored.defined if "regressor" in score.definition.needs]


def table_caveats(scored: ScoredTable) -> list[str]:
    scores = ((name, vars(entry)) for name, score in scored.card.items() for entry in score.entries)
    return caveats(scored.coverage, scores)


def undefined_scores(scored: ScoredTable) -> dict[str, list[str]]:
    """Why a score is undefined for all predictions -> the titles of such scores."""
    return by_reason((name, scored.undefined(name)) for name in scored.card)
