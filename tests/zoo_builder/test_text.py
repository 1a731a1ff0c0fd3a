import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_builder.text import DEEPEST, LONGEST, all_visible, one_line, visible


@given(st.text())
def test_nothing_that_is_printed_controls_a_terminal(text):
    shown = visible(text)
    assert all(
        letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in shown
    )
    assert visible(shown) == shown
    assert not set(one_line(text)) & set("\n\t\x1b\u202e\u200b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u2212 95 %\t\n", "caf\u00e9 \u2212 95 %\t\n"),
        ("\x1b[31m\x9b\x07\r", "\\x1b[31m\\x9b\\x07\\r"),
        ("a\u200bb\u202ec\u2066\ufeff", "a\\u200bb\\u202ec\\u2066\\ufeff"),
        ("\U000e0041\udce4\u2028", "\\U000e0041\\udce4\\u2028"),
    ],
)
def test_what_controls_is_escaped_and_other_text_stays(text, shown):
    assert visible(text) == shown


def test_texts_of_json_are_bounded():
    found = all_visible({"a\x1b": ["b\u202e" * LONGEST, 3, None]})
    assert list(found) == ["a\\x1b"]
    assert len(found["a\\x1b"][0]) < LONGEST + 40
    deep = json.loads("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2))
    with pytest.raises(ValueError, match="nested too deeply"):
        all_visible(deep)
