"""The exception for bad input. The command line prints its message and exits with status 2."""

import difflib
from collections.abc import Collection, Iterable
from typing import TypeVar

Word = TypeVar("Word")


class InputError(ValueError):
    """Bad input. The message has what was given, what was expected, and what to do."""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """A hint for an error message: the closest of ``allowed``, or "" if none is close.

    >>> nearest("gray", ("grey", "rgb"))
    " (did you mean 'grey'?)"
    """
    match = difflib.get_close_matches(given, list(allowed), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def shown(value: object, longest: int = 200) -> str:
    """``repr(value)`` for a message, cut to about ``longest`` characters.

    >>> shown("a" * 1000, longest=10)
    "'aaaaaaaaa ..."
    """
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} of very many levels"
    return text if len(text) <= longest else f"{text[:longest]} ..."


def said(error: Exception) -> str:
    """What an error of any library says, in one line.

    >>> said(ValueError("bad\\n  header")), said(MemoryError())
    ('bad header', 'MemoryError')
    """
    return " ".join(str(error).split())[:300] or type(error).__name__


def refuse_other_type(name: str, value: object, kind: type, made_by: str) -> None:
    """Raises InputError if the argument ``name`` is no ``kind``; the message says what makes one."""
    if not isinstance(value, kind):
        raise InputError(f"`{name}` is {shown(value)}, expected a {kind.__name__}: {made_by} makes one")


def one_of(what: str, given: Word, allowed: Collection[str], place: str = "", otherwise: str = "") -> Word:
    """``given``, if it is one of the ``allowed`` words.

    Args:
        what, place, otherwise: for the message: what the word is, where it was given, and an alternative to the words.

    Raises:
        InputError: it is not; the message suggests the closest word.
    """
    if given not in allowed:
        hint = nearest(given[:100], allowed) if isinstance(given, str) else ""
        raise InputError(f"unknown {what} {shown(given)}{place}{hint}: use one of {', '.join(allowed)}{otherwise}")
    return given
