"""What a method is.

No base class is needed: a predictor is any object with ``fit`` and ``predict``, an estimator any object with
``estimate``, a measure one function on a stack (``baselines.measures.measure``). All of them read a ``View``
(``baselines.access``): models are numbered 0 .. n-1, and a prediction is an array of n float64 values in that order. No
view ever holds a test label or a test accuracy.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

# Re-exported: methods of users import all names that they need from here.
from baselines.access import NotApplicable as NotApplicable
from baselines.access import View


@dataclass(frozen=True)
class Prediction:
    """Values with a reason for every NaN.

    >>> Prediction(np.array([0.5, np.nan]), reasons={1: "the model has weights that are not finite"}).reasons
    {1: 'the model has weights that are not finite'}

    Attributes:
        values: float64 [n].
        reasons: {row: why its value is NaN}.
    """

    values: np.ndarray
    reasons: dict[int, str] = field(default_factory=dict)


@runtime_checkable
class Predictor(Protocol):
    """A method that is fitted on labeled models. The attributes ``formula`` (one line) and ``control`` are optional.

    ``target`` is float64 [n], an accuracy or a gap. The validation models are for choosing settings. ``fit`` returns
    the fitted predictor, and ``predict`` one float64 per model of the view. Both raise NotApplicable for models that
    they cannot read.
    """

    name: str
    access: str
    citation: str

    def fit(self, view: View, target: np.ndarray, validation: View, validation_target: np.ndarray) -> "Predictor": ...

    def predict(self, view: View) -> np.ndarray | Prediction: ...


@runtime_checkable
class Estimator(Protocol):
    """A method that estimates accuracies, float64 [n], from unlabeled target data without fitting.

    ``formula`` and ``control`` are optional, as for a predictor.
    """

    name: str
    access: str
    citation: str

    def estimate(self, view: View) -> np.ndarray | Prediction: ...
