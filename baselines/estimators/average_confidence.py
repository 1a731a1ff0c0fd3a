"""Average confidence: a calibrated network is right as often as it is confident."""

import numpy as np

from baselines.access import View
from baselines.methods import NotApplicable, Prediction

NOT_FINITE = "the model has outputs that are not finite"


class AverageConfidence:
    """The mean over the target images of the largest softmax probability."""

    name = "average-confidence"
    access = "unlabeled-data"
    formula = "mean_x max_k softmax(f(x))_k"
    citation = "Hendrycks & Gimpel 2017, arXiv:1610.02136; as an estimator Guillory et al. 2021, arXiv:2107.03315"

    def estimate(self, view: View) -> Prediction:
        """Accuracies [n]; NaN where a model's outputs are not finite."""
        if view.target is None:
            raise NotApplicable("there is no target data with outputs of these models")
        values, reasons = np.full(view.size, np.nan), {}
        for row, stored in enumerate(view.target.logits):
            logits = stored.astype(np.float64)
            if np.isfinite(logits).all():
                # The largest softmax probability, written so that no exponential overflows.
                values[row] = np.mean(1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1))
            else:
                reasons[row] = NOT_FINITE
        return Prediction(values, reasons)
