"""The share of a zoo's generalization gaps that a linear regression on margins explains (Jiang et al. 2019)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from baselines.predictors.margin_signature import margin_signatures, signature
from benchmark.evaluation.views import make_view
from benchmark.scoring.regression import linear_fit
from benchmark.split import split_zoo
from benchmark.tasks import GAP
from zoo_builder.store.zoo import Zoo

CHUNK = 64  # models


def signature_fits(
    zoo: Zoo, data_root: str | Path | None = None, progress: Callable[[int], object] = lambda models: None
) -> pd.DataFrame:
    """Fits every margin signature to the gaps of the same models: those for which every signature is defined.

    Args:
        progress: called with the number of models whose signatures have just been computed.

    Returns:
        One row per signature, indexed by name: numbers of models and features, R², adjusted R² and 10-fold R² (see
        ``benchmark.scoring.regression``; folds are by configuration).

    Raises:
        InputError: the zoo or its data cannot be read.
        ScoreError: too few models.
    """
    final = split_zoo(zoo, fitted=False).final
    view = make_view(zoo, final, "train-data", data_root)
    tables = []
    for stack in view.stacks:
        for rows in np.split(stack.rows, range(CHUNK, len(stack), CHUNK)):
            features, reasons = signature(view.take(rows))
            tables.append(features.set_index(rows).drop(index=rows[list(reasons)]))
            progress(len(rows))
    features = pd.concat(tables).sort_index()
    known = features.index
    gaps = GAP.values(final)[known]
    configurations = final["configuration"].to_numpy()[known]
    rows = {}
    for predictor in margin_signatures():
        fit = linear_fit(features[predictor.columns].to_numpy(), gaps, configurations)
        rows[predictor.name] = {"models": len(known), "features": len(predictor.columns), **vars(fit)}
    return pd.DataFrame.from_dict(rows, orient="index")
