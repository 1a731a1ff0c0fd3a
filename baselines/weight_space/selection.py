"""Selection of a predictor's settings by Kendall's tau on the validation models.

All built-in predictors follow one rule. They are fitted on the train split; the setting (for networks, also the epoch)
with the largest validation tau is kept, the first one among ties; and nothing is refitted on the validation models. An
early-stopped network could not be, and so every predictor learns from the same labels.
"""

import numpy as np
from scipy.stats import kendalltau


def validation_tau(prediction: np.ndarray, target: np.ndarray) -> float:
    """Kendall's tau-b of [n] and [n]; 0 if one of them is constant.

    >>> round(validation_tau(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.3, 0.2])), 3)
    0.333
    """
    constant = len(np.unique(prediction)) < 2 or len(np.unique(target)) < 2
    return 0.0 if constant else float(kendalltau(prediction, target).statistic)
