"""Disagreement: two runs that differ in the seed alone disagree on unseen data about as often as one of them errs."""

import numpy as np

from baselines.access import View
from baselines.estimators.average_confidence import NOT_FINITE
from baselines.methods import NotApplicable, Prediction

NO_TWIN = "no other run of its configuration has finite outputs"


class Disagreement:
    """One minus a model's mean disagreement with the other runs of its configuration, over distinct pairs."""

    name = "disagreement"
    access = "unlabeled-data"
    formula = "1 - mean over seed twins h' of P(h(x) != h'(x))"
    citation = "Jiang et al. 2022, arXiv:2106.13799"

    def estimate(self, view: View) -> Prediction:
        """Accuracies [n]; NaN for a model without a twin, or with outputs that are not finite.

        Raises:
            NotApplicable: no configuration has two runs.
        """
        if view.target is None or view.configurations is None:
            raise NotApplicable("there is no target data with outputs of these models")
        _, first, runs = np.unique(view.configurations, return_inverse=True, return_counts=True)
        if runs.max(initial=0) < 2:
            raise NotApplicable(
                "every configuration of this zoo has one run, and disagreement compares runs that differ in the seed "
                "alone: build the zoo with `seeds` of at least 2"
            )
        values, reasons = np.full(view.size, np.nan), {}
        finite = np.array([np.isfinite(logits).all() for logits in view.target.logits])
        for configuration in range(len(runs)):
            rows = np.flatnonzero(first == configuration)
            reasons |= {int(row): NOT_FINITE for row in rows[~finite[rows]]}
            rows = rows[finite[rows]]
            if len(rows) < 2:
                reasons |= {int(row): NO_TWIN for row in rows}
                continue
            classes = view.target.logits[rows].argmax(2)
            for row, own in zip(rows, classes, strict=True):
                # The model agrees with itself everywhere: that pair is taken out.
                values[row] = ((classes == own).mean(1).sum() - 1) / (len(rows) - 1)
        return Prediction(values, reasons)
