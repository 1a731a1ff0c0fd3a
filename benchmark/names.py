"""Names of methods: which ones a board can show, and when two look alike.

A name holds Latin and Greek letters, accents included, digits, blanks and ASCII punctuation. Letters of other scripts
are refused, because many of them look like Latin ones: a Cyrillic a in "rаndom" shows no difference.
"""

import re
import unicodedata

LONGEST = 80

# Latin letters that no accent makes out of another.
_OTHER_LATIN = dict(zip("ßæœøłđ", ("ss", "ae", "oe", "o", "l", "d"), strict=True))
# Greek letters that look like Latin ones; the capitals are their own rows, since a small eta looks like an n.
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαβγικνορτυχηωϲϳ", "ABEZHIKMNOPTYXaByiKvopTuxnwcj", strict=True))
# What looks alike in many fonts, after everything else is folded: "I", "1" and "l", "0" and "o", "rn" and "m".
_ALIKE = (("|", "l"), ("!", "l"), ("1", "l"), ("i", "l"), ("0", "o"), ("rn", "m"), ("vv", "w"))


def normalized(name: str) -> str:
    """``name`` in Unicode's compatible form (NFKC), with single blanks and none at its ends.

    >>> normalized(" ｍｉｎｅ  two ")
    'mine two'
    """
    return re.sub(" +", " ", unicodedata.normalize("NFKC", name)).strip(" ")


def problem(name: str) -> str | None:
    """Why a board cannot show the name of a method; None if it can."""
    if not name:
        return "it is empty"
    if len(name) > LONGEST:
        return f"it has {len(name):,} characters, and boards show at most {LONGEST}"
    if odd := strange(name):
        return odd
    return None if name == normalized(name) else "it has blanks at its ends, or letters in a form of their own"


def strange(text: str) -> str | None:
    """Names the first character that a name must not hold; None if there is none."""
    for letter in text:
        if not _plain(letter):
            about = unicodedata.name(letter, "a control character").lower()
            return (
                f"it holds U+{ord(letter):04X} ({about}): use Latin or Greek letters, digits, blanks and ASCII "
                "punctuation"
            )
    return None


def _plain(letter: str) -> bool:
    if letter.isascii():
        return letter.isprintable()
    first = unicodedata.normalize("NFD", letter)[0]
    return letter.isalpha() and (
        (first.isascii() and first.isalpha())
        or letter.lower() in _OTHER_LATIN
        or unicodedata.name(first, "").startswith(("GREEK SMALL LETTER", "GREEK CAPITAL LETTER"))
    )


def look(name: str) -> str:
    """A form that names share if a reader could take one for the other.

    Without case, accents, kinds of dashes and blanks, and with one form of letters and digits that look alike.

    >>> look("Ｒandom ") == look("ránd0m") == look("random")
    True
    """
    text = "".join(map(_latin, unicodedata.normalize("NFKC", name)))
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    text = "".join(_OTHER_LATIN.get(letter, letter) for letter in "".join(letters).casefold())
    text = re.sub(r"[\s_.,:;'\"`\-\u00ad\u2010-\u2015\u2212]+", "-", text).strip("-")
    for one, other in _ALIKE:
        text = text.replace(one, other)
    return text


def _latin(letter: str) -> str:
    first, *marks = unicodedata.normalize("NFD", letter)
    return "".join([_GREEK.get(first, first), *marks])
