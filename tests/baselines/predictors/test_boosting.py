"""Gradient-boosted trees with settings chosen on validation models."""

import numpy as np
import pandas as pd

from baselines.predictors.boosting import fit_boosted_trees


def test_the_number_of_rounds_is_chosen_on_the_validation_models():
    """A noisy target calls for few rounds, an exact one for many."""
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.random((400, 3)), columns=list("abc"))
    exact = features["a"].to_numpy() + features["b"].to_numpy() ** 2
    noisy = features["a"].to_numpy() + random.normal(0, 1, 400)
    rounds = [
        fit_boosted_trees(features[:200], target[:200], features[200:], exact[200:]).n_iter_
        for target in (exact, noisy)
    ]
    assert rounds[0] > rounds[1]
