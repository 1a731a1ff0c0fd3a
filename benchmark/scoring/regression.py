"""Errors of predictions on the target's own scale, and linear fits of the target.

- R^2 = 1 - (sum of squared errors) / (sum of squares about the target's mean), at most 1, and below 0 for a fit that is
  worse than the mean. The linear fit is ordinary least squares with an intercept; collinear features count once.
- Adjusted R^2 = 1 - (1 - R^2) (n - 1) / (n - r), r the rank of features and intercept.
- k-fold R^2 pools the out-of-fold errors of all models into one R^2, with the mean over all models. (The mean of the
  R^2 of each fold is another definition; it is unstable for folds of few models.) Folds are of configurations.

Source: Jiang et al., "Predicting the Generalization Gap in Deep Networks with Margin Distributions", arXiv:1810.00113.
"""

from dataclasses import dataclass

import numpy as np

from benchmark.scoring import ScoreError, finite, finite_pair, require_fractions
from benchmark.scoring.bootstrap import checked_weights, partly_defined

POINTS = 100  # accuracies and gaps are fractions; errors are reported in accuracy points

FOLDS = 10
# A smaller variance relative to the table's is the rounding of a draw without variation.
_ROUNDING = 1e-12


def mean_absolute_error(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error in accuracy points, of accuracies or gaps given as fractions [n].

    Raises:
        ScoreError: no models, different lengths, NaN or infinity, or a target above 1 in size.
    """
    prediction, target = finite_pair(prediction, target)
    if not len(target):
        raise ScoreError("a mean absolute error of no models; give at least one")
    require_fractions(target)
    return POINTS * float(np.abs(prediction - target).mean())


def bootstrap_mae(predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean absolute error of every method in every draw: float64 [E, D], in accuracy points.

    Arguments and errors are those of ``bootstrap_tau``. MAE is NaN in a draw of models without a prediction.
    """
    target = finite(target, "target")
    predictions = partly_defined(predictions, len(target))
    weights = checked_weights(weights, len(target))
    maes = np.full((len(predictions), weights.shape[1]), np.nan)
    for mae, prediction in zip(maes, predictions, strict=True):
        defined = ~np.isnan(prediction)
        drawn = weights[defined]
        totals = drawn.sum(axis=0, dtype=np.float64)
        errors = np.einsum("n,nd->d", np.abs(prediction - target)[defined], drawn)
        np.divide(POINTS * errors, totals, out=mae, where=totals > 0)
    return maes


def bootstrap_r2(predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R^2 of the linear fit of the target on one prediction, of every method in every draw: float64 [E, D].

    Each draw has its own fit, whose R^2 is the squared correlation, and 0 where the prediction is constant. Arguments
    and errors are those of ``bootstrap_tau``. R^2 is NaN in a draw in which all targets are tied.
    """
    target = finite(target, "target")
    predictions = partly_defined(predictions, len(target))
    weights = checked_weights(weights, len(target))
    values = np.full((len(predictions), weights.shape[1]), np.nan)
    for value, prediction in zip(values, predictions, strict=True):
        defined = ~np.isnan(prediction)
        if defined.any():
            value[:] = squared_correlation(prediction[defined], target[defined], weights[defined].astype(np.float64))
    return values


def squared_correlation(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R^2 [D] of weighted models; sums are about the mean of all models, so that a large mean costs no precision."""
    total = np.maximum(weights.sum(axis=0), 1)
    prediction, target = (_standardized(values) for values in (prediction, target))
    means = prediction @ weights / total, target @ weights / total
    squares = [values**2 @ weights / total - mean**2 for values, mean in zip((prediction, target), means, strict=True)]
    product = (prediction * target) @ weights / total - means[0] * means[1]
    constant, tied = (square <= _ROUNDING for square in squares)
    r2 = np.divide(product**2, squares[0] * squares[1], out=np.zeros(len(total)), where=~constant & ~tied)
    r2[tied] = np.nan
    return np.minimum(r2, 1)


def _standardized(values: np.ndarray) -> np.ndarray:
    values = values / max(np.abs(values).max(), np.finfo(float).tiny)  # squares of huge values are infinite
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-12 * np.abs(values).max() else np.zeros(len(values))


@dataclass(frozen=True)
class LinearFit:
    """How well features explain a target linearly.

    Attributes:
        r2: in [0, 1], on the models of the fit.
        adjusted_r2: at most ``r2``.
        fold_r2: out of fold; below 0 if the fit predicts new models worse than the mean.
    """

    r2: float
    adjusted_r2: float
    fold_r2: float


def linear_fit(
    features: np.ndarray, target: np.ndarray, clusters: np.ndarray | None = None, folds: int = FOLDS, seed: int = 0
) -> LinearFit:
    """R^2, adjusted and k-fold R^2 of the least-squares fit of the target on the features.

    Args:
        features: [n, F].
        target: [n].
        clusters: [n] labels of the configurations; None for one run per configuration.

    Raises:
        ScoreError: wrong shapes, NaN or infinity, a target without variation, no more models than coefficients, or
            fewer configurations than folds.
    """
    target = finite(target, "target")
    features = design(features, len(target), "features")
    n = len(target)
    if n < 2 or np.ptp(target) == 0:
        raise ScoreError(
            f"a fit explains the target's variation, and {n} models have none; give at least 2 distinct targets"
        )
    fold = folds_of(np.arange(n) if clusters is None else clusters, folds, seed)
    if len(fold) != n:
        raise ScoreError(f"{len(fold)} cluster labels for {n} models; give one label per model")
    fitted, rank = _least_squares(features, target, features)
    if n <= rank:
        raise ScoreError(f"{rank} coefficients fit {n} models exactly; give more models or fewer features")
    held_out = np.empty(n)
    for number in range(folds):
        test = fold == number
        held_out[test] = _least_squares(features[~test], target[~test], features[test])[0]
    r2 = _r2(fitted, target)
    return LinearFit(r2, 1 - (1 - r2) * (n - 1) / (n - rank), _r2(held_out, target))


def folds_of(clusters: np.ndarray, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """A random fold 0 .. folds - 1 for every model [n], the same for equal labels; no fold is empty.

    Raises:
        ScoreError: fewer than 2 folds, or fewer clusters than folds.
    """
    labels, clusters = np.unique(clusters, return_inverse=True)
    if not 2 <= folds <= len(labels):
        raise ScoreError(
            f"{len(labels)} configurations in {folds} folds: give at least 2 folds, and a configuration for each"
        )
    return np.random.default_rng(seed).permutation(np.arange(len(labels)) % folds)[clusters]


def design(features: np.ndarray, n: int, name: str) -> np.ndarray:
    """``features`` as float64 [n, F]; ScoreError if they have another shape or are not finite."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) != n:
        raise ScoreError(f"{name} of {n} models have shape [{n}, F], got {list(features.shape)}")
    for column, values in enumerate(features.T):
        finite(values, f"{name}, column {column}")
    return features


def _least_squares(features: np.ndarray, target: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, int]:
    """Predictions for ``new`` features, and the rank of the fit, the intercept included."""
    # Sums of the largest numbers that there are would overflow; powers of two leave all others as they are.
    largest = np.maximum(np.abs(features).max(axis=0), np.abs(new).max(axis=0))
    shift = np.where(largest > 1e200, -600, 0)
    features, new = np.ldexp(features, shift), np.ldexp(new, shift)
    # Without scaling, features of very different sizes (norms, counts) would distort the rank.
    mean, size = features.mean(axis=0), np.abs(features - features.mean(axis=0)).max(axis=0)
    size[size <= 1e-12 * np.abs(mean)] = np.inf
    coefficients, _, rank, _ = np.linalg.lstsq((features - mean) / size, target - target.mean(), rcond=None)
    return target.mean() + (new - mean) / size @ coefficients, int(rank) + 1


def _r2(fitted: np.ndarray, target: np.ndarray) -> float:
    return 1 - float(((target - fitted) ** 2).sum() / ((target - target.mean()) ** 2).sum())
