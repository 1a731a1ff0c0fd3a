import math
from dataclasses import replace

import pytest

from benchmark.reports.words import duration, finite, number, percent, record_caveats, shortened, signed, title
from benchmark.scoring.scores import SCORES


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(-0.0001), "0.000"),
        (number(-0.25), "−0.250"),
        (signed(0.1), "+0.100"),
        (signed(-0.1), "−0.100"),
        (percent(1.0), "100 %"),
        (percent(0.9999), "99.9 %"),
        (percent(0.5), "50.0 %"),
        (duration(0.04), "40 ms"),
        (duration(3.21), "3.2 s"),
        (duration(75), "75 s"),
        (duration(720), "12 min"),
        (duration(12600), "3.5 h"),
    ],
)
def test_numbers_are_written_for_readers(written, expected):
    assert written == expected


def test_names_are_shortened_by_their_common_prefix_and_printable():
    assert shortened(["measure.a.x", "measure.a.y"]) == ("measure.a.", ["x", "y"])
    assert shortened(["measure.a", "mine"]) == ("", ["measure.a", "mine"])
    assert shortened(["measure.a"]) == ("", ["measure.a"])
    assert shortened(["m.", "m.\x1b"]) == ("m.", ["(empty)", "\\x1b"])


def test_a_score_of_another_version_is_called_by_its_name():
    assert (title("mae"), title("a-later-score")) == ("MAE, points", "a-later-score")


def test_an_infinite_end_of_an_interval_is_none():
    assert [finite(value) for value in (0.5, math.inf, -math.inf, None)] == [0.5, None, None, None]


def test_why_predictors_lack_a_score_of_the_methods_beside_them_is_told(blank):
    score = {"value": 0.1, "low": 0.0, "high": 0.2, "flipped": -0.1, "detail": {}}
    measure = replace(blank, scores={"partial": score})
    predictor = replace(blank, kind="predictor", undefined={"partial": SCORES["partial"].of_fitted})
    assert record_caveats([measure]) == record_caveats([predictor]) == []
    assert record_caveats([measure, predictor]) == [f"Predictors have no partial tau: {SCORES['partial'].of_fitted}."]
