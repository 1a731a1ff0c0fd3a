import pytest

from benchmark.reports.axis import Axis


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.8, 0.86, [-0.5, 0, 0.5]),
        (0, 0.4, [0, 0.1, 0.2, 0.3, 0.4]),
        (0, 11.8, [0, 5, 10]),
        (0, 1e11, [0, 5e10, 1e11]),
    ],
)
def test_ticks_are_few_and_round(low, high, ticks):
    axis = Axis.of([low, high])
    assert axis.ticks == pytest.approx(ticks)
    assert (axis.percent(low), axis.percent(high), axis.percent(2 * high)) == (5, 95, 95)
