"""Hints and lists of words in error messages."""

import pytest

from zoo_builder.errors import InputError, nearest, one_of


def test_the_nearest_word_is_suggested_if_it_is_near() -> None:
    assert nearest("cifar-10", ("cifar10", "svhn")) == " (did you mean 'cifar10'?)"
    assert nearest("imagenet", ("cifar10", "svhn")) == ""


def test_a_word_of_the_list_passes_and_another_is_refused() -> None:
    assert one_of("colour", "grey", ("grey", "rgb")) == "grey"
    with pytest.raises(InputError) as error:
        one_of("colour", "gray", ("grey", "rgb"), " in [data]", ", or omit it")
    expected = "unknown colour 'gray' in [data] (did you mean 'grey'?): use one of grey, rgb, or omit it"
    assert str(error.value) == expected
