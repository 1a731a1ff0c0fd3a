"""Gaussian-process regression on hyperparameters, each model predicted without its own configuration.

The prior over functions of the features' scaled ranks x has the Matérn covariance of smoothness 5/2,

    k(x, x') = s^2 (1 + r + r^2 / 3) exp(-r),  r^2 = 5 sum_f (x_f - x'_f)^2 / l_f^2,

and values have independent normal noise of variance v. s, v and the length scales l_f, one for each feature, maximize
the marginal likelihood. A feature without effect gets a long length scale.

Sources: Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006): equations 2.25 (prediction), 4.17
(covariance), 5.9 (the likelihood's gradient) and 5.12 (leaving one out; here a configuration is left out).
"""

import numpy as np
import scipy  # imports scipy.linalg and scipy.optimize where they are used first; boards do without

from benchmark.scoring import ScoreError
from benchmark.scoring.regression import FOLDS, folds_of

WORDS = "a Gaussian process (Matérn 5/2, length scales by marginal likelihood)"
# The likelihood is maximized on this many models; more change little and take as their number cubed.
FITTED = 500
# Up to this many models, each is predicted from all other configurations; beyond, from this many of the other folds.
MOST = 2000
_STEPS = 50
# Bounds and starting points of l, s^2 and v, for features and values of variance about 1. The least noise keeps the
# covariance of thousands of models invertible.
_LENGTHS, _SIGNAL, _NOISE = (0.05, 3.0, 1e3), (1e-3, 1.0, 1e2), (1e-5, 0.1, 10.0)


def predicted_without_own(values: np.ndarray, features: np.ndarray, configurations: np.ndarray) -> np.ndarray:
    """Each model's value as the models of other configurations predict it: float64 [n].

    The parameters of the process are the same for all models, and fitted to at most ``FITTED`` of all.

    Args:
        values: float64 [n].
        features: float64 [n, F], of which only the order counts, so that learning rates need no logarithm.
        configurations: [n] labels.

    Raises:
        ScoreError: fewer than 2 configurations.
    """
    if (count := len(np.unique(configurations))) < 2:
        raise ScoreError(f"{count} configurations: what the hyperparameters predict needs at least 2")
    size = values.std()
    features = _scaled_ranks(features)
    if size == 0 or not features.shape[1]:
        return np.full_like(values, values.mean())
    scaled = (values - values.mean()) / size
    some = np.random.default_rng(0).permutation(len(values))
    logs = fitted(features[some[:FITTED]], scaled[some[:FITTED]])
    if len(values) <= MOST:
        predicted = _from_all_others(scaled, features, configurations, logs)
    else:
        predicted = np.empty_like(scaled)
        fold = folds_of(configurations, min(FOLDS, count))
        for held_out in np.unique(fold):
            known = some[fold[some] != held_out][:MOST]
            lower = _cholesky(_covariance(features[known], features[known], logs), _natural(logs)[2])
            weighted = scipy.linalg.cho_solve((lower, True), scaled[known])
            new = np.flatnonzero(fold == held_out)
            for rows in np.split(new, range(MOST, len(new), MOST)):
                predicted[rows] = _covariance(features[rows], features[known], logs) @ weighted
    return values.mean() + size * predicted


def fitted(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The logarithms of l_1, ..., l_F, s^2 and v that maximize the likelihood of ``values`` [n]: float64 [F + 2]."""
    bounds = np.log([*[_LENGTHS] * features.shape[1], _SIGNAL, _NOISE])
    found = scipy.optimize.minimize(
        negative_log_likelihood,
        bounds[:, 1],
        args=(features, values),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds[:, [0, 2]],
        options={"maxiter": _STEPS},
    )
    return found.x


def negative_log_likelihood(logs: np.ndarray, features: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Minus the logarithm of the marginal likelihood, without its constant, and the gradient [F + 2] by ``logs``."""
    lengths, signal, noise = _natural(logs)
    scaled = features / lengths
    distance = np.sqrt(5 * _squared_distances(scaled, scaled))
    decay = signal * np.exp(-distance)
    covariance = decay * (1 + distance + distance**2 / 3)
    lower = _cholesky(covariance, noise)
    weighted = scipy.linalg.cho_solve((lower, True), values)
    # d likelihood / d K, doubled; what follows are its products with the derivatives of K by each logarithm.
    slope = np.outer(weighted, weighted) - _inverse_of(lower)
    by_distance = slope * (decay * (1 + distance) * 5 / 3)
    by_length = 2 * (scaled**2 * by_distance.sum(axis=1)[:, None] - scaled * (by_distance @ scaled)).sum(axis=0)
    gradient = np.array([*by_length, (slope * covariance).sum(), noise * slope.trace()]) / 2
    return float(values @ weighted / 2 + np.log(lower.diagonal()).sum()), -gradient


def _from_all_others(
    values: np.ndarray, features: np.ndarray, configurations: np.ndarray, logs: np.ndarray
) -> np.ndarray:
    """The residual of configuration c follows from the inverse P of all covariances: P_cc residual = (P values)_c."""
    inverse = _inverse_of(_cholesky(_covariance(features, features, logs), _natural(logs)[2]))
    weighted = inverse @ values
    residuals = np.empty_like(values)
    order = np.argsort(configurations, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(configurations[order])) + 1):
        residuals[own] = np.linalg.solve(inverse[np.ix_(own, own)], weighted[own])
    return values - residuals


def _scaled_ranks(features: np.ndarray) -> np.ndarray:
    """The ranks of the features that vary, with mean 0, and with variance 1 where no values are equal.

    One unit for all features: if each had variance 1, a value that few models have would lie far from all others.
    """
    features = features[:, np.ptp(features, axis=0) > 0]
    rank = np.stack([ranks(column) for column in features.T], axis=1) if features.size else features
    return (rank - rank.mean(axis=0)) * np.sqrt(12) / len(rank)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks 1 .. n, equal values with their mean rank: float64 [n].

    >>> ranks(np.array([0.3, 0.1, 0.3]))
    array([2.5, 1. , 2.5])
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _natural(logs: np.ndarray) -> tuple[np.ndarray, float, float]:
    *lengths, signal, noise = np.exp(logs)
    return np.array(lengths), signal, noise


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0)


def _covariance(a: np.ndarray, b: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """k between the rows of a [n, F] and b [m, F], without noise: [n, m]."""
    lengths, signal, _ = _natural(logs)
    distance = np.sqrt(5 * _squared_distances(a / lengths, b / lengths))
    return signal * np.exp(-distance) * (1 + distance + distance**2 / 3)


def _cholesky(covariance: np.ndarray, noise: float) -> np.ndarray:
    """The lower triangle L with L L^T = covariance + noise I."""
    noisy = covariance.copy()
    noisy[np.diag_indices(len(noisy))] += noise
    lower, failed = scipy.linalg.lapack.dpotrf(noisy, lower=1)
    assert not failed  # the least noise is far above rounding
    return lower


def _inverse_of(lower: np.ndarray) -> np.ndarray:
    inverse, failed = scipy.linalg.lapack.dpotri(lower, lower=1)
    assert not failed
    return np.tril(inverse) + np.tril(inverse, -1).T
