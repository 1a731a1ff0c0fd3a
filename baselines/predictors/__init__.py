"""Predictors: methods that are fitted on labeled models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.methods import Predictor


def predictors() -> "tuple[Predictor, ...]":
    """Every built-in predictor, with its default settings."""
    from baselines.predictors.hyperparameters import Hyperparameters
    from baselines.predictors.margin_signature import margin_signatures
    from baselines.predictors.neural_functional import NeuralFunctional
    from baselines.predictors.weight_statistics import WeightStatisticsBoosting, WeightStatisticsMLP

    functionals = (NeuralFunctional("np"), NeuralFunctional("hnp"))
    return (Hyperparameters(), WeightStatisticsBoosting(), WeightStatisticsMLP(), *margin_signatures(), *functionals)
