"""How much of a zoo's generalization gaps a linear regression on its margins explains (Jiang et al. 2018)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from baselines.predictors.margin_signature import margin_signatures, signature
from benchmark.evaluation.views import make_view
from benchmark.scoring.regression import linear_fit
from benchmark.split import split
from benchmark.tasks import find_task
from zoo_builder.store.zoo import Zoo

AT_ONCE = 64


def signature_fits(
    zoo: Zoo, data_root: str | Path | None = None, progress: Callable[[int], object] = lambda models: None
) -> pd.DataFrame:
    """The fits of all margin signatures to the gaps of the same models: those that have all of them.

    Args:
        progress: called with the number of models whose signatures were just computed.

    Returns:
        One row per signature, by its name: the numbers of models and of features, R^2, adjusted R^2 and 10-fold R^2
        (see ``benchmark.scoring.regression``; folds are of configurations).

    Raises:
        InputError: the zoo or its data cannot be read.
        ScoreError: too few models.
    """
    final = split(zoo, fitted=False).final
    view = make_view(zoo, final, "train-data", data_root)
    tables = []
    for stack in view.stacks:
        for rows in np.split(stack.rows, range(AT_ONCE, len(stack), AT_ONCE)):
            features, reasons = signature(view.take(rows))
            tables.append(features.set_index(rows).drop(index=rows[list(reasons)]))
            progress(len(rows))
    features = pd.concat(tables).sort_index()
    known = features.index
    gaps = find_task("complexity", zoo.name).values(final)[known]
    configurations = final["configuration"].to_numpy()[known]
    rows = {}
    for predictor in margin_signatures():
        fit = linear_fit(features[predictor.columns].to_numpy(), gaps, configurations)
        rows[predictor.name] = {"models": len(known), "features": len(predictor.columns), **vars(fit)}
    return pd.DataFrame.from_dict(rows, orient="index")
