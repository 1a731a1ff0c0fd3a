"""One task on all zoos in one table: whether results on one population hold on another."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmark.records import Record
from benchmark.reports.board_markdown import escaped, lines, link
from benchmark.reports.boards import by_population, head_of, scored_records
from benchmark.reports.verified import mistake
from benchmark.reports.words import duration, number, title
from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError, nearest

# Shown after the headline score; the others are in the leaderboard.
SHOWN = tuple(name for name, score in SCORES.items() if score.across)

HOW_TO_READ = (
    "Made by `gengap leaderboard` from the records. Methods are ordered by the mean of {headline}; larger is better, "
    "except for the {errors}.\nIn parentheses: neither the score nor that of the negated prediction is better "
    "than the score that 95 % of random measures do not reach, or 95 % of random functions of the architecture where "
    "the method is nearly one. Times are per network.\n"
    "{leaderboard} has ranks, intervals, other scores, and why a score is missing."
)


def render_across(
    records: Iterable[Record],
    task: str,
    folder: Path | None = None,
    note: Callable[[str], object] = lambda line: None,
) -> str:
    """The scores of ``task``, for instance "complexity", on all zoos side by side as Markdown.

    Methods are not compared with each other, so that no bootstrap is needed.

    Args:
        folder: as for ``render_markdown``.
        note: called with one line about each record that is left out because its predictions do not give its score.

    Raises:
        InputError: no method is scored on such a task.
    """
    scored = scored_records(records)
    chosen = [record for record in scored if _short(record) == task]
    mistakes = {record.path: why for record in chosen if (why := mistake(record))}
    left_out = [
        f"the score of {each.method} on {each.task}: {mistakes[each.path]}" for each in chosen if each.path in mistakes
    ]
    for line in left_out:
        note(f"left out: {line}")
    groups = by_population(record for record in chosen if record.path not in mistakes)
    if left_out and not groups:
        raise InputError(f"there are no scores on {task} that their predictions give")
    if not groups:
        known = sorted({_short(record) for record in scored})
        raise InputError(
            f"there are no scores on a task {task!r}{nearest(task, known)}: the records are of {', '.join(known)}"
        )
    zoos = [{record.method: record for record in group} for group in groups]
    names = sorted({name for records in zoos for name in records}, key=lambda name: (_mean(name, zoos), name))
    columns = [["method", "---", *map(escaped, names)]]
    for found in zoos:
        columns += _columns(found, names)
    errors = " and the ".join(title(name) for name in SHOWN if SCORES[name].lower_is_better)
    leaderboard = link("LEADERBOARD.md", "LEADERBOARD.md", folder, "`gengap leaderboard`")
    headline = title(groups[0][0].headline)
    how_to_read = HOW_TO_READ.format(headline=headline, errors=errors, leaderboard=leaderboard)
    table = lines(zip(*columns, strict=True))
    parts = [f"# {escaped(task.capitalize())} on all zoos", how_to_read, table]
    if left_out:
        parts.append("Left out:\n\n" + "\n".join(f"- {escaped(line)}" for line in left_out))
    return "\n\n".join(parts) + "\n"


def _short(record: Record) -> str:
    return record.task.rpartition("/")[2]


def _mean(name: str, zoos: Sequence[dict[str, Record]]) -> float:
    """The mean headline score over the zoos, negated where larger is better: the best method has the least."""
    records = [found[name] for found in zoos if name in found]
    values = [record.scores[record.headline]["value"] for record in records]
    mean = sum(values) / len(values)
    return mean if SCORES[records[0].headline].lower_is_better else -mean


def _columns(found: dict[str, Record], names: Sequence[str]) -> list[list[str]]:
    """The columns of one zoo, from its records by method: scores and time."""
    head = head_of(found.values())
    columns = []
    for score in dict.fromkeys((head.headline, *SHOWN)):
        if any(score in record.scores for record in found.values()):
            cells = [_cell(found.get(name), score) for name in names]
            columns.append([f"{escaped(head.zoo)}<br>{title(score)}", "--:", *cells])
    times = [duration(found[name].seconds / found[name].models) if name in found else "" for name in names]
    return [*columns, [f"{escaped(head.zoo)}<br>time", "--:", *times]]


def _cell(record: Record | None, score: str) -> str:
    if record is None or score not in record.scores:
        return ""
    found = record.scores[score]
    text = number(found["value"])
    floor = record.floor(score)
    if floor is None:
        return text
    sign = -1 if SCORES[score].lower_is_better else 1
    values = [found["value"], found.get("flipped")]  # records of schema 1 have no flip
    beyond = any(value is not None and sign * (value - floor["p95"]) > 0 for value in values)
    return text if beyond else f"({text})"
