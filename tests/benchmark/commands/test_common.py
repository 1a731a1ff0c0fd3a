import argparse

import pytest

from benchmark.commands.common import columns, count, not_empty, positive


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("a", "b"), ("long", "c")]) == "a     b\nlong  c"


def test_counts_agree_with_their_nouns() -> None:
    assert [count(number, "model") for number in (0, 1, 2500)] == ["0 models", "1 model", "2,500 models"]


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", ""])
def test_a_number_of_things_is_whole_and_positive(value: str) -> None:
    assert positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match=f"it is {value}, expected a whole number of at least 1"):
        positive(value)


def test_an_empty_path_is_refused() -> None:
    assert not_empty("x") == "x"
    with pytest.raises(argparse.ArgumentTypeError, match="it is empty"):
        not_empty("")
