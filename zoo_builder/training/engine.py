"""What an engine computes: M models of one architecture, on a CPU or a GPU. Whoever needs a pass asks one of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo_builder.networks.architecture import Architecture

if TYPE_CHECKING:
    from zoo_builder.training.state import Active


class Engine(Protocol):
    """Computes stacks; ``loop.train`` trains with one."""

    name: str
    device: torch.device
    dtype: torch.dtype

    @property
    def instruction_set(self) -> str:
        """What a part's results may differ by in their last bits."""
        ...

    def epoch(
        self, architecture: Architecture, active: Active, batch_size: int, images: Tensor, labels: Tensor
    ) -> Iterator[Active]:
        """One pass of every run over ``active.indices``; yields (split off) runs that are no longer finite."""
        ...

    def gradient(
        self,
        architecture: Architecture,
        weights: Tensor,
        buffers: dict[str, Tensor],
        images: Tensor,
        labels: Tensor,
        indices: np.ndarray,
    ) -> Tensor:
        """The gradient [M, P] of each model's mean cross-entropy at its own images, in eval mode.

        Args:
            weights: [M, P], each model's parameters flat, in the order of ``architecture.parameters``.
            buffers: {name: [M, *shape]}, as ``architecture.buffers``.
            images, labels: uint8 [N, C, H, W] and int64 [N], on the engine's device as the weights are.
            indices: int64 [M, B], which of the images are each model's own.
        """
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
