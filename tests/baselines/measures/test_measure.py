"""Rows of measures."""

import pytest

from baselines.measures.measure import Measure
from zoo_builder.errors import InputError


def test_a_row_of_a_measure_is_plain_data():
    measure = Measure("name", len, "weights", "free", "formula", "citation")
    assert (measure.control, measure.version) == (False, 1)


@pytest.mark.parametrize(
    ("access", "cost", "message"),
    [
        (
            "weights",
            "passes",
            r"unknown cost 'passes' of measure 'name' \(did you mean 'pass'\?\): use one of free, weig",
        ),
        (
            "unlabeled-data",
            "free",
            "unknown access level 'unlabeled-data' of measure 'name': use one of weights, train-",
        ),
    ],
)
def test_unknown_words_are_refused(access, cost, message):
    with pytest.raises(InputError, match=message):
        Measure("name", len, access, cost, "formula", "citation")
