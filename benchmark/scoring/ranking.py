"""Ranks with intervals, statistical ties and differences between the methods of a board or a table.

Two methods are compared on the models that both define, in bootstrap draws that all comparisons share. They are in a
*statistical tie* where the 95 % interval of their difference contains 0. Controls, and methods that are defined for
less than ``comparison.MINIMUM_COVERAGE`` of the models, are not ranked.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import interval
from benchmark.scoring.comparison import models_needed, rank_intervals
from benchmark.scoring.scorecard import Score

Pair = tuple[int, int]


@dataclass(frozen=True)
class Difference:
    """A method's score minus another's on the models that both define, with the 95 % interval of the paired draws."""

    value: float
    low: float
    high: float

    @property
    def tie(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Standing:
    """The rank of a method, and its distance to better ones.

    Attributes:
        rank: 1 + the number of methods with a better score; equal scores share a rank.
        interval: best and worst rank; with 95 % probability the intervals of all ranked methods hold the true ranks.
        to_leader: against the best method; None for the leader, and where the two cannot be compared.
        to_above: against the next better method; None as for ``to_leader``.
    """

    rank: int
    interval: tuple[int, int]
    to_leader: Difference | None
    to_above: Difference | None


@dataclass(frozen=True)
class Ranking:
    """The ranked methods, best first.

    Attributes:
        standings: by the number of the method.
        models_needed: how many models would separate the best two; None for fewer than two methods, and where no number
            of models would.
    """

    standings: Mapping[int, Standing]
    models_needed: int | None

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(self.standings)

    @property
    def leader(self) -> int | None:
        return next(iter(self.standings), None)

    @property
    def best_two(self) -> Pair | None:
        return (self.order[0], self.order[1]) if len(self.standings) > 1 else None


class PairedScores:
    """One score of E methods, compared in pairs on the models that both methods define.

    Nothing is scored twice: a method's own score serves every pair that is defined on the same models as the method,
    and pairs that are defined on other models are scored together with all pairs on these models.

    Args:
        predictions: [E, n], NaN where a method is undefined.
        score_on: gives the value and the draws [D] of some methods on a subset of the models, bool [n], all of which
            they define; NaN where they have no score there. All calls share the draws.
    """

    def __init__(
        self,
        predictions: np.ndarray,
        score_on: Callable[[np.ndarray, list[int]], Iterable[tuple[float, np.ndarray]]],
        lower_is_better: bool = False,
    ) -> None:
        self.lower_is_better = lower_is_better
        self._defined = ~np.isnan(predictions)
        self._score_on = score_on
        # By the models, as the bytes of a mask, and method.
        self._scored: dict[tuple[bytes, int], tuple[float, np.ndarray]] = {}

    @classmethod
    def of(cls, predictions: np.ndarray, score: Score, rescore: Callable[[np.ndarray], Score]) -> "PairedScores":
        """Of methods that have a score on the models that each defines.

        Args:
            rescore: scores predictions [e, n] that are NaN on the models to leave out, in the draws of ``score``.
        """

        def score_on(models: np.ndarray, methods: list[int]) -> Iterable[tuple[float, np.ndarray]]:
            return _values_and_draws(rescore(np.where(models, predictions[methods], np.nan)))

        paired = cls(predictions, score_on, score.definition.lower_is_better)
        for method, (defined, scored) in enumerate(zip(paired._defined, _values_and_draws(score), strict=True)):
            paired._scored[defined.tobytes(), method] = scored
        return paired

    def own(self) -> np.ndarray:
        """The value of each method on the models that it defines: float64 [E], NaN where it has no score."""
        alike: defaultdict[bytes, list[int]] = defaultdict(list)
        for method, defined in enumerate(self._defined):
            alike[defined.tobytes()].append(method)
        for models, methods in alike.items():
            self._ensure(models, methods)
        return np.array([self._scored[defined.tobytes(), method][0] for method, defined in enumerate(self._defined)])

    def _ensure(self, models: bytes, methods: Iterable[int]) -> None:
        missing = sorted(method for method in methods if (models, method) not in self._scored)
        if missing:
            scores = self._score_on(np.frombuffer(models, dtype=bool), missing)
            self._scored |= {(models, method): score for method, score in zip(missing, scores, strict=True)}

    def common(self, pair: Pair) -> np.ndarray:
        """The models that both define, bool [n]."""
        return self._defined[pair[0]] & self._defined[pair[1]]

    def differences(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """First minus second of P pairs: the differences [P], and draws of them [P, D]; NaN where one is undefined."""
        models = [self.common(pair).tobytes() for pair in pairs]
        needed: defaultdict[bytes, set[int]] = defaultdict(set)
        for mask, pair in zip(models, pairs, strict=True):
            needed[mask].update(pair)
        for mask, methods in needed.items():
            self._ensure(mask, methods)
        values, draws = np.empty(len(pairs)), np.empty((len(pairs), self._draws if pairs else 0))
        for row, (mask, (first, second)) in enumerate(zip(models, pairs, strict=True)):
            (value, draw), (other, other_draw) = self._scored[mask, first], self._scored[mask, second]
            values[row] = value - other
            np.subtract(draw, other_draw, out=draws[row])
        return values, draws

    @property
    def _draws(self) -> int:
        return len(next(iter(self._scored.values()))[1])

    def difference(self, first: int, second: int) -> Difference | None:
        """None where one of the two has no score on the models that both define."""
        values, draws = self.differences([(first, second)])
        return _difference(values[0], draws[0])


def rank(paired: PairedScores, values: Sequence[float | None], ranked: Sequence[int]) -> Ranking:
    """The ranking of some of the methods.

    Args:
        values: [E], each method's score on the models it is defined for, which orders the methods; methods with equal
            values keep the order of ``ranked``.
        ranked: the methods to rank, by number; those without a value are left out.
    """
    sign = -1 if paired.lower_is_better else 1
    oriented = {method: sign * value for method in ranked if (value := values[method]) is not None}
    order = sorted(oriented, key=lambda method: -oriented[method])
    pairs = list(combinations(order, 2))
    differences, draws = paired.differences(pairs)
    if paired.lower_is_better:
        differences, draws = -differences, -draws
    intervals = _rank_intervals(len(order), differences, draws)
    standings = {
        method: Standing(
            rank=1 + sum(value > oriented[method] for value in oriented.values()),
            interval=intervals[place],
            to_leader=paired.difference(method, order[0]) if place else None,
            to_above=paired.difference(method, order[place - 1]) if place else None,
        )
        for place, method in enumerate(order)
    }
    needed = None
    if pairs and _difference(differences[0], draws[0]):
        needed = models_needed(differences[0], draws[0], int(paired.common(pairs[0]).sum()))
    return Ranking(standings, needed)


def _values_and_draws(score: Score) -> list[tuple[float, np.ndarray]]:
    values = (math.nan if entry.value is None else entry.value for entry in score.entries)
    return list(zip(values, score.draws, strict=True))


def _rank_intervals(methods: int, differences: np.ndarray, draws: np.ndarray) -> list[tuple[int, int]]:
    try:
        return rank_intervals(methods, differences, draws)
    except ScoreError:  # there are no two draws in which all scores exist, so nothing separates the methods
        return [(1, methods)] * methods


def _difference(value: float, draws: np.ndarray) -> Difference | None:
    if np.isnan(value) or np.isnan(draws).all():
        return None
    central = interval(draws)
    return Difference(float(value), central.low, central.high)
