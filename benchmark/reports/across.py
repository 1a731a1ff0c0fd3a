"""One task on all zoos in one table: how far what holds on one population holds on another."""

from collections.abc import Iterable, Sequence

from benchmark.records import Record
from benchmark.reports.board_markdown import escaped, lines
from benchmark.reports.boards import by_board, head_of, scored_ones
from benchmark.reports.words import TITLES, duration, number
from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError, nearest

SHOWN = ("tau", "psi", "k", "robust", "partial")

HOW_TO_READ = (
    "Made by `gengap leaderboard` from the records. Methods stand by the mean of their tau; larger is better, of the "
    "robust sign error smaller.\nIn parentheses: neither the score nor that of the turned prediction is better than "
    "what 95 % of random numbers reach. Times are per network.\n[LEADERBOARD.md](LEADERBOARD.md) has intervals, other "
    "scores, and why a score is missing."
)


def render_across(records: Iterable[Record], task: str) -> str:
    """The boards of ``task``, "complexity" for instance, side by side as Markdown.

    No two methods are compared, which is what takes the time of a whole leaderboard.

    Raises:
        InputError: nothing is scored on such a task.
    """
    scored = scored_ones(records)
    shown = by_board(record for record in scored if _short(record) == task)
    if not shown:
        known = sorted({_short(record) for record in scored})
        raise InputError(
            f"there are no scores on a task {task!r}{nearest(task, known)}: the records are of {', '.join(known)}"
        )
    boards = [{record.method: record for record in board} for board in shown]
    names = sorted({name for held in boards for name in held}, key=lambda name: (-_mean_tau(name, boards), name))
    columns = [("method", names)]
    for held in boards:
        head = head_of(held.values())
        scores = [name for name in SHOWN if any(name in record.scores for record in held.values())]
        floors = head.reference.get("noise_floors", {})
        for score in scores:
            cells = [_cell(held.get(name), score, floors.get(score)) for name in names]
            columns.append((f"{escaped(head.zoo)}<br>{TITLES[score]}", cells))
        costs = [duration(held[name].seconds / held[name].models) if name in held else "" for name in names]
        columns.append((f"{escaped(head.zoo)}<br>time", costs))
    header, alignment = [title for title, _ in columns], ["---", *["--:"] * (len(columns) - 1)]
    rows = [[escaped(cells[0]), *cells[1:]] for cells in zip(*(cells for _, cells in columns), strict=True)]
    return f"# {escaped(task.capitalize())} on all zoos\n\n{HOW_TO_READ}\n\n{lines([header, alignment, *rows])}\n"


def _short(record: Record) -> str:
    return record.task.rpartition("/")[2]


def _mean_tau(name: str, boards: Sequence[dict[str, Record]]) -> float:
    taus = [held[name].scores["tau"]["value"] for held in boards if name in held]
    return sum(taus) / len(taus)


def _cell(record: Record | None, score: str, floor: dict | None) -> str:
    if record is None or score not in record.scores:
        return ""
    found = record.scores[score]
    text = number(found["value"])
    if floor is None:
        return text
    sign = -1 if SCORES[score].lower_is_better else 1
    beyond = any(found[way] is not None and sign * (found[way] - floor["p95"]) > 0 for way in ("value", "flipped"))
    return text if beyond else f"({text})"
