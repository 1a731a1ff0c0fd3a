"""Strict TOML: every key is declared as a ``Key``, and an unknown, missing or wrong value is an error."""

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from zoo_builder.errors import InputError, one_of, shown

REQUIRED = Parameter.empty
# Control characters, which steer a terminal; halves of characters; and marks that turn the direction of a text.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Key:
    """The values that one key may hold.

    Attributes:
        kind: float, int or str.
        expected: the words to choose from, or a description of the values for which ``holds`` is true.
        default: the value of an omitted key; REQUIRED if it must not be omitted.
    """

    name: str
    kind: type
    expected: str | tuple[str, ...]
    holds: Callable[[Any], bool] = lambda value: True
    default: Any = REQUIRED

    def check(self, value: Any, section: str) -> Any:
        """Returns ``value`` as a ``kind``.

        Raises:
            InputError: wrong type, out of range, or not one of the words.
        """
        if isinstance(self.expected, tuple):
            return one_of(self.name, value, self.expected, f" in {section}")
        if is_a(self.kind, value) and self.holds(value):
            return self.kind(value)
        too_large = isinstance(value, int | float) and abs(value) >= 2**63
        bound = {int: " and below 2**63", float: " and finite"}.get(self.kind, "") if too_large else ""
        raise InputError(f"{section} {self.name} is {shown(value)}: it must be {self.expected}{bound}".lstrip())


def is_a(kind: type, value: Any) -> bool:
    """Whether ``value`` is a finite float, a 64-bit int or a str, by ``kind``; a bool is none of them."""
    if isinstance(value, bool):
        return False
    if kind is float:  # any finite number
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if kind is int:  # tables hold 64-bit integers
        return isinstance(value, int) and value.bit_length() < 64
    return isinstance(value, kind)


def positive(value: float) -> bool:
    return value > 0


def not_negative(value: float) -> bool:
    return value >= 0


def read_table(table: Any, keys: tuple[Key, ...], section: str = "") -> dict[str, Any]:
    """The checked value of each of ``keys``, or its default.

    Raises:
        InputError: ``table`` is not a section, or a key is unknown, missing or wrong; the message names ``section``.
    """
    refuse_unknown(table, [key.name for key in keys], section)
    for key in keys:
        if key.name not in table and key.default is REQUIRED:
            expected = key.expected if isinstance(key.expected, str) else f"one of {', '.join(key.expected)}"
            raise InputError(f"{section} {key.name} is missing: it must be {expected}".lstrip())
    return {key.name: key.check(table[key.name], section) if key.name in table else key.default for key in keys}


def refuse_unknown(table: Any, allowed: Collection[str], section: str) -> None:
    """Raises InputError if ``table`` is not a section, or has a key that is not ``allowed``."""
    if not isinstance(table, dict):
        raise InputError(f"{section} is {shown(table)}: it must be a section of `key = value` lines")
    for name in table:
        one_of("key", name, allowed, f" in {section}")


def readable(text: str) -> bool:
    """Whether a text, of several lines perhaps, can be printed anywhere."""
    return not _UNREADABLE.search(text)
