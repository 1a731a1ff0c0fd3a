"""Average confidence: a calibrated network is right as often as it is confident."""

import numpy as np

from baselines.access import View
from baselines.estimators.target import single_target
from baselines.methods import Prediction

NOT_FINITE = "the model has outputs that are not finite"


def average_confidence(logits: np.ndarray) -> float:
    """The mean over N images of the largest softmax probability: finite logits [N, classes] -> an accuracy in [0, 1].

    Hendrycks & Gimpel 2017, arXiv:1610.02136; as an estimator Guillory et al. 2021, arXiv:2107.03315.

    >>> average_confidence(np.log([[3.0, 1.0], [1.0, 1.0]]))
    0.625
    """
    logits = logits.astype(np.float64)
    # The largest softmax probability, written so that no exponential overflows.
    return float(np.mean(1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)))


class AverageConfidence:
    """``average_confidence`` on the target images."""

    name = "average-confidence"
    access = "unlabeled-data"
    formula = "mean_x max_k softmax(f(x))_k"
    citation = "Hendrycks & Gimpel 2017, arXiv:1610.02136; as an estimator Guillory et al. 2021, arXiv:2107.03315"

    def estimate(self, view: View) -> Prediction:
        """Accuracies [n]; NaN where a model's outputs are not finite.

        Raises:
            InputError: the view has several targets.
            NotApplicable: there is no target data.
        """
        values, reasons = np.full(view.size, np.nan), {}
        for row, logits in enumerate(single_target(view).logits):
            if np.isfinite(logits).all():
                values[row] = average_confidence(logits)
            else:
                reasons[row] = NOT_FINITE
        return Prediction(values, reasons)
