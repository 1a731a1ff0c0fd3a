"""The margin signature (Jiang et al. 2018, arXiv:1810.00113): a linear regression on the distribution of margins.

The positive ones among each layer's normalized distances (``baselines.measures.margins``) are summarized by five
numbers: the quartiles and the two whiskers, the extreme distances between Q1 - 1.5 (Q3 - Q1) and Q3 + 1.5 (Q3 - Q1), or
the means of their first to fifth powers. The regression reads the logarithms. Roots of the powers would give the same
regression, since they scale the logarithms.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Self

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from baselines.access import View
from baselines.measures.compute import compute
from baselines.measures.context import MeasureContext
from baselines.measures.margins import CONSTANT_LAYER, image_margins
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable, Prediction

QUARTILES = ("lower whisker", "Q1", "median", "Q3", "upper whisker")
MOMENTS = tuple(f"moment {power}" for power in range(1, 6))
HIDDEN = ("lower", "middle", "last")
LAYERS = ("input", *HIDDEN, "output")
COLUMNS = tuple(f"{layer} {statistic}" for layer, statistic in product(LAYERS, (*QUARTILES, *MOMENTS)))
# As many positive margins as a signature has numbers.
FEWEST = 5
TOO_FEW = f"fewer than {FEWEST} of its training images are classified correctly"


def box(distances: np.ndarray) -> np.ndarray:
    """``QUARTILES`` of distances [n]: float64 [5].

    >>> box(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 60.0]))
    array([1.  , 2.25, 3.5 , 4.75, 5.  ])
    """
    q1, median, q3 = np.quantile(distances, (0.25, 0.5, 0.75))
    reach = 1.5 * (q3 - q1)
    inside = distances[(q1 - reach <= distances) & (distances <= q3 + reach)]
    return np.array([inside.min(), q1, median, q3, inside.max()])


def moments(distances: np.ndarray) -> np.ndarray:
    """``MOMENTS`` of distances [n], the means of their powers: float64 [5]."""
    return np.array([(distances**power).mean() for power in range(1, 6)])


@dataclass(frozen=True)
class Signatures:
    """The signatures of M models.

    Attributes:
        values: {column: float64 [M]}, NaN where it is undefined.
        few: bool [M], models with too few positive margins.
        constant: {layer: bool [M]}, models in which the layer is constant.
    """

    values: dict[str, Tensor]
    few: Tensor
    constant: dict[str, Tensor]


def signatures(context: MeasureContext) -> Signatures:
    """The signatures of all models of a context."""
    models = context.once(image_margins)
    table = torch.full((len(models), len(LAYERS), len(QUARTILES) + len(MOMENTS)), torch.nan, dtype=torch.float64)
    for row, images in zip(table, models, strict=True):
        for entries, layer in zip(row, LAYERS, strict=True):
            distances = images.distances(layer).numpy()
            distances = distances[distances > 0]
            if len(distances) >= FEWEST:
                entries[:] = torch.from_numpy(np.log([*box(distances), *moments(distances)]))
    return Signatures(
        values=dict(zip(COLUMNS, table.flatten(1).unbind(1), strict=True)),
        few=torch.tensor([int((images.margins > 0).sum()) < FEWEST for images in models]),
        constant={layer: torch.tensor([images.variations[layer] == 0 for images in models]) for layer in LAYERS},
    )


def _entry(context: MeasureContext, column: str) -> Tensor:
    found = context.once(signatures)
    context.undefined(found.constant[column.split()[0]], CONSTANT_LAYER)
    context.undefined(found.few, TOO_FEW)
    return found.values[column]


def signature(view: View, columns: Iterable[str] = COLUMNS) -> tuple[pd.DataFrame, dict[int, str]]:
    """``columns`` of the signatures of the models in ``view``.

    Returns:
        One row per model, one float64 column for each of ``columns``; and {row with NaN: the reason}.
    """
    entries = [
        Measure(name, partial(_entry, column=name), access="train-data", cost="multi-pass", formula="", citation="")
        for name in columns
    ]
    found = compute(view, entries)
    reasons = {row: why for result in found.values() for row, why in result.reasons.items()}
    return pd.DataFrame({name: result.values for name, result in found.items()}), reasons


class MarginSignature:
    """Least squares on the signatures of some layers; models without a signature are excluded from the fit."""

    access = "train-data"
    citation = "Jiang et al. 2018, arXiv:1810.00113"

    def __init__(self, name: str, layers: tuple[str, ...], statistics: tuple[str, ...]) -> None:
        self.name = name
        self.columns = [f"{layer} {statistic}" for layer, statistic in product(layers, statistics)]
        self.formula = (
            f"linear regression on the logs of {', '.join(statistics)} of the positive layer margins at "
            f"{', '.join(layers)}; first 2,000 training images"
        )

    def fit(self, view: View, target: np.ndarray, validation: View, validation_target: np.ndarray) -> Self:
        """Fits on ``view``; there are no settings to choose on the validation models.

        Raises:
            NotApplicable: no model has a signature.
        """
        features, reasons = signature(view, self.columns)
        known = features.index.difference(list(reasons))
        if known.empty:
            raise NotApplicable(f"no model has a margin signature: {next(iter(reasons.values()))}")
        self.regression_: Pipeline = make_pipeline(StandardScaler(), LinearRegression())
        self.regression_.fit(features.loc[known], target[known])
        return self

    def predict(self, view: View) -> Prediction:
        """float64 [n], in the units of the target; NaN for a model without a signature."""
        features, reasons = signature(view, self.columns)
        known = features.index.difference(list(reasons))
        values = np.full(view.size, np.nan)
        if not known.empty:
            values[known] = self.regression_.predict(features.loc[known])
        return Prediction(values, reasons)


def margin_signatures() -> tuple[MarginSignature, ...]:
    """The two signatures of Jiang et al., and the first of them for only the input or only the output."""
    return (
        MarginSignature("margin-signature", ("input", *HIDDEN), QUARTILES),
        MarginSignature("margin-signature-moments", ("input", *HIDDEN), MOMENTS),
        MarginSignature("margin-signature-input", ("input",), QUARTILES),
        MarginSignature("margin-signature-output", ("output",), QUARTILES),
    )
