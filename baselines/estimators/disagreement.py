"""Disagreement: two runs that differ only in the seed disagree on unseen data about as often as one of them errs."""

import numpy as np

from baselines.access import View
from baselines.estimators.average_confidence import NOT_FINITE
from baselines.estimators.target import single_target
from baselines.methods import NotApplicable, Prediction

NO_TWIN = "no other run of its configuration has finite outputs"


def mean_agreement(logits: np.ndarray) -> np.ndarray:
    """How often each of k >= 2 models predicts the same class as another, over N images and k - 1 pairs.

    One minus the mean disagreement with its seed twins estimates a model's accuracy (Jiang et al. 2022,
    arXiv:2106.13799).

    Args:
        logits: finite, [k, N, classes].

    Returns:
        float64 [k].

    >>> mean_agreement(np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]]))
    array([0.5 , 0.75, 0.75])
    """
    classes = logits.argmax(2)
    # A model agrees with itself everywhere: that pair is excluded.
    return np.array([((classes == own).mean(1).sum() - 1) / (len(logits) - 1) for own in classes])


class Disagreement:
    """``mean_agreement`` of the runs of each configuration on the target images."""

    name = "disagreement"
    access = "unlabeled-data"
    formula = "1 - mean over seed twins h' of P(h(x) != h'(x))"
    citation = "Jiang et al. 2022, arXiv:2106.13799"

    def estimate(self, view: View) -> Prediction:
        """Accuracies [n]; NaN for a model without a twin, or with outputs that are not finite.

        Raises:
            InputError: the view has several targets.
            NotApplicable: there is no target data, or no configuration has two runs.
        """
        logits = single_target(view).logits
        _, configuration_of, runs = np.unique(view.configurations, return_inverse=True, return_counts=True)
        if runs.max(initial=0) < 2:
            raise NotApplicable(
                "every configuration of this zoo has one run, and disagreement compares runs that differ only in the "
                "seed: build the zoo with `seeds` of at least 2"
            )
        values, reasons = np.full(view.size, np.nan), {}
        finite = np.array([np.isfinite(own).all() for own in logits])
        for configuration in range(len(runs)):
            rows = np.flatnonzero(configuration_of == configuration)
            reasons |= {int(row): NOT_FINITE for row in rows[~finite[rows]]}
            rows = rows[finite[rows]]
            if len(rows) < 2:
                reasons |= {int(row): NO_TWIN for row in rows}
            else:
                values[rows] = mean_agreement(logits[rows])
        return Prediction(values, reasons)
