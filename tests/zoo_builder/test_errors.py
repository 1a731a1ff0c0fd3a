"""Hints and lists of words in error messages."""

import pytest

from zoo_builder.errors import InputError, nearest, one_of, refuse_other_type, shown


def test_the_nearest_word_is_suggested_if_it_is_near() -> None:
    assert nearest("cifar-10", ("cifar10", "svhn")) == " (did you mean 'cifar10'?)"
    assert nearest("imagenet", ("cifar10", "svhn")) == ""


def test_a_word_of_the_list_passes_and_another_is_refused() -> None:
    assert one_of("colour", "grey", ("grey", "rgb")) == "grey"
    with pytest.raises(InputError) as error:
        one_of("colour", "gray", ("grey", "rgb"), " in [data]", ", or omit it")
    expected = "unknown colour 'gray' in [data] (did you mean 'grey'?): use one of grey, rgb, or omit it"
    assert str(error.value) == expected


def test_values_of_any_size_and_depth_are_shown_in_little_room() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list of very many levels"
    assert len(shown("a" * 10**6)) < 250
    with pytest.raises(InputError) as error:
        one_of("colour", "a" * 10**6, ("grey", "rgb"))
    assert len(str(error.value)) < 300


def test_an_argument_of_another_type_is_named_with_what_makes_one() -> None:
    refuse_other_type("count", 3, int, "len(rows)")
    with pytest.raises(InputError, match=r"^`count` is 'three', expected a int: len\(rows\) makes one"):
        refuse_other_type("count", "three", int, "len(rows)")
