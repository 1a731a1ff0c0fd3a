"""Records to boards: who is compared with whom, ranks, rank intervals and statistical ties.

A board holds the records that share task, task version, weights and split. Methods are ordered by tau; every stored
prediction is oriented like the target, so a larger tau is better. Controls and methods that are defined on too few
models stand in their place without a rank. Two methods are compared on the models that both define, by the paired
bootstrap over configurations; they are a statistical tie where the interval of the difference contains 0. With 95 %
probability the rank intervals of a board hold all true ranks at once.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np
import pandas as pd

from benchmark.records import Record
from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import DRAWS, bootstrap_tau, interval
from benchmark.scoring.comparison import MINIMUM_COVERAGE, ranks_of_differences
from benchmark.scoring.kendall import kendall_tau
from zoo_builder.errors import InputError


@dataclass(frozen=True)
class Difference:
    """tau of one method minus tau of another, on the models both define, with its central 95 % of paired draws."""

    value: float
    low: float
    high: float

    @property
    def tie(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True, eq=False)
class Row:
    """A scored method on its board.

    Attributes:
        rank: 1 is best, equal taus share a rank; None for a method that is not ranked, `unranked` says why.
        rank_interval: best and worst rank, see ``comparison.rank_intervals``; None without a rank.
        to_leader: against the first rank; None for the leader itself, or where the two have no common tau.
        to_above: against the next better ranked method; None without a rank or for the leader.
        prediction: float64 [n] for the board's models, NaN where undefined.
    """

    record: Record
    rank: int | None
    rank_interval: tuple[int, int] | None
    to_leader: Difference | None
    to_above: Difference | None
    prediction: np.ndarray

    @property
    def unranked(self) -> str | None:
        return _unranked(self.record)


@dataclass(frozen=True, eq=False)
class Board:
    """One task on one population.

    Attributes:
        key: (task, weights hash, task version, split hash).
        head: the record that speaks for what all share (target, orientation, noise floor, tie ceiling).
        rows: scored methods by falling tau.
        unscored: the others, by name.
        models: the test models in one order: model_id, configuration, target; empty where nothing was scored.
    """

    key: tuple[str, str, int, str]
    head: Record
    rows: tuple[Row, ...]
    unscored: tuple[Record, ...]
    models: pd.DataFrame


def boards(records: Iterable[Record]) -> list[Board]:
    """One board per group of comparable records, by zoo, weights and task.

    Raises InputError where two records of one board disagree about its models or their targets.
    """
    return [_board(group) for group in by_board(records)]


def by_board(records: Iterable[Record]) -> list[list[Record]]:
    """Groups of comparable records, by zoo, weights, task and method."""
    ordered = sorted(records, key=lambda record: (record.zoo, record.weights_hash, record.population, record.method))
    return [list(group) for _, group in groupby(ordered, key=lambda record: record.population)]


def scored_ones(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.status == "ok" and "tau" in record.scores]


def head_of(records: Iterable[Record]) -> Record:
    """The floor and the ceiling are the task's own where the method that reports them is defined everywhere."""
    return max(records, key=lambda record: record.coverage)


def _board(records: list[Record]) -> Board:
    scored = sorted(scored_ones(records), key=lambda record: (-record.scores["tau"]["value"], record.method))
    unscored = tuple(record for record in records if record not in scored)
    key, head = records[0].population, head_of(scored or records)
    if not scored:
        return Board(key, head, (), unscored, pd.DataFrame(columns=["model_id", "configuration", "target"]))
    models = head.predictions()[["model_id", "configuration", "target"]]
    predictions = np.stack([_aligned(record, models, head) for record in scored])
    return Board(key, head, _rows(scored, predictions, models), unscored, models)


