"""Boards as Markdown that reads well on GitHub: a pure function of the records."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.records import Record
from benchmark.reports.boards import Board, Population, Row
from benchmark.reports.words import (
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
from benchmark.scoring.ranking import Difference
from benchmark.scoring.scores import SCORES

HOW_TO_READ = (
    "Each board ranks the methods that read no more than its access level. A score compares predictions and targets of "
    "the test models; Kendall's tau-b unless the board names another, larger is better.\n"
    "Intervals are 95 % bootstrap intervals over configurations. The intervals under *ranks* hold all true ranks of a "
    "board at once, with 95 % probability.\n"
    "*tie* marks a paired difference whose interval contains 0. Controls and methods that are defined on fewer than "
    "95 % of the models stand in their place without a rank. {scores} explains all scores."
)
DOCS = "`docs/scores.md` in the repository of gengap"
REASON_LENGTH = 200


def render_markdown(populations: Sequence[Population], folder: Path | None = None) -> str:
    """The whole leaderboard, one section per population and one table per access level.

    Args:
        folder: of the file that holds the text; other files are linked where they can be reached from there.
    """
    how_to_read = HOW_TO_READ.format(scores=link("docs/scores.md", "../docs/scores.md", folder, DOCS))
    parts = ["# Leaderboard", how_to_read, *map(_population, populations)]
    if not populations:
        parts.append("There are no records yet.")
    return "\n\n".join(parts) + "\n"


def _population(population: Population) -> str:
    parts = [f"## {escaped(population.head.task)}", _facts(population)]
    for board in population.boards:
        parts += [f"### {escaped(heading(board.rows, board.access))}", _table(board)]
    if population.scored:
        parts += _other_scores(population)
    if population.unscored:
        parts.append("Not scored:\n\n" + "\n".join(map(_unscored, population.unscored)))
    return "\n\n".join(parts)


def _facts(population: Population) -> str:
    head = population.head
    weights = re.sub("[^0-9A-Za-z]", "?", head.weights_hash[:12])
    facts = [
        f"Target: {escaped(head.target)} ({escaped(head.orientation)}).",
        f"{head.models} test models of zoo {escaped(head.zoo)}, weights `{weights}`.",
    ]
    if floor := head.reference.get("noise_floors", {}).get(head.headline):
        facts.append(
            f"Noise floor: a random measure has median {number(floor['median'])}, 95 % {number(floor['p95'])}."
        )
    floor = head.reference.get("architecture_floors", {}).get(head.headline)
    if floor and any(record.architecture_share for record in population.scored):
        facts.append(
            f"95 % of random functions of the architecture stay below {number(floor['p95'])}; notes such as "
            "*architecture 90 %* say how much of the variance of a method's ranks lies between architectures."
        )
    if SCORES[head.headline].tie_ceiling and (ceiling := head.reference.get("tie_ceiling")) is not None:
        share = head.reference["tie_fraction"]
        facts.append(f"Tie ceiling: {number(ceiling)} ({percent(share)} of the pairs are tied in the target).")
    if reliability := head.reference.get("reliability"):
        facts.append(
            f"Reliability ceiling: {number(reliability['ceiling'])}, the tau of the true values (halves of the test "
            f"set agree to tau {number(reliability['halves'])})."
        )
        if (share := reliability.get("noise_share")) is not None:
            facts.append(f"Of the target's variance over the models, {percent(share)} is sampling noise.")
    return "\n".join(facts)


def link(name: str, path: str, folder: Path | None, otherwise: str) -> str:
    """A link from a file in ``folder``; other words if the path leads nowhere."""
    return f"[{name}]({path})" if folder is not None and (folder / path).is_file() else otherwise


def lines(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a table; the first is its header and the second the alignment."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _table(board: Board) -> str:
    score = escaped(title(board.rows[0].record.headline))
    header = ["rank", "ranks", "method", score, "95 %", "to leader", "to above"]
    header += ["reads", "kind", "coverage", "time", "notes"]
    alignment = ["--:", ":-:", "---", "--:", ":-:", "--:", "--:", "---", "---", "--:", "--:", "---"]
    return lines([header, alignment, *map(_row, board.rows)])


def _row(row: Row) -> list[str]:
    record, score = row.record, row.headline
    notes = [*([row.unranked] if row.unranked else []), *remarks(record)]
    return [
        str(row.rank or "–"),
        f"{row.rank_interval[0]}–{row.rank_interval[1]}" if row.rank_interval else "",
        escaped(record.method),
        number(score["value"]),
        f"[{number(score['low'])}, {number(score['high'])}]",
        _difference(row.to_leader),
        _difference(row.to_above),
        escaped(record.access),
        escaped(record.kind),
        percent(record.coverage),
        duration(record.seconds),
        escaped(", ".join(notes)),
    ]


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return signed(difference.value) + (" tie" if difference.tie else "")


def _other_scores(population: Population) -> list[str]:
    """A table of the scores beside the headline, with their noise floors, and why others are undefined."""
    names = other_scores(population.scored)
    parts = []
    if names:
        rows = [["method", *(escaped(title(name)) for name in names)], ["---", *["--:"] * len(names)]]
        for record in population.scored:
            if not record.scores.keys().isdisjoint(names):
                scores = [with_interval(record.scores[name]) if name in record.scores else "" for name in names]
                rows.append([escaped(record.method), *scores])
        floors = population.head.reference.get("noise_floors", {})
        chance = [number(floors[name]["p95"]) if name in floors else "" for name in names]
        if any(chance):
            rows.append(["*95 % of random measures*", *chance])
        parts.append(lines(rows))
    parts += [
        f"Undefined here: {', '.join(titles)}: {escaped(reason)}."
        for reason, titles in undefined_scores(population.scored).items()
    ]
    return parts + list(map(escaped, record_caveats(population.scored)))


def _unscored(record: Record) -> str:
    reason = record.reason or "no test model has a prediction"
    reason = f"{reason[:REASON_LENGTH]} ..." if len(reason) > REASON_LENGTH else reason
    return f"- {escaped(record.method)} ({record.status}): {escaped(reason)}"


def escaped(text: str) -> str:
    r"""Plain text on one line that neither Markdown nor HTML interprets.

    >>> escaped("path_norm|<b>")
    'path\\_norm\\|\\<b\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#&~$@!])", r"\\\1", " ".join(text.split()))
