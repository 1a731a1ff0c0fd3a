"""Oracles: controls that predict the target with a normal error of known size.

Where the target is about normal over the models, an error of r standard deviations of the target gives a correlation of
1 / sqrt(1 + r^2) and a tau of 2 / pi times its arcsine: .70 for r = .5 and .50 for r = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo_builder.streams import numpy_stream


@dataclass(frozen=True)
class Oracle:
    """The target plus normal noise: its score is that of a prediction with an error of this size.

    Attributes:
        noise: standard deviation, in standard deviations of the target over the models.
    """

    noise: float

    @property
    def name(self) -> str:
        return f"oracle-{self.noise:g}-sd"

    @property
    def formula(self) -> str:
        return f"target + {self.noise:g} sd(target) z, z ~ N(0, 1) drawn by the model's id"

    def values(self, target: np.ndarray, model_ids: Sequence[str]) -> np.ndarray:
        """float64 [n]; a model has the same z on every task.

        >>> Oracle(0.0).values(np.array([0.5, 0.7]), ["a", "b"])
        array([0.5, 0.7])
        """
        draws = [numpy_stream(model_id, "oracle").standard_normal() for model_id in model_ids]
        return target + self.noise * target.std() * np.array(draws)


ORACLES = {oracle.name: oracle for oracle in (Oracle(0.5), Oracle(1.0))}
