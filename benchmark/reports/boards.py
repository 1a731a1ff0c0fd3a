"""Records to boards: the methods that are compared, in order, with their ranks.

The records of one population (``Record.population``: task, task version, weights and split) make a board for each
access level that one of its methods reads. A board shows the methods of its own level and of all levels below it, and
every control. Methods are ordered by the headline score of their task; every stored prediction is oriented like the
target. Controls and methods with low coverage are listed in their place without a rank. ``benchmark.scoring.ranking``
compares them.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd

from baselines.levels import ACCESS
from benchmark.records import Record
from benchmark.reports.verified import verified_predictions
from benchmark.scoring.bootstrap import DRAWS, resample
from benchmark.scoring.comparison import MINIMUM_COVERAGE
from benchmark.scoring.ranking import Difference, PairedScores, rank
from benchmark.scoring.scorecard import Score, fewer_for_many, scorecard
from benchmark.scoring.scores import SCORES
from benchmark.scoring.subsets import TauOnSubsets
from zoo_builder.errors import InputError
from zoo_builder.processes import pool

# As many take about as long as the start of a process.
RECORDS_PER_WORKER = 30
# The status, on a board, of a record whose predictions cannot be read or are of other models.
NOT_READ = "not read"


@dataclass(frozen=True)
class Row:
    """A scored method on a board.

    Attributes:
        rank: 1 is best; None for a method that is not ranked for the reason in ``unranked``.
        rank_interval: best and worst rank, see ``ranking.Standing``; None without a rank.
        to_leader: against the best ranked method; None for the leader, and where the two cannot be compared.
        to_above: against the next better ranked method; None without a rank, and as for ``to_leader``.
    """

    record: Record
    rank: int | None
    rank_interval: tuple[int, int] | None
    to_leader: Difference | None
    to_above: Difference | None

    @property
    def unranked(self) -> str | None:
        return _unranked(self.record)

    @property
    def headline(self) -> dict:
        """The score that orders the board, with its interval."""
        return self.record.scores[self.record.headline]


@dataclass(frozen=True)
class Board:
    """The scored methods that read no more than ``access``, the best first, and the controls."""

    access: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Population:
    """One task on one zoo.

    Attributes:
        head: the record whose task, target, noise floors and ceilings are shown.
        scored: the scored methods, best first.
        unscored: the other methods, by name; those without usable predictions have the status ``NOT_READ``.
        models: the test models in one order: model_id, configuration, target; empty where no method was scored.
        predictions: float64 [E, n], of ``scored`` for ``models``, NaN where undefined.
        boards: by access level, the lowest first.
    """

    head: Record
    scored: tuple[Record, ...]
    unscored: tuple[Record, ...]
    models: pd.DataFrame
    predictions: np.ndarray
    boards: tuple[Board, ...]


def populations(
    records: Iterable[Record], progress: Callable[[int], object] = lambda done: None, workers: int = 1
) -> list[Population]:
    """The boards of all records, by zoo, weights and task.

    The headline score of every record is computed again from its predictions; a record that says something else is not
    scored. Records of one population that disagree on its models, their targets or the headline score are not compared:
    those that most records agree with are scored.

    Args:
        progress: called with the number of records that were compared since the last call.
        workers: processes, each of which compares one population at a time. They are spawned, and fewer where there are
            few records.

    Raises:
        InputError: a worker process was killed.
    """
    groups = by_population(records)
    workers = min(workers, len(groups), sum(map(len, groups)) // RECORDS_PER_WORKER)
    if workers < 2:
        found = []
        for group in groups:
            found.append(_population(group))
            progress(len(group))
        return found
    largest_first = sorted(range(len(groups)), key=lambda number: -len(groups[number]) * groups[number][0].models)
    compared = {}
    try:
        with pool(workers) as processes:
            futures = {processes.submit(_population, groups[number]): number for number in largest_first}
            for future in as_completed(futures):
                number = futures[future]
                compared[number] = future.result()
                progress(len(groups[number]))
    except BrokenProcessPool as error:
        raise InputError(
            "a process that compared records was killed (out of memory?): run the command again"
        ) from error
    return [compared[number] for number in range(len(groups))]


def by_population(records: Iterable[Record]) -> list[list[Record]]:
    """Groups of comparable records, by zoo, weights, task and method; the methods of a group have different names."""
    labeled = (replace(record, method=record.label or record.method) for record in records)
    ordered = sorted(labeled, key=lambda record: (record.zoo, record.weights_hash, record.population, record.method))
    return [list(group) for _, group in groupby(ordered, key=lambda record: record.population)]


def scored_records(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.status == "ok" and record.headline in record.scores]


def best_first(record: Record) -> tuple[float, str]:
    """Sort key: the headline score, better ones first, then the method's name."""
    value = record.scores[record.headline]["value"]
    return (value if SCORES[record.headline].lower_is_better else -value), record.method


