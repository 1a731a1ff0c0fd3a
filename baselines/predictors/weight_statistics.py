"""Weight statistics (Unterthiner et al. 2020): seven numbers per tensor as features of boosted trees or an MLP."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd

from baselines.access import View
from baselines.measures.compute import NOT_FINITE
from baselines.methods import NotApplicable, Prediction
from baselines.predictors.boosting import fit_boosted_trees
from baselines.predictors.mlp import fit_mlp
from baselines.weight_space.norms import without_norms

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
STATISTICS = ("mean", "variance", *(f"quantile {q:g}" for q in QUANTILES))


def weight_statistics(view: View) -> pd.DataFrame:
    """Mean, variance and quantiles of every weight and bias tensor, after norms are folded into them.

    Returns:
        One row per model, one float64 column per tensor and statistic; NaN where weights are not finite.

    Raises:
        NotApplicable: the architectures differ in the names of their tensors, or have a norm that cannot be folded.
    """
    stacks = [without_norms(stack) for stack in view.stacks]
    tensors = list(stacks[0].architecture.parameters)
    features = np.empty((view.size, len(tensors), len(STATISTICS)))
    for stack in stacks:
        names = list(stack.architecture.parameters)
        if names != tensors:
            raise NotApplicable(
                f"weight statistics of different architectures are joined by the names of their tensors, and some "
                f"models have {', '.join(tensors)}, others {', '.join(names)}"
            )
        for t, name in enumerate(tensors):
            weights = stack.parameters[name].flatten(1).double().numpy()
            weights = np.where(np.isfinite(weights), weights, np.nan)
            moments = (weights.mean(1), weights.var(1))
            features[stack.rows, t] = np.stack((*moments, *np.quantile(weights, QUANTILES, axis=1)), axis=1)
    columns = [f"{name} {statistic}" for name in tensors for statistic in STATISTICS]
    return pd.DataFrame(features.reshape(view.size, -1), columns=columns)


class _WeightStatistics:
    access = "weights"
    citation = "Unterthiner et al. 2020, arXiv:2002.11448"
    fit_model: Callable[..., Any]

    def fit(self, view: View, target: np.ndarray, validation: View, validation_target: np.ndarray) -> Self:
        """Fits on the models whose weights are finite.

        Raises:
            NotApplicable: the architectures differ in the names of their tensors.
        """
        features = weight_statistics(view)
        self.columns_ = list(features)
        known = _finite(features)
        validation_features = self._features(validation)
        checked = _finite(validation_features)
        self.model_ = self.fit_model(
            features[known], target[known], validation_features[checked], validation_target[checked]
        )
        return self

    def predict(self, view: View) -> Prediction:
        """float64 [n], in the units of the target; NaN for a model with weights that are not finite.

        Raises:
            NotApplicable: the architectures differ in the names of their tensors, or from those of the fit.
        """
        features = self._features(view)
        finite = _finite(features)
        values = np.full(view.size, np.nan)
        if finite.any():
            values[finite] = self.model_.predict(features[finite])
        return Prediction(values, dict.fromkeys(np.flatnonzero(~finite).tolist(), NOT_FINITE))

    def _features(self, view: View) -> pd.DataFrame:
        features = weight_statistics(view)
        if list(features) != self.columns_:
            raise NotApplicable(
                "the tensors of these models have other names than those of the models the predictor was fitted on"
            )
        return features


class WeightStatisticsBoosting(_WeightStatistics):
    """Boosted trees on the weight statistics."""

    name = "weight-statistics-boosting"
    formula = "gradient-boosted trees on mean, variance and quantiles of each tensor"
    fit_model = staticmethod(fit_boosted_trees)


class WeightStatisticsMLP(_WeightStatistics):
    """An MLP on the standardized weight statistics."""

    name = "weight-statistics-mlp"
    formula = "an MLP on mean, variance and quantiles of each tensor"
    fit_model = staticmethod(fit_mlp)


def _finite(features: pd.DataFrame) -> np.ndarray:
    return features.notna().all(axis=1).to_numpy()
