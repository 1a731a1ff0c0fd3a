"""A control that reads only hyperparameters: a predictor that does not beat it has learned nothing from the weights."""

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from baselines.access import View
from baselines.methods import NotApplicable
from baselines.predictors.boosting import fit_boosted_trees


class Hyperparameters:
    """Boosted trees on the columns of ``view.hyperparameters``."""

    name = "hyperparameters"
    access = "hyperparameters"
    formula = "gradient-boosted trees on the hyperparameters"
    citation = "control; Unterthiner et al. 2020, arXiv:2002.11448, sec. 4"
    control = True

    def fit(self, view: View, target: np.ndarray, validation: View, validation_target: np.ndarray) -> "Hyperparameters":
        """Fits on the columns that have several values in ``view``.

        Raises:
            NotApplicable: no hyperparameter varies.
        """
        table = view.hyperparameters
        self.columns_ = [name for name in table if table[name].nunique(dropna=False) > 1]
        if not self.columns_:
            raise NotApplicable("no hyperparameter varies among the training models")
        table = table[self.columns_]
        values = {name: column.dropna().unique() for name, column in table.items() if not is_numeric_dtype(column)}
        self.categories_ = {name: pd.CategoricalDtype(sorted(found)) for name, found in values.items()}
        self.trees_ = fit_boosted_trees(self._features(view), target, self._features(validation), validation_target)
        return self

    def predict(self, view: View) -> np.ndarray:
        """float64 [n], in the units of the target."""
        return self.trees_.predict(self._features(view))

    def _features(self, view: View) -> pd.DataFrame:
        table = view.hyperparameters[self.columns_].copy()
        for name, dtype in self.categories_.items():
            # A category that no training model has counts as missing.
            known = table[name].isin(dtype.categories)
            table[name] = table[name].where(known).astype(dtype)
        return table
