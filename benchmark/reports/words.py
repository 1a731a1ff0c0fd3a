"""How boards and scored tables write names and numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.records import Record, short_code
from benchmark.scoring.scores import SCORES
from zoo_builder.text import visible

# An end of an interval and its score are summed in different orders.
ROUNDING = 1e-9


def title(score: str) -> str:
    """The heading of a score: that of its definition, or its name where a record of another version holds it."""
    return SCORES[score].title if score in SCORES else score


def capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def finite(value: float | None) -> float | None:
    """None for an end of an interval that is infinite, because the score exists in no draw."""
    return value if value is not None and math.isfinite(value) else None


def shortened(names: Sequence[str]) -> tuple[str, list[str]]:
    """The prefix that all names share up to a dot ("measure."), and the rest of each name."""
    prefixes = {name[: name.rfind(".") + 1] for name in names}
    prefix = prefixes.pop() if len(prefixes) == 1 < len(names) else ""
    return printable(prefix), [printable(name.removeprefix(prefix)) or "(empty)" for name in names]


def printable(name: str) -> str:
    """``name`` on one line, without characters that would control a terminal."""
    return visible(name).replace("\n", "?").replace("\t", "?")


def number(value: float) -> str:
    """Three decimals and a real minus sign; no minus on a rounded zero.

    >>> number(-0.25), number(-0.0001)
    ('−0.250', '0.000')
    """
    text = f"{value:.3f}".replace("-", "−")
    return "0.000" if text == "−0.000" else text


def signed(value: float) -> str:
    text = number(value)
    return text if text.startswith("−") else f"+{text}"


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1]; only a whole share is written as 100 %.

    >>> percent(1), percent(0.99999), percent(0.8, 0)
    ('100 %', '99.9 %', '80 %')
    """
    return "100 %" if share == 1 else f"{min(share, 1 - 10 ** -(digits + 2)):.{digits}%}".replace("%", " %")


def duration(seconds: float) -> str:
    """In the unit that leaves two or three digits: "40 ms", "1.2 s", "75 s", "12 min", "3.5 h"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def with_interval(score: Mapping) -> str:
    return f"{number(score['value'])} [{number(score['low'])}, {number(score['high'])}]"


def heading(rows: Sequence[Any], access: str) -> str:
    """The heading of a board of ``rows``. Controls alone have no access level that they share."""
    return "Controls only" if all(row.record.control for row in rows) else f"Access level: {access}"


def remarks(record: Record) -> list[str]:
    """What a reader of a score must know.

    Flags, that it is nearly a function of the architecture, a run without a sandbox, a later one that failed, and whose
    code it is.
    """
    failed, floor = record.failed_since, record.floor(record.headline)
    return [
        *record.flags,
        *([f"{said}, noise floor {number(floor['p95'])}"] if (said := architecture(record)) and floor else []),
        *(["unprotected: it ran without a sandbox"] if record.unprotected else []),
        *([f"a later run failed ({failed.status}, {failed.time:%Y-%m-%d})"] if failed else []),
        *([f"{record.source}, code {short_code(record) or 'unknown'}"] if record.source else []),
    ]


def architecture(record: Record) -> str | None:
    """Words for a prediction that is nearly a function of the architecture; None for any other."""
    share = record.architecture_share
    return None if share is None else f"architecture {percent(share, 0)}"


def other_scores(records: Sequence[Record]) -> list[str]:
    """The scores beside the headline that any of the records has."""
    held = {name for record in records for name in record.scores} - {record.headline for record in records}
    return [*(name for name in SCORES if name in held), *sorted(held - SCORES.keys())]


def undefined_scores(records: Sequence[Record]) -> dict[str, list[str]]:
    """Why a score is undefined for all of the records -> the titles of such scores."""
    held = {name for record in records for name in record.scores}
    reasons = {name: reason for record in reversed(records) for name, reason in record.undefined.items()}
    return by_reason((name, None if name in held else reasons.get(name)) for name in SCORES)


def by_reason(undefined: Iterable[tuple[str, str | None]]) -> dict[str, list[str]]:
    """Reasons -> the titles of scores, from names of scores, each with the reason why it is undefined, if it is."""
    reasons: dict[str, list[str]] = {}
    for name, reason in undefined:
        if reason:
            reasons.setdefault(reason, []).append(title(name))
    return reasons


def record_caveats(records: Sequence[Record]) -> list[str]:
    held = {name for record in records for name in record.scores}
    of_fitted = {name: why for name, score in SCORES.items() if (why := score.of_fitted) and name in held}
    sentences = [
        f"Predictors have no {title(name)}: {why}."
        for name, why in of_fitted.items()
        if any(record.undefined.get(name) == why for record in records)
    ]
    return sentences + caveats(
        (record.coverage for record in records),
        ((name, score) for record in records for name, score in record.scores.items()),
    )


def caveats(coverage: Iterable[float], scores: Iterable[tuple[str, Mapping]]) -> list[str]:
    """Sentences on noise floors of other models than a score, and on intervals without their score; often none.

    Args:
        coverage: of each method.
        scores: names, and mappings with "value", "low" and "high".
    """
    sentences = []
    if min(coverage, default=1) < 1:
        sentences.append(
            "Noise floors are computed on all models; for methods that are defined on fewer models, chance reaches "
            "further."
        )
    outside = {
        title(name): None
        for name, score in scores
        if score["value"] is not None and not score["low"] - ROUNDING <= score["value"] <= score["high"] + ROUNDING
    }
    if outside:
        sentences.append(
            f"Intervals of {', '.join(outside)} can exclude the score itself: draws hold fewer distinct models, which "
            "biases the score."
        )
    return sentences
