"""What an engine does. Whoever needs a pass through many networks asks one of these."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from torch import Tensor

from zoo_builder.architecture import Architecture
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.training import Trained


class Engine(Protocol):
    """Trains and evaluates stacks: M models of one architecture."""

    name: str

    @property
    def instruction_set(self) -> str:
        """What a part's results may differ by in their last bits."""
        ...

    def train(
        self,
        architecture: Architecture,
        runs: pd.DataFrame,
        data: Dataset,
        checkpoints: Sequence[int],
        stop_cross_entropy: float | None = None,
        progress: Callable[[int], object] = lambda model_epochs: None,
    ) -> Trained:
        """Trains every row of ``runs`` (one batch size) from epoch 0 to the last of ``checkpoints``."""
        ...

    def logits(
        self,
        architecture: Architecture,
        parameters: dict[str, Tensor],
        images: Tensor,
        indices: np.ndarray | None = None,
    ) -> Tensor:
        """Logits [M, B, classes] in eval mode for uint8 images [N, C, H, W].

        Every model sees all N images (B = N), or, with ``indices`` int64 [M, B], those of its own row.
        """
        ...
