"""What a worker sends its parent: a byte when a user's code starts, one line of JSON, and float64 arrays.

The parent believes none of it unchecked: a method can write to the same pipe whatever it likes.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_builder.text import visible

READY = b"\0"
OUTCOMES = ("ok", "failed", "not applicable")
REASON_CHARACTERS = 1000
LOG_CHARACTERS = 10_000
_LINE_BYTES = 2**20
_VALUE = np.dtype("<f8")


class BrokenAnswer(ValueError):
    """What a worker sent cannot be used; the message says why."""


def largest(methods: int, models: int) -> int:
    """Bytes that an answer of ``methods`` methods for ``models`` models may have, with a reason for every value."""
    return methods * (_LINE_BYTES + models * (2 * _VALUE.itemsize + REASON_CHARACTERS))


def encode(outcomes: Sequence[dict[str, Any]], values: Sequence[np.ndarray] = ()) -> bytes:
    """The answer, after ``READY``.

    Args:
        outcomes: one for each method.
        values: float64 [models] for each outcome that is "ok", and behind it the errors of its values where "errors" is
            true.
    """
    line = json.dumps([_bounded(outcome) for outcome in outcomes]).encode()
    return b"\n".join([line, b"".join(np.asarray(array, _VALUE).tobytes() for array in values)])


def _bounded(outcome: dict[str, Any]) -> dict[str, Any]:
    """``outcome`` with texts short enough to be sent."""
    reasons = {row: str(reason)[:REASON_CHARACTERS] for row, reason in outcome.get("reasons", {}).items()}
    return outcome | {
        "reason": (outcome.get("reason") or "")[:REASON_CHARACTERS] or None,
        "log": (outcome.get("log") or "")[-LOG_CHARACTERS:] or None,
        "reasons": reasons,
    }


def decode_outcomes(content: bytes, methods: int) -> tuple[list[dict[str, Any]], bytes]:
    """The outcomes of ``methods`` methods, each an object of JSON, and the bytes of the values.

    Raises:
        BrokenAnswer: the content does not have this form.
    """
    if not content.startswith(READY):
        raise BrokenAnswer("it gave no answer" if not content else "its answer does not start as an answer does")
    line, newline, values = content.removeprefix(READY).partition(b"\n")
    if not newline:
        raise BrokenAnswer("it ended within its answer" if line else "it ended before it gave an answer")
    try:
        outcomes: Any = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswer(f"its answer is not JSON: {str(error)[:100]}") from None
    if not isinstance(outcomes, list) or len(outcomes) != methods or not all(isinstance(o, dict) for o in outcomes):
        raise BrokenAnswer(f"its answer is not a list of {methods} objects")
    return outcomes, values


def decode(content: bytes, methods: int, models: int) -> list[tuple[dict[str, Any], np.ndarray | None]]:
    """The checked outcome of each method, and its values where it is "ok".

    Returns:
        Outcomes have "status", "reason", "log", "seconds", "reasons" and "errors". Values are float64 [models], finite
        or NaN with a reason; "reasons" has a text or None for each; "errors" is None or float64 [models], NaN or from 0
        on.

    Raises:
        BrokenAnswer: the content has another form, or values that no method may give.
    """
    outcomes, values = decode_outcomes(content, methods)
    outcomes = [checked_outcome(outcome) for outcome in outcomes]
    answering = [outcome for outcome in outcomes if outcome["status"] == "ok"]
    arrays = len(answering) + sum(outcome["errors"] for outcome in answering)
    if len(values) != arrays * models * _VALUE.itemsize:
        expected = arrays * models * _VALUE.itemsize
        raise BrokenAnswer(f"its answer has {len(values)} bytes of values, expected {expected}")
    rows = iter(np.frombuffer(values, _VALUE).astype(np.float64).reshape(arrays, models))
    found = []
    for outcome in outcomes:
        array = errors = None
        if outcome["status"] == "ok":
            array = next(rows)
            errors = _checked_errors(next(rows)) if outcome["errors"] else None
            outcome |= {"reasons": _reasons(outcome["reasons"], array)}
        found.append((outcome | {"errors": errors}, array))
    return found


def checked_outcome(outcome: dict[str, Any]) -> dict[str, Any]:
    """The known parts of an outcome, with texts that can be shown.

    Raises:
        BrokenAnswer: a part is missing or has another type.
    """
    status, reason, log = (outcome.get(name) for name in ("status", "reason", "log"))
    seconds, reasons, errors = outcome.get("seconds"), outcome.get("reasons", {}), outcome.get("errors", False)
    if status not in OUTCOMES:
        raise BrokenAnswer(f"its answer has the status {str(status)[:40]!r}")
    if not isinstance(reason, str | None) or not isinstance(log, str | None) or not isinstance(reasons, dict):
        raise BrokenAnswer("its answer has a reason or a log that is no text")
    if not isinstance(errors, bool):
        raise BrokenAnswer("its answer does not say whether it has errors")
    if status != "ok" and not reason:
        raise BrokenAnswer(f"its answer is {status!r} without a reason")
    return {
        "status": status,
        "reason": visible(reason)[:REASON_CHARACTERS] if reason and status != "ok" else None,
        "log": visible(log)[-LOG_CHARACTERS:] if log else None,
        "seconds": seconds,
        "reasons": reasons,
        "errors": errors,
    }


def _checked_errors(errors: np.ndarray) -> np.ndarray | None:
    """None where none is known."""
    if (errors < 0).any() or np.isinf(errors).any():
        raise BrokenAnswer("its answer has errors that are negative or infinite")
    return None if np.isnan(errors).all() else errors


def _reasons(reasons: dict[str, Any], values: np.ndarray) -> list[str | None]:
    if np.isinf(values).any():
        raise BrokenAnswer("its answer has infinite values")
    found: list[str | None] = [None] * len(values)
    for row, undefined in enumerate(np.isnan(values).tolist()):
        reason = reasons.get(str(row))
        if isinstance(reason, str) and reason.strip():
            found[row] = visible(reason)[:REASON_CHARACTERS]
        elif undefined:
            raise BrokenAnswer(f"its answer is NaN for model {row} without a reason")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} in place of a number")
