"""The scores of all methods on the same models, each with its interval, noise floor and sign flip.

A score that does not exist for these models, or whose inputs were not given, is undefined with a reason; the other
scores are unaffected. All scores and methods share the bootstrap draws, from which rankings follow (``ranking``).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.scoring import ScoreError, finite, floors
from benchmark.scoring.bootstrap import DRAWS, interval, partly_defined, resample
from benchmark.scoring.floors import RANDOM_MEASURES, NoiseFloor
from benchmark.scoring.grid import codes_of, labels, varied
from benchmark.scoring.scores import SCORES, Models, ScoreDefinition

MINIMUM_MODELS = 3
# A score that exists in fewer of the draws is undefined: the draws in which it exists are not a random sample.
MINIMUM_DRAWN = 0.5
# Methods that are scored together. Larger chunks would share little more, and progress is reported per chunk.
METHOD_CHUNK = 8
# Beyond this many models the intervals and floors are so narrow that fewer draws and random measures suffice.
VAST = 20_000
VAST_DRAWS = 200
VAST_METHOD_CHUNK = 1


@dataclass(frozen=True)
class Entry:
    """One method's value of one score.

    Attributes:
        value: over the models the method is defined for; None where it is undefined for the reason in ``undefined``.
        low, high: 95 % interval from the bootstrap by configuration; None without a value.
        flipped: the score of the negated prediction, a second noise floor; None without a value, and for MAE.
        coverage: share of all models that the method is defined for.
        detail: more about the value, by name; see the functions in ``scores``.
    """

    value: float | None
    low: float | None
    high: float | None
    flipped: float | None
    coverage: float
    detail: dict[str, Any]
    undefined: str | None = None

    @property
    def flip_differs(self) -> bool:
        """Whether ``flipped`` is another number than -v, v or 1 - v of the value v, from which it would be known."""
        value, flipped = self.value, self.flipped
        if value is None or flipped is None:
            return False
        return min(abs(flipped + value), abs(flipped - value), abs(flipped - (1 - value))) > 1e-9

    def named_detail(self, hyperparameters: Sequence[str]) -> dict[str, Any]:
        """``detail`` with the names of the hyperparameters in place of their columns."""
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
        floor: of random measures on all models; None where the score is undefined for all models, or not requested.
        draws: float64 [E, D], NaN for a method without a value. Draw d of every score resamples the same models.
    """

    definition: ScoreDefinition
    entries: tuple[Entry, ...]
    floor: NoiseFloor | None
    draws: np.ndarray

    @property
    def undefined(self) -> str | None:
        """Why no method has this score, the most frequent of the reasons; None where at least one method has it."""
        reasons = Counter(entry.undefined for entry in self.entries)
        return None if None in reasons or not reasons else reasons.most_common(1)[0][0]


def scorecard(
    predictions: np.ndarray,
    target: np.ndarray,
    hyperparameters: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    test_examples: int | None = None,
    architectures: np.ndarray | None = None,
    scores: Sequence[str] | None = None,
    draws: int = DRAWS,
    random_measures: int = RANDOM_MEASURES,
    random_by: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[str, int], object] = lambda name, done: None,
) -> dict[str, Score]:
    """The requested scores by name, in that order.

    A method that is undefined for some models is scored on the others. Where these no longer form a grid, the scores
    that need a grid are undefined for that method.

    K and pgdl use 200 draws for more than 500 models, the first 200 of the other scores' draws. For more than 20,000
    models all scores use at most 200 draws and 200 random measures. On one core all scores
    of 15 methods on 96 models take 6 s. On 2,187 models in 7 hyperparameters K and pgdl take about 1 s per method and
    16 s for the noise floor.

    Args:
        predictions: [E, n], NaN where a method is undefined, oriented like the target.
        target: [n]. As fractions for ``robust`` and ``mae``; ``mae`` needs predictions on the target's own scale.
        hyperparameters: [n, K], values of any kind, equal rows for runs that differ only in their seed. Without them
            psi, psi-within, K, pgdl, robust and partial are undefined.
        clusters: [n] labels of the configurations that are resampled together; None for the rows of
            ``hyperparameters``, or for one model each where these are not given or all equal.
        test_examples: how many examples the target was measured on; None leaves robust undefined.
        architectures: [n] labels; without them tau-within and psi-within are undefined.
        scores: names from ``SCORES``; None for all.
        draws: number of bootstrap draws, at most 200 of which are used for more than 20,000 models.
        random_measures: number of random measures behind the noise floors, likewise; 0 for no floors.
        random_by: [n] labels of models that share a value of every random measure; None for the configurations.
        progress: called with the name of a score and the number of methods that were finished since the last call; 0
            when a score begins.

    Raises:
        ScoreError: nothing can be scored: a target that is not finite or does not vary, fewer than 3 models or 2
            configurations, infinite predictions, hyperparameters that are NaN, wrong shapes, an unknown score.

    >>> scorecard(np.array([[1.0, 2, 4, 3]]), np.array([0.1, 0.2, 0.3, 0.4]), scores=["tau"])["tau"].entries[0].value
    0.6666666666666666
    """
    names = list(SCORES) if scores is None else list(scores)
    if unknown := [name for name in names if name not in SCORES]:
        raise ScoreError(f"there is no score {unknown[0]!r}; the scores are {', '.join(SCORES)}")
    target = finite(target, "target")
    n = len(target)
    predictions = partly_defined(predictions, n)
    if n < MINIMUM_MODELS:
        raise ScoreError(f"{n} models; a score needs at least {MINIMUM_MODELS}")
    if np.ptp(target) == 0:
        raise ScoreError(f"the target is {target[0]} for all {n} models, so there is no order to predict")
    codes = np.empty((n, 0), dtype=np.int64) if hyperparameters is None else codes_of(hyperparameters, n)
    draws, random_measures = fewer_for_many(n, draws), fewer_for_many(n, random_measures)
    if clusters is None:
        clusters = labels(codes) if len(varied(codes)) else np.arange(n)
    weights = resample(n, clusters, draws, seed)
    models = Models(target, hyperparameters, codes, clusters, weights, test_examples, architectures, seed)
    noise = floors.random_measures(clusters if random_by is None else random_by, random_measures, seed)
    return {name: _score(SCORES[name], models, predictions, noise, progress) for name in names}


