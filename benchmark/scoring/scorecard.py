"""All scores of one table's methods, each with what it takes to judge it: interval, noise floor and sign flip.

A score that does not exist for these models, or whose inputs were not given, is undefined with the reason, and never
takes others along. Ranks and ties follow from the draws, which all scores and methods share (``comparison``,
``bootstrap.interval``).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmark.scoring import ScoreError, finite
from benchmark.scoring.bootstrap import DRAWS, bootstrap_tau, interval, resample, stacked
from benchmark.scoring.conditional_mi import bootstrap_conditional_mi, conditional_mi
from benchmark.scoring.floors import MEASURES, NoiseFloor, random_measures
from benchmark.scoring.granulated import bootstrap_granulated, granulated_tau
from benchmark.scoring.grid import codes_of, encoded, labels, varied
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import Regressor, residuals
from benchmark.scoring.pgdl import bootstrap_pgdl, pgdl_score
from benchmark.scoring.regression import (
    FOLDS,
    bootstrap_mae,
    bootstrap_r2,
    linear_fit,
    mean_absolute_error,
    squared_correlation,
)
from benchmark.scoring.robust import bootstrap_robust, robust_sign_error

MINIMUM_MODELS = 3
# A score that fewer of the draws have gets no interval, and is undefined: those that have it are no random ones.
MINIMUM_DRAWN = 0.5
# K and pgdl look at all pairs of models in every draw; beyond this many models they take fewer draws.
MANY_MODELS = 500
FEWER_DRAWS = 200
# Methods that are scored together: what they share is little then, and progress is told often.
TOGETHER = 8


class NotGiven(ScoreError):
    """The score needs an input that was not given, whatever the prediction."""


@dataclass(frozen=True)
class Entry:
    """One method's value of one score.

    Attributes:
        value: over the models the method is defined for; None where it has none, ``undefined`` says why.
        low, high: 95 % interval from the bootstrap by configuration; None without a value.
        flipped: the score of the negated prediction, another floor; None without a value, and for MAE.
        coverage: share of all models that the method is defined for.
        detail: what else the score says, by name; see ``SCORES``.
    """

    value: float | None
    low: float | None
    high: float | None
    flipped: float | None
    coverage: float
    detail: dict[str, Any]
    undefined: str | None = None

    def named_detail(self, hyperparameters: Sequence[str]) -> dict[str, Any]:
        """``detail`` with these names of the hyperparameters for their columns."""
        named = dict(self.detail)
        for part in named.keys() & {"psi", "cells"}:
            named[part] = dict(zip(hyperparameters, named[part], strict=True))
        if "hyperparameters" in named:
            named["hyperparameters"] = [hyperparameters[column] for column in named["hyperparameters"]]
        return named


@dataclass(frozen=True, eq=False)
class Score:
    """One score of all E methods.

    Attributes:
        entries: in the order of the predictions.
        floor: of random measures on all models; None where the score is undefined for all models, or not asked for.
        draws: float64 [E, D], NaN for a method without a value. Of two scores, draw d is of the same models.
    """

    name: str
    lower_is_better: bool
    entries: tuple[Entry, ...]
    floor: NoiseFloor | None
    draws: np.ndarray

    @property
    def undefined(self) -> str | None:
        """Why no method has this score, the most frequent of the reasons; None where one has it."""
        reasons = Counter(entry.undefined for entry in self.entries)
        return None if None in reasons or not reasons else reasons.most_common(1)[0][0]


def scorecard(
    predictions: np.ndarray,
    target: np.ndarray,
    hyperparameters: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    test_examples: int | None = None,
    regressor: Regressor | None = None,
    scores: Sequence[str] | None = None,
    draws: int = DRAWS,
    measures: int = MEASURES,
    seed: int = 0,
    progress: Callable[[str, int], object] = lambda name, done: None,
) -> dict[str, Score]:
    """The scores asked for, by name, in that order.

    A method that is undefined for some models is scored on the others. If these form no grid any more, the scores
    that need one are undefined for it.

    K and pgdl take 200 draws where there are more than 500 models, the first of the other scores'. On one core all
    scores of 15 methods on 96 models take 6 s. On 2,187 models in 7 hyperparameters K and pgdl take about 1 s for each
    method and 16 s for the noise floor.

    Args:
        predictions: [E, n], NaN where a method is undefined, oriented like the target.
        target: [n]. For ``robust`` and ``mae`` as fractions; ``mae`` is of predictions on the target's own scale.
        hyperparameters: [n, K], values of any kind, equal rows for runs that differ in their seed. Without them psi, K,
            pgdl, robust and partial are undefined. What partial's regressor sees are the columns of numbers as they
            are, and the others with a column of 0 and 1 for each value.
        clusters: [n] labels of the configurations that are resampled together; None for the rows of
            ``hyperparameters``, or for one model each where these are not given or all equal.
        test_examples: how many examples the target was measured on; None leaves robust undefined.
        regressor: None leaves partial undefined.
        scores: names from ``SCORES``; None for all.
        draws: of the bootstrap. measures: random ones for the noise floors; 0 leaves these out.
        progress: is called with the name of a score and how many more methods have it: with 0 as it is begun.

    Raises:
        ScoreError: nothing can be scored: a target that is not finite or does not vary, fewer than 3 models or 2
            configurations, infinite predictions, hyperparameters that are NaN, wrong shapes, an unknown score.
    """
    names = list(SCORES) if scores is None else list(scores)
    if unknown := [name for name in names if name not in SCORES]:
        raise ScoreError(f"there is no score {unknown[0]!r}; the scores are {', '.join(SCORES)}")
    target = finite(target, "target")
    predictions = stacked(predictions, len(target))
    if len(target) < MINIMUM_MODELS:
        raise ScoreError(f"{len(target)} models; a score needs at least {MINIMUM_MODELS}")
    if np.ptp(target) == 0:
        raise ScoreError(f"the target is {target[0]} for all {len(target)} models, so there is no order to predict")
    codes = None if hyperparameters is None else codes_of(hyperparameters, len(target))
    if clusters is None:
        clusters = np.arange(len(target)) if codes is None or not len(varied(codes)) else labels(codes)
    weights = resample(len(target), clusters, draws, seed)
    table = _Table(target, hyperparameters, codes, clusters, weights, test_examples, regressor, draws, seed)
    noise = random_measures(len(target), measures, seed)
    return {name: _score(name, table, predictions, noise, progress) for name in names}


@dataclass(frozen=True, eq=False)
class _Table:
    target: np.ndarray
    hyperparameters: np.ndarray | None
    codes: np.ndarray | None
    clusters: np.ndarray
    weights: np.ndarray
    test_examples: int | None
    regressor: Regressor | None
    draws: int
    seed: int

    @property
    def sampling(self) -> tuple[np.ndarray, int, int]:
        return self.clusters, self.draws, self.seed

    def grid(self) -> np.ndarray:
        """The codes [n, K] of the hyperparameters."""
        if self.codes is None:
            raise NotGiven("no hyperparameters were given")
        return self.codes

    def features(self) -> np.ndarray:
        """Hyperparameters as a regressor takes them, float64 [n, F]."""
        codes = self.grid()
        return encoded(np.asarray(self.hyperparameters), codes)


class _Evaluation(NamedTuple):
    """Of e methods: values and details, values of the negated predictions, and draws [e, D]."""

    points: list[tuple[float, dict[str, Any]]]
    flipped: Sequence[float | None]
    draws: np.ndarray


class _Kind(NamedTuple):
    """How a score is had from a table.

    Attributes:
        evaluate: of the table, the models bool [n] to look at, and predictions [e, n] that are NaN elsewhere.
        chance: of the table and random measures [m, n]: the scores of these.
    """

    evaluate: Callable[[_Table, np.ndarray, np.ndarray], _Evaluation]
    chance: Callable[[_Table, np.ndarray], Sequence[float] | np.ndarray]
    lower_is_better: bool = False


def _score(
    name: str, table: _Table, predictions: np.ndarray, noise: np.ndarray, progress: Callable[[str, int], object]
) -> Score:
    kind = SCORES[name]
    entries: dict[int, Entry] = {}
    rows = {}
    done = 0
    for models, members in _batches(~np.isnan(predictions)):
        progress(name, done)
        done = len(members)
        coverage = float(models.mean())
        try:
            if models.sum() < MINIMUM_MODELS:
                raise ScoreError(f"defined for {models.sum()} models, of at least {MINIMUM_MODELS}")
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at below
                points, flipped, draws = kind.evaluate(table, models, predictions[members])
        except ScoreError as error:
            reason = str(error).removeprefix("undefined: ")
            if 0 < coverage < 1 and not isinstance(error, NotGiven):
                reason += f" (on the {models.sum()} of {len(models)} models it is defined for)"
            entries |= dict.fromkeys(members.tolist(), _undefined(coverage, reason))
            continue
        for method, (value, detail), opposite, draw in zip(members.tolist(), points, flipped, draws, strict=True):
            drawn = int(np.isfinite(draw).sum())
            if not np.isfinite(value):
                entries[method] = _undefined(coverage, "the predictions are too large to be squared or summed")
            elif drawn < MINIMUM_DRAWN * len(draw):
                entries[method] = _undefined(coverage, f"it exists in {drawn} of {len(draw)} bootstrap draws alone")
            else:
                central = interval(draw)
                detail = {part: None if _infinite(what) else what for part, what in detail.items()}
                entries[method] = Entry(value, central.low, central.high, opposite, coverage, detail)
                rows[method] = draw
    progress(name, done)
    try:
        floor = NoiseFloor.of(kind.chance(table, noise), kind.lower_is_better) if len(noise) else None
    except ScoreError:
        floor = None
    length = len(next(iter(rows.values()), np.empty(table.draws)))
    draws = np.array([rows.get(method, np.full(length, np.nan)) for method in range(len(predictions))])
    in_order = tuple(entries[method] for method in range(len(predictions)))
    return Score(name, kind.lower_is_better, in_order, floor, draws.reshape(-1, length))


def _batches(defined: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some models bool [n] and methods who are defined for these, and for no others, of ``defined`` [E, n]."""
    patterns, pattern_of = np.unique(defined, axis=0, return_inverse=True)
    for number, models in enumerate(patterns):
        members = np.flatnonzero(pattern_of == number)
        for start in range(0, len(members), TOGETHER):
            yield models, members[start : start + TOGETHER]


