"""The one exception that means "what you gave cannot be used". The command line prints it and exits with 2."""

import difflib
from collections.abc import Collection, Iterable
from typing import TypeVar

Word = TypeVar("Word")


class InputError(ValueError):
    """Bad input. The message says what was given, what was expected, and what to do."""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """Returns " (did you mean 'x'?)" for the closest of ``allowed``, or "" where none is close."""
    match = difflib.get_close_matches(given, list(allowed), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def one_of(what: str, given: Word, allowed: Collection[str], place: str = "", otherwise: str = "") -> Word:
    """Returns ``given`` where it is one of the words that are allowed.

    Args:
        what, place, otherwise: what it is, where it stands, and what could be done in place of using such a word.

    Raises:
        InputError: it is none of them; the closest is suggested.
    """
    if given not in allowed:
        hint = nearest(str(given), allowed)
        raise InputError(f"unknown {what} {given!r}{place}{hint}: use one of {', '.join(allowed)}{otherwise}")
    return given
