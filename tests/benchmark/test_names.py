import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.evaluation.methods import builtin_methods
from benchmark.names import LONGEST, look, normalized, problem

# Each is normalized and either refused or has the look of the second; all by codes, since they look alike here too.
ALIKE = [
    ("random ", "random"),
    ("r\u200bandom", "random"),
    ("path\u2011norm", "path-norm"),
    ("path\u2013norm", "path-norm"),
    ("path_norm", "path-norm"),
    ("path norm", "path-norm"),
    ("\uff52\uff41ndom", "random"),
    ("r\u0430ndom", "random"),
    ("rando\u217f", "random"),
    ("\u03c1ath-norm", "path-norm"),
    ("r\u00e1ndom", "random"),
    ("RANDOM", "random"),
    ("rand0m", "random"),
    ("randorn", "random"),
    ("ran\u034fdom", "random"),
    ("random\ufe0f", "random"),
    ("random\u3164", "random"),
    ("random\u2800", "random"),
    ("r\u0251ndom", "random"),
    ("nfn-\u03b7p", "nfn-np"),
    ("vc-d\u0131m", "vc-dim"),
    ("vc-dlm", "vc-dim"),
    ("\u202emodnar", "random"),
]


@pytest.mark.parametrize(("name", "other"), ALIKE, ids=[ascii(name) for name, _ in ALIKE])
def test_no_name_passes_for_another(name, other):
    assert problem(normalized(name)) or look(name) == look(other)


GOOD = ["mine", "caf\u00e9", "\u03bb-norm", "Gr\u00f6\u00dfe 2.0", "nfn-np+", "a|b<c>", "x" * LONGEST]
BAD = ["", "a\nb", "a\tb", "\x1b[31m", "\u65b9\u6cd5", "\ud800", "x" * (LONGEST + 1), "a  b", " a", "\u221ax"]


@pytest.mark.parametrize("name", GOOD)
def test_names_that_a_board_can_show(name):
    assert problem(name) is None


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_names_that_a_board_cannot_show(name):
    assert problem(name)


def test_the_built_in_methods_look_different_from_each_other():
    names = list(builtin_methods())
    assert [problem(name) for name in names] == [None] * len(names)
    assert len({look(name) for name in names}) == len(names)


@given(st.text(max_size=LONGEST))
def test_a_name_that_passes_is_printable_on_one_line_and_has_one_form(name):
    name = normalized(name)
    if problem(name) is None:
        assert name.isprintable()
        assert normalized(name) == name
        assert unicodedata.normalize("NFC", name) == name
        assert look(look(name)) == look(name) or not look(name)
