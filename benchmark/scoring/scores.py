"""The scores, one row each: the name of a score, how it is computed, and what reports need.

A new score is one row of ``SCORES``; the scorecard, rankings, boards, tables and pages read the row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmark.scoring import gaussian_process
from benchmark.scoring.bootstrap import bootstrap_tau, interval
from benchmark.scoring.conditional_mi import bootstrap_conditional_mi, conditional_mi
from benchmark.scoring.granulated import bootstrap_granulated, granulated_tau
from benchmark.scoring.grid import encoded
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.partial import residuals
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
from benchmark.scoring.within import architecture_share, axes_within, tau_within

# K and pgdl visit all pairs of models in every draw; beyond this many models they use fewer draws.
MANY_MODELS = 500
FEWER_DRAWS = 200

# What a score may need besides predictions and target -> why the score is undefined without it.
NEEDS = {
    "hyperparameters": "no hyperparameters were given",
    "test_examples": "no number of test examples was given",
    "architectures": "no architectures were given",
}


@dataclass(frozen=True, eq=False)
class Models:
    """The n models that methods are scored on.

    Attributes:
        target: [n].
        hyperparameters: [n, K], values of any kind; None where they were not given.
        codes: int64 [n, K], the hyperparameters numbered per column; [n, 0] where they were not given.
        clusters: [n] labels of the configurations.
        weights: uint8 [n, draws], how often each model is in each bootstrap draw.
        test_examples: how many examples the target was measured on; None where it was not given.
        architectures: [n] labels; None where they were not given.
        seed: of the folds.
    """

    target: np.ndarray
    hyperparameters: np.ndarray | None
    codes: np.ndarray
    clusters: np.ndarray
    weights: np.ndarray
    test_examples: int | None
    architectures: np.ndarray | None
    seed: int

    def missing(self, needs: Sequence[str]) -> str | None:
        """Why a score with these needs is undefined, whatever the prediction; None where all needs are met."""
        return next((NEEDS[need] for need in needs if getattr(self, need) is None), None)

    @property
    def features(self) -> np.ndarray:
        """Hyperparameters as a regressor reads them, float64 [n, F]."""
        return encoded(np.asarray(self.hyperparameters), self.codes)


class Evaluation(NamedTuple):
    """One score of e methods.

    Attributes:
        points: the value and the detail of each method.
        flipped: the values of the negated predictions; None where a score has no such reading.
        draws: float64 [e, D], the values in the bootstrap draws.
    """

    points: list[tuple[float, dict[str, Any]]]
    flipped: Sequence[float | None]
    draws: np.ndarray


class DetailColumn(NamedTuple):
    """A part of a score's detail that tables show beside the value: its key, its heading and what it means."""

    key: str
    title: str
    meaning: str


@dataclass(frozen=True)
class ScoreDefinition:
    """One row of ``SCORES``.

    Attributes:
        name: the key in records and on the command line.
        title: the heading in reports.
        evaluate: from the models, the rows bool [n] to score on, and predictions [e, n] that are NaN elsewhere.
        chance: from the models and random measures [m, n]: the scores of these measures.
        needs: keys of ``NEEDS``, without which the score is undefined.
        lower_is_better: the score is an error.
        on_target_scale: defined only for predictions on the target's own scale, which complexity measures are not on.
        tie_ceiling: ties in the target limit the score, see ``kendall.tie_ceiling``.
        conditioned: a minimum over sets of hyperparameters; the detail "hyperparameters" names the minimizing set.
        within_architecture: what a function of the architecture says does not count.
        by: what it is computed with, which outputs name.
        of_fitted: why it is undefined for methods that are fitted to the target.
        beside: a part of the detail that tables show beside the value.
        digits: decimals in tables.
        across: shown where the zoos of a task are side by side, beside the headline score.
    """

    name: str
    title: str
    evaluate: Callable[[Models, np.ndarray, np.ndarray], Evaluation]
    chance: Callable[[Models, np.ndarray], Sequence[float] | np.ndarray]
    needs: tuple[str, ...] = ()
    lower_is_better: bool = False
    on_target_scale: bool = False
    tie_ceiling: bool = False
    conditioned: bool = False
    within_architecture: bool = False
    by: str | None = None
    of_fitted: str | None = None
    beside: DetailColumn | None = None
    digits: int = 3
    across: bool = False