def fewer_for_many(models: int, draws: int) -> int:
    """``draws``, or the fewer that suffice for so many models."""
    return min(draws, VAST_DRAWS) if models > VAST else draws


def _score(
    definition: ScoreDefinition,
    models: Models,
    predictions: np.ndarray,
    noise: np.ndarray,
    progress: Callable[[str, int], object],
) -> Score:
    entries: dict[int, Entry] = {}
    draws: dict[int, np.ndarray] = {}
    done = 0
    for rows, members in _chunks(~np.isnan(predictions)):
        progress(definition.name, done)
        done = len(members)
        evaluated = _evaluated(definition, models, rows, predictions[members])
        for method, (entry, draw) in zip(members.tolist(), evaluated, strict=True):
            entries[method] = entry
            if draw is not None:
                draws[method] = draw
    progress(definition.name, done)
    length = len(next(iter(draws.values()), models.weights[0]))
    methods = range(len(predictions))
    return Score(
        definition,
        tuple(entries[method] for method in methods),
        _floor(definition, models, noise),
        np.array([draws.get(method, np.full(length, np.nan)) for method in methods]).reshape(-1, length),
    )


def _chunks(defined: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows bool [n] of the models, and methods that are defined on exactly these models, from ``defined`` [E, n]."""
    size = METHOD_CHUNK if defined.shape[1] <= VAST else VAST_METHOD_CHUNK
    patterns, pattern_of = np.unique(defined, axis=0, return_inverse=True)
    for number, rows in enumerate(patterns):
        members = np.flatnonzero(pattern_of == number)
        for start in range(0, len(members), size):
            yield rows, members[start : start + size]


def _evaluated(
    definition: ScoreDefinition, models: Models, rows: np.ndarray, predictions: np.ndarray
) -> list[tuple[Entry, np.ndarray | None]]:
    """Entry and draws of each of some predictions [e, n] that are defined on the same models; no draws if undefined."""
    coverage = float(rows.mean())
    if missing := models.missing(definition.needs):
        return [(_undefined(coverage, missing), None)] * len(predictions)
    try:
        if rows.sum() < MINIMUM_MODELS:
            raise ScoreError(f"defined for {rows.sum()} models, of at least {MINIMUM_MODELS}")
        with np.errstate(over="ignore", invalid="ignore"):  # _entry looks at the result
            evaluation = definition.evaluate(models, rows, predictions)
    except ScoreError as error:
        reason = str(error).removeprefix("undefined: ")
        if 0 < coverage < 1:
            reason += f" (on the {rows.sum()} of {len(rows)} models it is defined for)"
        return [(_undefined(coverage, reason), None)] * len(predictions)
    return [_entry(*each, coverage) for each in zip(*evaluation, strict=True)]


def _entry(
    point: tuple[float, dict[str, Any]], flipped: float | None, draws: np.ndarray, coverage: float
) -> tuple[Entry, np.ndarray | None]:
    value, detail = point
    drawn = int(np.isfinite(draws).sum())
    if not np.isfinite(value):
        return _undefined(coverage, "the predictions are too large to be squared or summed"), None
    if drawn < MINIMUM_DRAWN * len(draws):
        return _undefined(coverage, f"it exists in only {drawn} of {len(draws)} bootstrap draws"), None
    central = interval(draws)
    detail = {part: None if _infinite(what) else what for part, what in detail.items()}
    return Entry(value, central.low, central.high, flipped, coverage, detail), draws


def _undefined(coverage: float, reason: str) -> Entry:
    return Entry(None, None, None, None, coverage, {}, reason)


def _infinite(what: Any) -> bool:
    return isinstance(what, float) and not np.isfinite(what)


def _floor(definition: ScoreDefinition, models: Models, noise: np.ndarray) -> NoiseFloor | None:
    if not len(noise) or models.missing(definition.needs):
        return None
    try:
        return NoiseFloor.of(definition.chance(models, noise), definition.lower_is_better)
    except ScoreError:
        return None
