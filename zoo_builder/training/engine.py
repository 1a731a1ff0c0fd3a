"""The interface of a compute engine: training, gradients and outputs of M models of one architecture."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from zoo_builder.networks.architecture import Architecture
from zoo_builder.training.state import Active


class Engine(Protocol):
    """Computes stacks, on a CPU or a GPU; ``loop.train`` trains with one.

    Attributes:
        name: "native" or "torch".
        device: where weights and images are.
        dtype: of weights and activations.
    """

    name: str
    device: torch.device
    dtype: torch.dtype

    @property
    def instruction_set(self) -> str:
        """The instruction set in use: results of two sets may differ in their last bits."""
        ...

    def epoch(
        self, architecture: Architecture, active: Active, batch_size: int, images: Tensor, labels: Tensor
    ) -> Iterator[Active]:
        """Trains every run for one epoch, in place, on its ``active.indices``.

        Splits off and yields the runs that diverged, which have a loss or weights that are not finite.

        Args:
            batch_size: images of each run in a step; the last batch of an epoch may be smaller.
            images, labels: uint8 [N, C, H, W] and int64 [N], contiguous, on the engine's device.
        """
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
        """The gradient [M, P] of each model's mean cross-entropy on its own images, in eval mode.

        Args:
            weights: [M, P], each model's parameters flat, in the order of ``architecture.parameters``.
            buffers: {name: [M, *shape]}, as ``architecture.buffers``.
            images, labels: uint8 [N, C, H, W] and int64 [N], on the engine's device, like the weights.
            indices: int64 [M, B], the images of each model.
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

        Every model reads all N images (B = N), or, with ``indices`` int64 [M, B], those of its own row.
        """
        ...
