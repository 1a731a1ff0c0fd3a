"""Estimators: accuracies from unlabeled target data, without fitting."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.methods import Estimator


def estimators() -> "tuple[Estimator, ...]":
    """Every built-in estimator."""
    from baselines.estimators.average_confidence import AverageConfidence
    from baselines.estimators.disagreement import Disagreement

    return AverageConfidence(), Disagreement()
