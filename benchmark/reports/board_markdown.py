"""Boards to Markdown that reads well on GitHub: a pure function of the records."""

import re
from collections.abc import Sequence

from benchmark.records import Record
from benchmark.reports.boards import Board, Difference, Row
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

HOW_TO_READ = (
    "Kendall's tau-b between prediction and target over the test models, with 95 % bootstrap intervals over "
    "configurations; larger is better, and the intervals under *ranks* hold all true ranks of a board at once, with "
    "95 % probability.\n"
    "*tie* marks a paired difference whose interval contains 0. Controls and methods defined on under 95 % of the "
    "models stand in their place without a rank. [docs/scores.md](../docs/scores.md) explains all scores."
)
REASON_LENGTH = 200


def render_markdown(boards: Sequence[Board]) -> str:
    """The whole leaderboard, one section per board."""
    parts = ["# Leaderboard", HOW_TO_READ, *map(_board, boards)]
    if not boards:
        parts.append("There are no records yet.")
    return "\n\n".join(parts) + "\n"


def _board(board: Board) -> str:
    parts = [f"## {escaped(board.head.task)}", _header(board)]
    if board.rows:
        parts += [_table(board), *_other_scores(board)]
    if board.unscored:
        parts.append("Not scored:\n\n" + "\n".join(map(_unscored, board.unscored)))
    return "\n\n".join(parts)


def _header(board: Board) -> str:
    head = board.head
    facts = [
        f"Target: {escaped(head.target)} ({escaped(head.orientation)}).",
        f"{head.models} test models of zoo {escaped(head.zoo)}, weights `{head.weights_hash[:12]}`.",
    ]
    if floor := head.reference.get("noise_floors", {}).get("tau"):
        facts.append(
            f"Noise floor: a random measure has median {number(floor['median'])}, 95 % {number(floor['p95'])}."
        )
    if (ceiling := head.reference.get("tie_ceiling")) is not None:
        share = head.reference["tie_fraction"]
        facts.append(f"Tie ceiling: {number(ceiling)} ({percent(share)} of the pairs are tied in the target).")
    if reliability := head.reference.get("reliability"):
        facts.append(
            f"Reliability ceiling: {number(reliability['ceiling'])}, what knowing the true values would reach "
            f"(halves of the test set agree to tau {number(reliability['halves'])})."
        )
    return "\n".join(facts)


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows of a table, the first its header and the second the alignment."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _table(board: Board) -> str:
    header = ["rank", "ranks", "method", "tau", "95 %", "to leader", "to above"]
    header += ["reads", "kind", "coverage", "time", "notes"]
    alignment = ["--:", ":-:", "---", "--:", ":-:", "--:", "--:", "---", "---", "--:", "--:", "---"]
    return lines([header, alignment, *map(_row, board.rows)])


def _other_scores(board: Board) -> list[str]:
    """A table of the scores beside tau, with their noise floors, and why others do not exist."""
    names = score_names(board)
    parts = []
    if names:
        header = ["method", *(TITLES.get(name, name) for name in names)]
        rows = [
            [escaped(row.record.method), *(_score(row.record.scores.get(name)) for name in names)]
            for row in board.rows
            if not row.record.scores.keys().isdisjoint(names)
        ]
        floors = board.head.reference.get("noise_floors", {})
        chance = [number(floors[name]["p95"]) if name in floors else "" for name in names]
        if any(chance):
            rows.append(["*95 % of random measures*", *chance])
        parts.append(lines([header, ["---", *["--:"] * len(names)], *rows]))
    parts += [
        f"Undefined here: {', '.join(titles)}: {escaped(reason)}." for reason, titles in undefined_scores(board).items()
    ]
    return parts + board_caveats(board)


def _score(score: dict | None) -> str:
    return with_interval(score) if score else ""


def _row(row: Row) -> list[str]:
    record = row.record
    tau = record.scores["tau"]
    notes = [*([row.unranked] if row.unranked else []), *record.flags]
    return [
        str(row.rank or "–"),
        f"{row.rank_interval[0]}–{row.rank_interval[1]}" if row.rank_interval else "",
        escaped(record.method),
        number(tau["value"]),
        f"[{number(tau['low'])}, {number(tau['high'])}]",
        _difference(row.to_leader),
        _difference(row.to_above),
        escaped(record.access),
        record.kind,
        percent(record.coverage),
        duration(record.seconds),
        escaped(", ".join(notes)),
    ]


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return signed(difference.value) + (" tie" if difference.tie else "")


def _unscored(record: Record) -> str:
    reason = record.reason or "no test model has a prediction"
    reason = f"{reason[:REASON_LENGTH]} ..." if len(reason) > REASON_LENGTH else reason
    return f"- {escaped(record.method)} ({record.status}): {escaped(reason)}"


def escaped(text: str) -> str:
    """Plain text, on one line, that neither Markdown nor HTML reads anything into."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~$@!])", r"\\\1", " ".join(text.split()))
