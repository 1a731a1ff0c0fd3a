"""Text that others wrote, made safe to print: no character in it moves the cursor, hides, or turns the order around."""

import re
import unicodedata
from collections.abc import Callable
from textwrap import indent
from typing import Any

# Longer texts are cut: a page has to load, and a terminal to be read.
LONGEST = 10_000
DEEPEST = 50
_UNUSUAL = re.compile(r"[^ -~\n\t]")


def visible(text: str) -> str:
    r"""``text`` with an escape in place of every character that controls how the others are shown.

    These are control characters (the escape sequences of terminals begin with one), marks of the writing direction,
    characters without width, line separators, and surrogates. Line ends and tabs stay.

    >>> visible("a\x1b[31m\tb\u202e")
    'a\\x1b[31m\tb\\u202e'
    """
    return escaped(text, lambda letter: letter.encode("unicode_escape").decode("ascii"))


def escaped(text: str, escape: Callable[[str], str]) -> str:
    """``text`` with ``escape`` of every such character."""
    return _UNUSUAL.sub(lambda found: escape(found[0]) if _controls(found[0]) else found[0], text)


def _controls(letter: str) -> bool:
    return unicodedata.category(letter)[0] == "C" or unicodedata.category(letter) in ("Zl", "Zp")


def shortened(text: str, longest: int = LONGEST) -> str:
    """
    >>> shortened("abcdef", 3)
    'abc ... (3 more characters)'
    """
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]} ... ({more:,} more characters)"


def one_line(text: str, longest: int = LONGEST) -> str:
    """Visible text with single blanks between its words.

    >>> one_line("a\\n  b")
    'a b'
    """
    return shortened(visible(" ".join(text.split())), longest)


def set_in(log: str | None) -> str:
    r"""Lines below a line of gengap, indented so that none of them is taken for one; nothing without a log.

    >>> set_in("a\nb"), set_in(None)
    ('\n    a\n    b', '')
    """
    return indent(f"\n{log}", "    ") if log else ""


def all_visible(value: Any, deepest: int = DEEPEST) -> Any:
    """A value of JSON with every text in it visible and of at most ``LONGEST`` characters, the keys too.

    Raises:
        ValueError: it is nested more deeply than ``deepest``: writers of JSON would fail on it.
    """
    if deepest < 0:
        raise ValueError("its brackets are nested too deeply")
    if isinstance(value, str):
        return shortened(visible(value))
    if isinstance(value, list):
        return [all_visible(each, deepest - 1) for each in value]
    if isinstance(value, dict):
        return {all_visible(key): all_visible(each, deepest - 1) for key, each in value.items()}
    return value
