"""The interface of a problem: what the networks of a zoo are trained for."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import pandas as pd
from torch import Tensor

from zoo_builder.networks.architecture import Architecture, Shape
from zoo_builder.networks.stack import Stack
from zoo_builder.training.engine import Engine
from zoo_builder.training.results import Trained


class Cost(NamedTuple):
    """Seconds per model, per training sample (in one epoch of one model), and per example a model is evaluated on."""

    model: float
    sample: float
    example: float


class Problem(Protocol):
    """A problem with its data in memory.

    ``runs`` are rows of ``recipes.grid.runs``. Runs that are trained in one stack share their architecture and the
    columns named by ``shared``. A recipe names its problem; ``loading.load_problem`` makes it, and
    ``recipes.hyperparameters.HYPERPARAMETERS`` lists its hyperparameters.

    Attributes:
        results: the result columns of a zoo's table.
        verified: those that ``verify`` recomputes.
        shared: see above.
    """

    results: ClassVar[tuple[str, ...]]
    verified: ClassVar[tuple[str, ...]]
    shared: ClassVar[tuple[str, ...]]

    @property
    def data_name(self) -> str:
        """The name of the data set, and of the folder of stored outputs."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the data."""
        ...

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of what every network reads."""
        ...

    @property
    def outputs(self) -> int:
        """The number of outputs of every network for one example."""
        ...

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one run's stored outputs: test examples first."""
        ...

    def description(self) -> dict[str, Any]:
        """The section "data" of a zoo's manifest."""
        ...

    def remarks(self) -> list[str]:
        """Remarks on the data that a build passes to its user, one line each."""
        ...

    def check(self, architecture: Architecture, runs: pd.DataFrame) -> None:
        """Raises InputError if ``architecture`` cannot be trained with the settings of these ``runs``."""
        ...

    def examples(self, runs: pd.DataFrame) -> np.ndarray:
        """How many training examples each run sees in an epoch: int64 [n]."""
        ...

    def batches(self, runs: pd.DataFrame) -> np.ndarray:
        """How many examples each run's largest batch has: int64 [n]."""
        ...

    def train(
        self,
        engine: Engine,
        architecture: Architecture,
        runs: pd.DataFrame,
        checkpoints: Sequence[int],
        stop: float | None,
        progress: Callable[[int], object],
    ) -> Trained:
        """Trains one stack from epoch 0 to the last of ``checkpoints``; see ``training.loop.train``."""
        ...

    def cost(self, engine: Engine, architecture: Architecture, runs: pd.DataFrame) -> Cost:
        """Measures the cost of training a stack of ``runs``, on a small share of the data."""
        ...

    def stored(self, outputs: Tensor) -> dict[str, Tensor]:
        """The tensors of a part's file of outputs, from ``outputs`` [runs, *output_shape]."""
        ...

    def stored_bytes(self, runs: int, parts: int) -> int:
        """The bytes of these tensors for this many runs, in this many parts."""
        ...

    def verify(self, rows: pd.DataFrame, stack: Stack, outputs: np.ndarray | None) -> Iterator[str]:
        """Recomputes the outputs and results of a stack; yields a line for each model with stored ones that differ.

        Args:
            rows: the table's rows of the models in ``stack``.
            outputs: their stored outputs [M, *output_shape]; None if the zoo has none.
        """
        ...

    def share_memory(self) -> None:
        """Moves the data to shared memory, so that worker processes read it without a copy."""
        ...
