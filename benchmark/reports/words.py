"""How boards and scored tables write names and numbers."""

from collections.abc import Iterable

from benchmark.reports.boards import Board
from benchmark.scoring.scores import SCORES

TITLES = {name: score.title for name, score in SCORES.items()}

# An end of an interval and its score are summed in different orders.
ROUNDING = 1e-9


def number(value: float) -> str:
    """Three decimals and a real minus sign; no minus on a rounded zero."""
    text = f"{value:.3f}".replace("-", "−")
    return "0.000" if text == "−0.000" else text


def signed(value: float) -> str:
    text = number(value)
    return text if text.startswith("−") else f"+{text}"


def percent(share: float) -> str:
    """A share in [0, 1]; what is not whole never looks whole."""
    return "100 %" if share == 1 else f"{min(share, 0.999):.1%}".replace("%", " %")


def duration(seconds: float) -> str:
    """In the unit that leaves two or three digits: "40 ms", "1.2 s", "75 s", "12 min", "3.5 h"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def with_interval(score: dict) -> str:
    return f"{number(score['value'])} [{number(score['low'])}, {number(score['high'])}]"


def score_names(board: Board) -> list[str]:
    """The scores beside tau that any method of the board has."""
    held = {name for row in board.rows for name in row.record.scores} - {"tau"}
    return [*(name for name in TITLES if name in held), *sorted(held - TITLES.keys())]


def undefined_scores(board: Board) -> dict[str, list[str]]:
    """Why a score does not exist for any method of the board -> the titles of such scores."""
    undefined = [row.record.undefined for row in board.rows]
    missing = TITLES.keys() - score_names(board)
    return by_reason(
        (name, next((reasons[name] for reasons in undefined if name in reasons), None))
        for name in TITLES
        if name in missing
    )


def caveats(coverage: Iterable[float], scores: Iterable[tuple[str, dict]]) -> list[str]:
    """Sentences on noise floors of other models than a score, and on intervals without their score; often none.

    Args:
        coverage: of each method. scores: names, and what has "value", "low" and "high".
    """
    said = []
    if min(coverage, default=1) < 1:
        said.append("Noise floors are on all models: on the fewer that some are defined for, chance reaches further.")
    outside = {
        TITLES.get(name, name): None
        for name, score in scores
        if score["value"] is not None and not score["low"] - ROUNDING <= score["value"] <= score["high"] + ROUNDING
    }
    if outside:
        titles = ", ".join(outside)
        said.append(f"Intervals of {titles} can leave out their own score: draws of fewer different models bias it.")
    return said


def board_caveats(board: Board) -> list[str]:
    records = [row.record for row in board.rows]
    return caveats(
        (record.coverage for record in records),
        ((name, score) for record in records for name, score in record.scores.items()),
    )


def by_reason(undefined: Iterable[tuple[str, str | None]]) -> dict[str, list[str]]:
    """Reasons -> titles of scores, from names of scores, each with the reason why it does not exist if it does not."""
    reasons: dict[str, list[str]] = {}
    for name, reason in undefined:
        if reason:
            reasons.setdefault(reason, []).append(TITLES[name])
    return reasons
