"""The horizontal axis of a column of intervals."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``, drawn across the width of a column."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float], most: float = math.inf) -> "Axis":
        """The axis that has room for 0 and all ``values`` up to ``most``."""
        values = [0.0, *values]
        low, high = min(values), min(max(values), most)
        return cls(low, high if high > low else low + 1)

    @property
    def ticks(self) -> list[float]:
        """Two to five round numbers.

        >>> Axis(0.0, 0.4).ticks
        [0.0, 0.1, 0.2, 0.30000000000000004, 0.4]
        """
        least = (self.high - self.low) / 4
        size = 10 ** math.floor(math.log10(least))
        step = size * min(factor for factor in (1, 2, 5, 10) if factor * size >= least)
        return [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]

    def percent(self, value: float) -> float:
        """Where ``value`` lies across the column, with room for a marker at both ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(5 + 90 * min(max(share, 0), 1), 2)

    def noise(self, median: float, p95: float) -> tuple[float, float]:
        """Start and width, in percent, of the band of 90 % of random measures.

        Random measures score about symmetrically around their median, so that the 95th percentile gives the 5th.
        """
        start, end = sorted(map(self.percent, (2 * median - p95, p95)))
        return start, round(end - start, 2)