def head_of(records: Iterable[Record]) -> Record:
    """The first record with the highest coverage: the most complete predictions of a population's models."""
    return max(records, key=lambda record: record.coverage)


def _population(records: list[Record]) -> Population:
    held, left_out = _predictions(sorted(scored_records(records), key=best_first))
    scored = [record for record, _ in held]
    used = {record.method for record in (*scored, *left_out)}
    others = [record for record in records if record.method not in used] + left_out
    unscored = tuple(sorted(others, key=lambda record: record.method))
    head = head_of(scored or records)
    if not scored:
        nothing = pd.DataFrame(columns=["model_id", "configuration", "target"])
        return Population(head, (), unscored, nothing, np.empty((0, 0)), ())
    models = held[scored.index(head)][1][["model_id", "configuration", "target"]]
    in_order = [pd.Index(frame["model_id"]).get_indexer(models["model_id"]) for _, frame in held]
    predictions = np.stack(
        [frame["prediction"].to_numpy()[rows] for (_, frame), rows in zip(held, in_order, strict=True)]
    )
    return Population(head, tuple(scored), unscored, models, predictions, _boards(scored, predictions, models))


def _predictions(scored: list[Record]) -> tuple[list[tuple[Record, pd.DataFrame]], list[Record]]:
    """The records of one population with their predictions, and those that cannot be compared, with the reason."""
    held, left_out = [], []
    for record in scored:
        try:
            held.append((record, verified_predictions(record)))
        except InputError as error:
            left_out.append(replace(record, status=NOT_READ, reason=str(error)))
    speaks_of = [(record.headline, _models(frame)) for record, frame in held]
    if len(set(speaks_of)) > 1:
        most = max(speaks_of, key=Counter(speaks_of).__getitem__)
        reason = f"its models, targets or headline score differ from those of {speaks_of.count(most)} other records"
        odd = [record for (record, _), said in zip(held, speaks_of, strict=True) if said != most]
        left_out += [replace(record, status=NOT_READ, reason=f"{reason}: run it again") for record in odd]
        held = [each for each, said in zip(held, speaks_of, strict=True) if said == most]
    return held, left_out


def _models(frame: pd.DataFrame) -> str:
    """A hash of the models of a table of predictions and of their targets, whatever their order."""
    names = frame["model_id"].to_numpy()
    order = np.argsort(names)
    said = "\n".join(names[order]).encode() + frame["target"].to_numpy(np.float64)[order].tobytes()
    return hashlib.sha256(said).hexdigest()


def _boards(records: Sequence[Record], predictions: np.ndarray, models: pd.DataFrame) -> tuple[Board, ...]:
    """The boards of some scored records, which share what is computed for their comparisons."""
    paired = _paired(records[0].headline, predictions, models)
    levels = {record.access for record in records if not record.control} or {head_of(records).access}
    known = list(ACCESS)
    ordered = sorted(levels, key=lambda level: (known.index(level) if level in ACCESS else len(known), level))
    return tuple(_board(level, records, paired) for level in ordered)


def _paired(name: str, predictions: np.ndarray, models: pd.DataFrame) -> PairedScores:
    target, clusters = models["target"].to_numpy(), models["configuration"].to_numpy()
    if name == "tau":
        weights = resample(len(target), clusters, fewer_for_many(len(target), DRAWS))
        paired = PairedScores(predictions, TauOnSubsets(predictions, target, weights))
        paired.own()
        return paired

    def rescore(some: np.ndarray) -> Score:
        return scorecard(some, target, clusters=clusters, scores=[name], random_measures=0)[name]

    return PairedScores.of(predictions, rescore(predictions), rescore)


def _board(access: str, records: Sequence[Record], paired: PairedScores) -> Board:
    shown = [number for number, record in enumerate(records) if record.control or _within(record.access, access)]
    values = [record.scores[record.headline]["value"] for record in records]
    ranking = rank(paired, values, [number for number in shown if _unranked(records[number]) is None])
    rows = []
    for number in shown:
        if standing := ranking.standings.get(number):
            rows.append(Row(records[number], standing.rank, standing.interval, standing.to_leader, standing.to_above))
        else:
            to_leader = None if ranking.leader is None else paired.difference(number, ranking.leader)
            rows.append(Row(records[number], None, None, to_leader, None))
    return Board(access, tuple(rows))


def _within(access: str, level: str) -> bool:
    """Whether ``level`` allows all that ``access`` does; a level of another version of gengap compares to no other."""
    return access == level or (access in ACCESS and level in ACCESS and ACCESS[access] <= ACCESS[level])


def _unranked(record: Record) -> str | None:
    if record.control:
        return "control"
    if record.coverage < MINIMUM_COVERAGE:
        return "low coverage"
    return None
