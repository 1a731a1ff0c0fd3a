"""How both forms of the leaderboard write numbers."""

from benchmark.leaderboard.boards import Board

# How the scores beside tau are headed, in the order they are shown in.
TITLES = {
    "psi": "Psi",
    "k": "K",
    "pgdl": "PGDL",
    "robust": "robust sign error",
    "partial": "partial tau",
    "r2": "R²",
    "mae": "MAE, points",
}
LOWER_IS_BETTER = ("robust", "mae")


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
    """The scores beside tau that any entrant of the board has."""
    held = {name for row in board.rows for name in row.record.scores} - {"tau"}
    return [*(name for name in TITLES if name in held), *sorted(held - TITLES.keys())]


def undefined_scores(board: Board) -> dict[str, list[str]]:
    """Why a score does not exist for any entrant of the board -> the titles of such scores."""
    reasons: dict[str, list[str]] = {}
    held = score_names(board)
    for name, title in TITLES.items():
        given = [row.record.undefined[name] for row in board.rows if name in row.record.undefined]
        if given and name not in held:
            reasons.setdefault(given[0], []).append(title)
    return reasons