def _aligned(record: Record, models: pd.DataFrame, head: Record) -> np.ndarray:
    """The predictions of ``record`` in the order of ``models``, float64 [n]."""
    frame = record.predictions().set_index("model_id")
    if not frame.index.is_unique or set(frame.index) != set(models["model_id"]):
        raise InputError(f"{record.path} and {head.path} are on one board but hold different models; run both again")
    frame = frame.loc[models["model_id"]]
    if not np.array_equal(frame["target"].to_numpy(), models["target"].to_numpy()):
        raise InputError(f"{record.path} and {head.path} are on one board but hold different targets; run both again")
    return frame["prediction"].to_numpy(np.float64)


def _unranked(record: Record) -> str | None:
    if record.control:
        return "control"
    if record.coverage < MINIMUM_COVERAGE:
        return "low coverage"
    return None


def _rows(records: list[Record], predictions: np.ndarray, models: pd.DataFrame) -> tuple[Row, ...]:
    ranked = [index for index, record in enumerate(records) if _unranked(record) is None]
    with_leader = [(index, ranked[0]) for index in range(len(records)) if ranked and index != ranked[0]]
    paired = _PairedBootstrap(
        predictions,
        models["target"].to_numpy(),
        models["configuration"].to_numpy(),
        [*combinations(ranked, 2), *with_leader],
    )
    values = [records[index].scores["tau"]["value"] for index in ranked]
    intervals = dict(zip(ranked, paired.rank_intervals(ranked), strict=True))
    above = dict(zip(ranked[1:], ranked, strict=False))
    return tuple(
        Row(
            record=record,
            rank=1 + sum(value > record.scores["tau"]["value"] for value in values) if index in intervals else None,
            rank_interval=intervals.get(index),
            to_leader=paired.difference(index, ranked[0]) if ranked and index != ranked[0] else None,
            to_above=paired.difference(index, above[index]) if index in above else None,
            prediction=predictions[index],
        )
        for index, record in enumerate(records)
    )


class _PairedBootstrap:
    """Compares ``pairs`` of E methods on the models that both define, [E, n] predictions with NaN where undefined.

    All comparisons share the draws. Pairs that are defined on the same models also share the computation, so that
    most boards need one bootstrap only.
    """

    def __init__(
        self, predictions: np.ndarray, target: np.ndarray, clusters: np.ndarray, pairs: Iterable[tuple[int, int]]
    ):
        self.predictions, self.target, self.clusters = predictions, target, clusters
        self.defined = ~np.isnan(predictions)
        self._members: defaultdict[bytes, set[int]] = defaultdict(set)
        for first, second in pairs:
            self._members[(self.defined[first] & self.defined[second]).tobytes()] |= {first, second}
        self._draws: dict[bytes, dict[int, np.ndarray]] = {}

    def draws(self, first: int, second: int) -> np.ndarray:
        """tau(first) - tau(second), float64 [draws]."""
        common = self.defined[first] & self.defined[second]
        if (key := common.tobytes()) not in self._draws:
            members = list(self._members[key])
            predictions = np.where(common, self.predictions[members], np.nan)
            taus = bootstrap_tau(predictions, self.target, self.clusters)
            self._draws[key] = dict(zip(members, taus, strict=True))
        return self._draws[key][first] - self._draws[key][second]

    def difference(self, first: int, second: int) -> Difference | None:
        """None where the models that both define are too few, or too alike in target, to have a tau."""
        common = self.defined[first] & self.defined[second]
        try:
            taus = [
                kendall_tau(self.predictions[index, common], self.target[common]).value for index in (first, second)
            ]
            central = interval(self.draws(first, second))
        except ScoreError:
            return None
        return Difference(taus[0] - taus[1], central.low, central.high)

    def rank_intervals(self, methods: list[int]) -> list[tuple[int, int]]:
        """Best and worst rank of each of ``methods`` among them, all at once."""
        pairs = list(combinations(methods, 2))
        differences = [self.difference(*pair) for pair in pairs]
        draws = [self.draws(*pair) if difference else None for pair, difference in zip(pairs, differences, strict=True)]
        return ranks_of_differences(
            len(methods),
            np.array([difference.value if difference else np.nan for difference in differences]),
            np.array([np.full(DRAWS, np.nan) if draw is None else draw for draw in draws]).reshape(-1, DRAWS),
        )
