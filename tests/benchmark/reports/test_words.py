import pytest

from benchmark.reports.words import duration, number, percent, signed


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
