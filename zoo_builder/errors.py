"""The one exception that means "what you gave cannot be used". The command line prints it and exits with 2."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input. The message says what was given, what was expected, and what to do."""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """Returns " (did you mean 'x'?)" for the closest of ``allowed``, or "" where none is close."""
    match = difflib.get_close_matches(given, list(allowed), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""
