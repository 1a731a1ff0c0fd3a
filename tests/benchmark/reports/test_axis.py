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


def test_an_axis_has_room_for_zero_and_all_values_up_to_the_most():
    assert Axis.of([0.2, 0.5]) == Axis(0.0, 0.5)
    assert Axis.of([-0.2, 0.5, 9], most=3) == Axis(-0.2, 3)
    assert Axis.of([]) == Axis(0.0, 1.0)


def test_the_band_of_random_measures_is_symmetric_about_their_median():
    assert Axis(-1.0, 1.0).noise(median=0.0, p95=0.5) == (27.5, 45.0)
    assert Axis(0.0, 1.0).noise(median=0.5, p95=0.4) == (41.0, 18.0)  # of an error