def _undefined(coverage: float, reason: str) -> Entry:
    return Entry(None, None, None, None, coverage, {}, reason)


def _infinite(what: Any) -> bool:
    return isinstance(what, float) and not np.isfinite(what)


def _tau(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    return _taus(predictions, table.target, models, table)


def _taus(predictions: np.ndarray, target: np.ndarray, models: np.ndarray, table: _Table) -> _Evaluation:
    taus = [kendall_tau(prediction[models], target[models]) for prediction in predictions]
    return _Evaluation(
        [(tau.value, {"prediction_ties": tau.prediction_ties, "flags": tau.flags}) for tau in taus],
        [0 - tau.value for tau in taus],
        bootstrap_tau(predictions, target, *table.sampling),
    )


def _psi(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    given = predictions[:, models], table.target[models], table.grid()[models]
    scores = granulated_tau(*given)
    return _Evaluation(
        [(score.value, {"psi": score.psi, "cells": score.cells}) for score in scores],
        [0 - score.value for score in scores],
        bootstrap_granulated(*given, table.weights[models]),
    )


def _k(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    given = predictions[:, models], table.target[models], table.grid()[models]
    scores = conditional_mi(*given)
    return _Evaluation(
        [(score.value, {"hyperparameters": score.hyperparameters}) for score in scores],
        [score.value for score in scores],
        bootstrap_conditional_mi(*given, _fewer(table, models)),
    )


def _pgdl(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    target, codes = table.target[models], table.grid()[models]
    scores = pgdl_score(predictions[:, models], target, codes)
    return _Evaluation(
        [(score.value, {"hyperparameters": score.hyperparameters}) for score in scores],
        [score.value for score in pgdl_score(-predictions[:, models], target, codes)],
        bootstrap_pgdl(predictions[:, models], target, codes, _fewer(table, models)),
    )


def _fewer(table: _Table, models: np.ndarray) -> np.ndarray:
    return table.weights[models, : FEWER_DRAWS if len(models) > MANY_MODELS else None]


def _robust(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    given = table.target[models], table.grid()[models], _examples(table)
    scores = robust_sign_error(predictions[:, models], *given)
    means, percentiles = bootstrap_robust(predictions[:, models], *given, table.weights[models])
    points = []
    for score, draws in zip(scores, percentiles, strict=True):
        central = interval(draws)
        detail = {
            "p90": score.p90,
            "p90_low": central.low,
            "p90_high": central.high,
            "maximum": score.maximum,
            "environments": score.environments,
            "candidates": score.candidates,
        }
        points.append((score.mean, detail))
    return _Evaluation(points, [score.mean for score in robust_sign_error(-predictions[:, models], *given)], means)


def _examples(table: _Table) -> int:
    if table.test_examples is None:
        raise NotGiven("no number of test examples was given")
    return table.test_examples


def _partial(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    rest, target = np.full(predictions.shape, np.nan), np.zeros(len(models))
    rest[:, models], target[models] = residuals(
        predictions[:, models],
        table.target[models],
        table.features()[models],
        _regressor(table),
        _folds(labels(table.grid()[models])),
        table.seed,
    )
    # Of a regressor that is odd in its target, as least squares and trees are, the flip is exact.
    return _taus(rest, target, models, table)


def _partial_chance(table: _Table, noise: np.ndarray) -> list[float]:
    """A random measure is its own residual: the hyperparameters explain nothing of it."""
    folds = _folds(labels(table.grid()))
    _, target = residuals(noise[:0], table.target, table.features(), _regressor(table), folds, table.seed)
    return [kendall_tau(measure, target).value for measure in noise]


def _regressor(table: _Table) -> Regressor:
    if table.regressor is None:
        raise NotGiven("no regressor was given")
    return table.regressor


def _r2(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    folds = _folds(table.clusters[models])
    fits = [
        linear_fit(prediction[models, None], table.target[models], table.clusters[models], folds, table.seed)
        for prediction in predictions
    ]
    return _Evaluation(
        [(fit.r2, {"adjusted_r2": fit.adjusted_r2, "fold_r2": fit.fold_r2}) for fit in fits],
        [fit.r2 for fit in fits],
        bootstrap_r2(predictions, table.target, *table.sampling),
    )


def _folds(configurations: np.ndarray) -> int:
    """As many as there usually are, or one for each configuration where these are fewer."""
    return min(FOLDS, len(np.unique(configurations)))


def _r2_chance(table: _Table, noise: np.ndarray) -> np.ndarray:
    once = np.ones((len(table.target), 1))
    return np.array([squared_correlation(measure, table.target, once)[0] for measure in noise])


def _mae(table: _Table, models: np.ndarray, predictions: np.ndarray) -> _Evaluation:
    values = [mean_absolute_error(prediction[models], table.target[models]) for prediction in predictions]
    return _Evaluation(
        [(value, {}) for value in values],
        [None] * len(values),
        bootstrap_mae(predictions, table.target, *table.sampling),
    )


def _mae_chance(table: _Table, noise: np.ndarray) -> list[float]:
    """A random measure on the target's scale: the targets themselves, each given to some other model."""
    return [mean_absolute_error(table.target[np.argsort(measure)], table.target) for measure in noise]


def _values(scores: Sequence[Any]) -> list[float]:
    return [score.value for score in scores]


# What a score's detail holds:
#   tau, partial  prediction_ties, flags
#   psi           psi and cells, one of each per hyperparameter
#   k, pgdl       hyperparameters, the columns of the set that attains the minimum
#   robust        p90 with p90_low and p90_high, maximum, environments, candidates; the value is the mean
#   r2            adjusted_r2, fold_r2
#   mae           nothing; in accuracy points
SCORES = {
    "tau": _Kind(_tau, lambda table, noise: [kendall_tau(measure, table.target).value for measure in noise]),
    "psi": _Kind(_psi, lambda table, noise: _values(granulated_tau(noise, table.target, table.grid()))),
    "k": _Kind(_k, lambda table, noise: _values(conditional_mi(noise, table.target, table.grid()))),
    "pgdl": _Kind(_pgdl, lambda table, noise: _values(pgdl_score(noise, table.target, table.grid()))),
    "robust": _Kind(
        _robust,
        lambda table, noise: [
            score.mean for score in robust_sign_error(noise, table.target, table.grid(), _examples(table))
        ],
        lower_is_better=True,
    ),
    "partial": _Kind(_partial, _partial_chance),
    "r2": _Kind(_r2, _r2_chance),
    "mae": _Kind(_mae, _mae_chance, lower_is_better=True),
}