def _tau(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Detail: prediction_ties, flags, and architecture_share where architectures were given."""
    taus = _taus(predictions, models.target, rows, models)
    if models.architectures is not None:
        for (_, detail), prediction in zip(taus.points, predictions, strict=True):
            detail["architecture_share"] = architecture_share(prediction[rows], models.architectures[rows])
    return taus


def _taus(predictions: np.ndarray, target: np.ndarray, rows: np.ndarray, models: Models) -> Evaluation:
    taus = [kendall_tau(prediction[rows], target[rows]) for prediction in predictions]
    return Evaluation(
        [(tau.value, {"prediction_ties": tau.prediction_ties, "flags": tau.flags}) for tau in taus],
        [0 - tau.value for tau in taus],
        bootstrap_tau(predictions, target, models.weights),
    )


def _tau_chance(models: Models, noise: np.ndarray) -> list[float]:
    return [kendall_tau(measure, models.target).value for measure in noise]


def _psi(models: Models, rows: np.ndarray, predictions: np.ndarray, axes: np.ndarray | None = None) -> Evaluation:
    """Detail: psi and cells, one of each per hyperparameter."""
    given = predictions[:, rows], models.target[rows], models.codes[rows]
    scores = granulated_tau(*given, axes)
    return Evaluation(
        [(score.value, {"psi": score.psi, "cells": score.cells}) for score in scores],
        [0 - score.value for score in scores],
        bootstrap_granulated(*given, models.weights[rows], axes),
    )


def _psi_chance(models: Models, noise: np.ndarray, axes: np.ndarray | None = None) -> list[float]:
    return [score.value for score in granulated_tau(noise, models.target, models.codes, axes)]


def _tau_within(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Without detail."""
    assert models.architectures is not None  # one of its needs
    given = predictions[:, rows], models.target[rows], models.architectures[rows]
    values = tau_within(*given)[:, 0].tolist()
    draws = tau_within(*given, models.weights[rows])
    return Evaluation([(value, {}) for value in values], [0 - value for value in values], draws)


def _tau_within_chance(models: Models, noise: np.ndarray) -> np.ndarray:
    assert models.architectures is not None  # one of its needs
    return tau_within(noise, models.target, models.architectures)[:, 0]


def _psi_within(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Detail: psi and cells, one of each per hyperparameter."""
    assert models.architectures is not None  # one of its needs
    return _psi(models, rows, predictions, axes_within(models.codes[rows], models.architectures[rows]))


def _psi_within_chance(models: Models, noise: np.ndarray) -> list[float]:
    assert models.architectures is not None  # one of its needs
    return _psi_chance(models, noise, axes_within(models.codes, models.architectures))


def _k(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Detail: hyperparameters, the columns of the minimizing set."""
    given = predictions[:, rows], models.target[rows], models.codes[rows]
    scores = conditional_mi(*given)
    return Evaluation(
        [(score.value, {"hyperparameters": score.hyperparameters}) for score in scores],
        [score.value for score in scores],
        bootstrap_conditional_mi(*given, _fewer_draws(models, rows)),
    )


def _k_chance(models: Models, noise: np.ndarray) -> list[float]:
    return [score.value for score in conditional_mi(noise, models.target, models.codes)]


def _pgdl(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Detail: hyperparameters, the columns of the minimizing set."""
    target, codes = models.target[rows], models.codes[rows]
    scores = pgdl_score(predictions[:, rows], target, codes)
    return Evaluation(
        [(score.value, {"hyperparameters": score.hyperparameters}) for score in scores],
        [score.value for score in pgdl_score(-predictions[:, rows], target, codes)],
        bootstrap_pgdl(predictions[:, rows], target, codes, _fewer_draws(models, rows)),
    )


def _pgdl_chance(models: Models, noise: np.ndarray) -> list[float]:
    return [score.value for score in pgdl_score(noise, models.target, models.codes)]


def _fewer_draws(models: Models, rows: np.ndarray) -> np.ndarray:
    return models.weights[rows, : FEWER_DRAWS if len(rows) > MANY_MODELS else None]


def _robust(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """The mean. Detail: p90 with p90_low and p90_high, maximum, environments, candidates."""
    assert models.test_examples is not None  # one of its needs
    given = models.target[rows], models.codes[rows], models.test_examples
    scores = robust_sign_error(predictions[:, rows], *given)
    means, percentiles = bootstrap_robust(predictions[:, rows], *given, models.weights[rows])
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
    return Evaluation(points, [score.mean for score in robust_sign_error(-predictions[:, rows], *given)], means)


def _robust_chance(models: Models, noise: np.ndarray) -> list[float]:
    assert models.test_examples is not None  # one of its needs
    return [score.mean for score in robust_sign_error(noise, models.target, models.codes, models.test_examples)]


def _partial(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Detail: prediction_ties, flags."""
    rest, target = np.full(predictions.shape, np.nan), np.zeros(len(rows))
    rest[:, rows], target[rows] = residuals(predictions[:, rows], models.target[rows], models.features[rows])
    # The flip is exact, as the regressor of the negated ranks gives the negated residuals.
    return _taus(rest, target, rows, models)


def _partial_chance(models: Models, noise: np.ndarray) -> list[float]:
    """A random measure is its own residual: the hyperparameters explain nothing of it."""
    _, target = residuals(noise[:0], models.target, models.features)
    return [kendall_tau(measure, target).value for measure in noise]


def _r2(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """Detail: adjusted_r2, fold_r2."""
    clusters = models.clusters[rows]
    folds = _folds(clusters)
    fits = [
        linear_fit(prediction[rows, None], models.target[rows], clusters, folds, models.seed)
        for prediction in predictions
    ]
    return Evaluation(
        [(fit.r2, {"adjusted_r2": fit.adjusted_r2, "fold_r2": fit.fold_r2}) for fit in fits],
        [fit.r2 for fit in fits],
        bootstrap_r2(predictions, models.target, models.weights),
    )


def _r2_chance(models: Models, noise: np.ndarray) -> np.ndarray:
    once = np.ones((len(models.target), 1))
    return np.array([squared_correlation(measure, models.target, once)[0] for measure in noise])


def _folds(configurations: np.ndarray) -> int:
    """The usual number of folds, or one per configuration where there are fewer configurations."""
    return min(FOLDS, len(np.unique(configurations)))


def _mae(models: Models, rows: np.ndarray, predictions: np.ndarray) -> Evaluation:
    """In accuracy points, without detail."""
    values = [mean_absolute_error(prediction[rows], models.target[rows]) for prediction in predictions]
    return Evaluation(
        [(value, {}) for value in values],
        [None] * len(values),
        bootstrap_mae(predictions, models.target, models.weights),
    )


def _mae_chance(models: Models, noise: np.ndarray) -> list[float]:
    """A random measure on the target's scale is a random permutation of the targets."""
    return [mean_absolute_error(models.target[np.argsort(measure)], models.target) for measure in noise]


_ROWS = (
    ScoreDefinition("tau", "tau", _tau, _tau_chance, tie_ceiling=True, across=True),
    ScoreDefinition("psi", "Psi", _psi, _psi_chance, ("hyperparameters",), across=True),
    ScoreDefinition(
        "tau-within",
        "tau within architecture",
        _tau_within,
        _tau_within_chance,
        ("architectures",),
        within_architecture=True,
        across=True,
    ),
    ScoreDefinition(
        "psi-within",
        "Psi within architecture",
        _psi_within,
        _psi_within_chance,
        ("hyperparameters", "architectures"),
        within_architecture=True,
        across=True,
    ),
    ScoreDefinition("k", "K", _k, _k_chance, ("hyperparameters",), conditioned=True, across=True),
    ScoreDefinition("pgdl", "PGDL", _pgdl, _pgdl_chance, ("hyperparameters",), conditioned=True),
    ScoreDefinition(
        "robust",
        "robust sign error",
        _robust,
        _robust_chance,
        ("hyperparameters", "test_examples"),
        lower_is_better=True,
        across=True,
    ),
    ScoreDefinition(
        "partial",
        "partial tau",
        _partial,
        _partial_chance,
        ("hyperparameters",),
        by=gaussian_process.WORDS,
        of_fitted="methods that are fitted to the target would score above 0 with the hyperparameters alone",
        within_architecture=True,
        across=True,
    ),
    ScoreDefinition(
        "r2",
        "R²",
        _r2,
        _r2_chance,
        beside=DetailColumn("fold_r2", "fold R²", "of lines fitted without the models they are evaluated on"),
    ),
    ScoreDefinition("mae", "MAE, points", _mae, _mae_chance, lower_is_better=True, on_target_scale=True, digits=2),
)
# By name, in the order in which reports show them.
SCORES = {row.name: row for row in _ROWS}
