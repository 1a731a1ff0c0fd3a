"""A scored table as text, with all scores on one screen."""

import re
import textwrap
from collections.abc import Iterable, Iterator

from benchmark.reports.table import ScoredTable
from benchmark.reports.words import finite, percent, printable, shortened
from benchmark.scoring.comparison import MINIMUM_COVERAGE, POWER
from benchmark.scoring.scorecard import Entry, Score

MARKS = {"best": "*", "tie": "=", "behind": " ", "unranked": "!"}
# What stands for no number beside numbers must not read as a sign, nor as a letter of a set.
MISSING = "n/a"
EMPTY_SET = "{}"


def format_text(scored: ScoredTable, width: int) -> str:
    """A row per prediction, as many scores side by side as ``width`` has room for; below, what the rows share."""
    prefix, names = shortened(scored.predictions)
    models, configurations = _count(scored.models, "model"), _count(scored.configurations, "configuration")
    predictions = _count(len(names), "prediction") + (f" {prefix}*" if prefix else "")
    everywhere = min(scored.coverage) == 1
    head = [
        f"{scored.path.name}: {scored.target} of {models} in {configurations}; {predictions}"
        + (", for all models" if everywhere else ""),
        f"{percent(scored.tie_fraction)} of pairs are tied in {scored.target}: a prediction without ties reaches at "
        f"most tau {scored.tie_ceiling:.3f}",
    ]
    stub = _left(["", *(names[e] for e in scored.order), "noise floor"])
    if not everywhere:
        stub = _joined(stub, _right(["covers", *(percent(scored.coverage[e]) for e in scored.order), ""]))
    columns = [_column(scored, score) for score in scored.defined]
    lines = [line for text in head for line in _wrapped(text, width)]
    for panel in _packed(stub, columns, width):
        lines += ["", *panel]
    lines += ["", *(line for note in _notes(scored, names) for line in _wrapped(note, width))]
    return "\n".join(line.rstrip() for line in lines)


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
    if any(entry.flip_differs for entry in entries):
        extras["flip"] = figures(entry.flipped for entry in entries)
    for extra in extras.values():
        cells = _joined(_left(cells), extra, " ")
    return _left([f" {definition.title} ({', '.join(extras)})", *cells, f" {floor}"])


def _set(entry: Entry) -> str:
    return "".join(map(letter_of, entry.detail.get("hyperparameters", ()))) or EMPTY_SET


def letter_of(hyperparameter: int) -> str:
    """a to z, then a1 to z1, and so on: in a sequence of these, each begins with its letter."""
    again, letter = divmod(hyperparameter, 26)
    return chr(ord("a") + letter) + (str(again) if again else "")


def _span(ranks: tuple[int, int] | None) -> str:
    """ "2-5", or "2" """
    return "-".join(map(str, sorted(set(ranks)))) if ranks else MISSING


def _figure(value: float | None, digits: int) -> str:
    """ ".663", and "8.21e+10" for a number that is neither a share nor a percentage."""
    if value is None:
        return MISSING
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
    yield from map(printable, scored.notes)
    yield from _undefined_notes(scored, names)
    if scored.constant:
        yield f"constant, so it orders nothing: {', '.join(names[e] for e in scored.order if e in scored.constant)}"
    if any(score.definition.conditioned for score in scored.defined):
        axes = shortened(scored.hyperparameters)[1]
        yield "set: " + ", ".join(f"{letter_of(number)} {axis}" for number, axis in enumerate(axes))
        flips = any(entry.flip_differs for score in scored.defined for entry in score.entries)
        yield "set: the hyperparameters that attain the minimum" + (
            "; flip: the score of the negated prediction" if flips else ""
        )
    yield from scored.computed_with
    if needed := list(_models_needed(scored)):
        yield f"models needed to separate the best two ({percent(POWER, 0)} power): {'; '.join(needed)}"
    yield from scored.caveats
    for score in scored.defined:
        if beside := score.definition.beside:
            yield f"{beside.title}: {beside.meaning}"
    yield "[ ] 95 % bootstrap interval, by configuration; ranks: best and worst, 95 % probable for all at once"
    yield "noise floor: 95 % of random measures are no better"
    unranked = any(
        scored.place(score.definition.name, e) == "unranked" for score in scored.defined for e in scored.order
    )
    yield "* best, = statistical tie with the best (the paired interval of the difference contains 0)" + (
        f", {MARKS['unranked']} unranked (defined for fewer than {percent(MINIMUM_COVERAGE, 0)} of the models)"
        if unranked
        else ""
    )


def _undefined_notes(scored: ScoredTable, names: list[str]) -> Iterator[str]:
    for reason, titles in scored.undefined_scores.items():
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
