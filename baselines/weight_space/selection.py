"""How the settings of a predictor are chosen: by Kendall's tau on the validation models.

All built-in predictors follow one rule. They are fitted on the train split, the setting (and for networks the epoch)
with the largest validation tau is kept, the first of equals, and nothing is refitted with the validation models: a
network stopped by them could not be, so that every predictor learns from the same labels.
"""

import numpy as np
from scipy.stats import kendalltau


def validation_tau(prediction: np.ndarray, target: np.ndarray) -> float:
    """Kendall's tau-b; 0 where one of the two is constant."""
    constant = len(np.unique(prediction)) < 2 or len(np.unique(target)) < 2
    return 0.0 if constant else float(kendalltau(prediction, target).statistic)
