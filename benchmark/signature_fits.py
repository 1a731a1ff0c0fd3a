"""How much of a zoo's generalization gaps a linear regression on its margins explains (Jiang et al. 2018)."""

from pathlib import Path

import pandas as pd

from baselines.predictors.margin_signature import margin_signatures, signature
from benchmark.scoring.regression import linear_fit
from benchmark.tasks import find_task, split
from benchmark.views import make_view
from zoo_builder.store import Zoo


def signature_fits(zoo: Zoo, data_root: str | Path | None = None) -> pd.DataFrame:
    """The fits of all margin signatures to the gaps of the same models: those that have all of them.

    Returns:
        One row per signature, by its name: the numbers of models and of features, R^2, adjusted R^2 and 10-fold R^2
        (see ``benchmark.scoring.regression``; folds are of configurations).

    Raises:
        InputError: the zoo or its data cannot be read.
        ScoreError: too few models.
    """
    final = split(zoo, fitted=False).final
    features, reasons = signature(make_view(zoo, final, "train-data", data_root))
    known = features.index.difference(list(reasons))
    gaps = find_task("complexity", zoo.name).values(final)[known]
    configurations = final["configuration"].to_numpy()[known]
    rows = {}
    for predictor in margin_signatures():
        fit = linear_fit(features.loc[known, predictor.columns].to_numpy(), gaps, configurations)
        rows[predictor.name] = {"models": len(known), "features": len(predictor.columns), **vars(fit)}
    return pd.DataFrame.from_dict(rows, orient="index")
