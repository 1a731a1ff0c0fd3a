"""Oracles: controls that predict the target with a normal error of known size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo_builder.streams import numpy_stream


@dataclass(frozen=True)
class Oracle:
    """The target plus normal noise: its score is that of a prediction with an error of this size.

    Attributes:
        noise: standard deviation, in the units of the target.
    """

    noise: float

    @property
    def name(self) -> str:
        return f"oracle-{self.noise:g}"

    @property
    def formula(self) -> str:
        return f"target + {self.noise:g} z, z ~ N(0, 1) drawn by the model's id"

    def values(self, target: np.ndarray, model_ids: Sequence[str]) -> np.ndarray:
        """float64 [n]; a model's noise is the same on every task.

        >>> Oracle(0.0).values(np.array([0.5, 0.7]), ["a", "b"])
        array([0.5, 0.7])
        """
        draws = [numpy_stream(model_id, "oracle").standard_normal() for model_id in model_ids]
        return target + self.noise * np.array(draws)


ORACLES = {oracle.name: oracle for oracle in (Oracle(0.02), Oracle(0.05))}
