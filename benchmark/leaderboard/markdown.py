"""Boards to Markdown that reads well on GitHub: a pure function of the records."""

import re
from collections.abc import Sequence

from benchmark.leaderboard.boards import Board, Difference, Row
from benchmark.leaderboard.words import TITLES, duration, number, percent, score_names, signed
from benchmark.records import Record

HOW_TO_READ = (
    "Kendall's tau-b between prediction and target over the test models, with 95 % bootstrap intervals over "
    "configurations; larger is better, and *ranks* is the central 95 % of an entrant's rank over the draws.\n"
    "*tie* marks a paired difference whose interval contains 0. Controls and entrants defined on under 95 % of the "
    "models stand in their place without a rank."
)
REASON_LENGTH = 200


def render_markdown(boards: Sequence[Board]) -> str:
    """The whole leaderboard, one section per board."""
    parts = ["# Leaderboard", HOW_TO_READ, *map(_board, boards)]
    if not boards:
        parts.append("There are no records yet.")
    return "\n\n".join(parts) + "\n"


def _board(board: Board) -> str:
    parts = [f"## {_escaped(board.head.task)}", _header(board)]
    if board.rows:
        parts.append(_table(board))
    if board.unscored:
        parts.append("Not scored:\n\n" + "\n".join(map(_unscored, board.unscored)))
    return "\n\n".join(parts)


def _header(board: Board) -> str:
    head = board.head
    facts = [
        f"Target: {_escaped(head.target)} ({_escaped(head.orientation)}).",
        f"{head.models} test models of zoo {_escaped(head.zoo)}, weights `{head.weights_hash[:12]}`.",
    ]
    if floor := head.reference.get("noise_floor"):
        facts.append(
            f"Noise floor: a random measure has median {number(floor['median'])}, 95 % {number(floor['p95'])}."
        )
    if (ceiling := head.reference.get("tie_ceiling")) is not None:
        share = head.reference["tie_fraction"]
        facts.append(f"Tie ceiling: {number(ceiling)} ({percent(share)} of the pairs are tied in the target).")
    return "\n".join(facts)


def _table(board: Board) -> str:
    others = score_names(board)
    header = ["rank", "ranks", "entrant", "tau", "95 %", "to leader", "to above"]
    header += [TITLES.get(name, name) for name in others] + ["reads", "kind", "coverage", "time", "notes"]
    alignment = ["--:", ":-:", "---", "--:", ":-:", "--:", "--:", *["--:"] * len(others)]
    alignment += ["---", "---", "--:", "--:", "---"]
    lines = [header, alignment, *(_row(row, others) for row in board.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(row: Row, others: Sequence[str]) -> list[str]:
    record = row.record
    tau = record.scores["tau"]
    notes = [*([row.unranked] if row.unranked else []), *record.flags]
    return [
        str(row.rank or "–"),
        f"{row.rank_interval[0]}–{row.rank_interval[1]}" if row.rank_interval else "",
        _escaped(record.entrant),
        number(tau["value"]),
        f"[{number(tau['low'])}, {number(tau['high'])}]",
        _difference(row.to_leader),
        _difference(row.to_above),
        *(number(record.scores[name]["value"]) if name in record.scores else "" for name in others),
        _escaped(record.access),
        record.kind,
        percent(record.coverage),
        duration(record.seconds),
        _escaped(", ".join(notes)),
    ]


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return signed(difference.value) + (" tie" if difference.tie else "")


def _unscored(record: Record) -> str:
    reason = record.reason or "no test model has a prediction"
    reason = f"{reason[:REASON_LENGTH]} ..." if len(reason) > REASON_LENGTH else reason
    return f"- {_escaped(record.entrant)} ({record.status}): {_escaped(reason)}"


def _escaped(text: str) -> str:
    """Plain text, on one line, that neither Markdown nor HTML reads anything into."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~$@!])", r"\\\1", " ".join(text.split()))
