"""The settings of the runs of a stack: optimizer, dropout, training subset, and the order of its images.

Every random choice of a run comes from a stream of its own id, so it does not depend on the other runs in the stack.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.dropout import dropout_seeds
from zoo_builder.recipes.hyperparameters import VARIED
from zoo_builder.streams import numpy_stream, stream_seed

# torch.optim's defaults.
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8
RMSPROP_SMOOTHING, RMSPROP_EPSILON = 0.99, 1e-8
# The columns that determine a run's training subset. An imported zoo may lack some of them.
SUBSET_COLUMNS = ("model_id", "twin", "varied", "train_fraction")


def stream_ids(runs: pd.DataFrame, purpose: str) -> list[str]:
    """The id that seeds each run's stream for ``purpose``: the run's own, or that of its configuration's first seed."""
    columns = zip(runs["model_id"], runs["twin"], runs["varied"], strict=True)
    return [model_id if purpose in VARIED[varied] else twin for model_id, twin, varied in columns]


def subset_seeds(runs: pd.DataFrame) -> np.ndarray:
    """The seed of each run's training subset, int64 [n]; see ``training_subset``.

    Raises:
        InputError: ``runs`` lacks some of ``SUBSET_COLUMNS``.
    """
    if missing := [name for name in SUBSET_COLUMNS if name not in runs]:
        raise InputError(
            f"the training subset of each run is not known: the table has no column {', '.join(missing)}; "
            "use what needs no training subset, or a zoo that was built here"
        )
    return np.array([stream_seed(identity, "subset") for identity in stream_ids(runs, "subset")], dtype=np.int64)


def subset_size(train_fraction: float, total: int) -> int:
    """The number of training images of a run.

    >>> subset_size(0.25, 1437)
    359
    """
    return max(1, round(train_fraction * total))


def training_subset(seed: int, size: int, total: int) -> np.ndarray:
    """The training images of a run with this subset seed: int64 [size], indices below ``total``."""
    return np.random.Generator(np.random.Philox(int(seed))).permutation(total)[:size]


def epoch_order(stream_id: str, epoch: int, size: int) -> np.ndarray:
    """The order in which a run visits its own images in one epoch (counted from 1)."""
    return numpy_stream(stream_id, f"order/{epoch}").permutation(size)


@dataclass(frozen=True)
class Runs:
    """The settings of M runs of one architecture and batch size, sorted by decreasing number of training images.

    This order makes runs with equally large batches in a step neighbors, and among them those of one optimizer.
    ``order`` leads back to the caller's rows.

    Attributes:
        order_ids: M ids; their streams determine the order of each run's images.
        order: int64 [M], positions in the table the runs were made from.
        sizes: int64 [M], number of training images of each run.
        optimizers: M names.
        learning_rate, l2, momentum: [M, 1] in the training's dtype.
        dropout: float64 [M].
        seeds: {dropout layer: int64 [M]}.
    """

    order_ids: tuple[str, ...]
    order: np.ndarray
    sizes: np.ndarray
    optimizers: tuple[str, ...]
    learning_rate: Tensor
    l2: Tensor
    momentum: Tensor
    dropout: Tensor
    seeds: dict[str, Tensor]

    @classmethod
    def of(cls, architecture: Architecture, table: pd.DataFrame, total: int, dtype: torch.dtype) -> "Runs":
        """From rows of ``recipes.grid.runs``; ``total`` is the number of training images in the data set."""
        sizes = np.array([subset_size(fraction, total) for fraction in table["train_fraction"]], dtype=np.int64)
        order = np.lexsort((table["optimizer"].to_numpy(str), -sizes))
        table = table.iloc[order]
        layers = [place.name for place in architecture.places if place.name.startswith("dropout")]
        column = {
            name: torch.tensor(table[name].to_numpy(float)).to(dtype)[:, None]
            for name in ("learning_rate", "l2", "momentum")
        }
        return cls(
            order_ids=tuple(stream_ids(table, "order")),
            order=order,
            sizes=sizes[order],
            optimizers=tuple(table["optimizer"]),
            dropout=torch.tensor(table["dropout"].to_numpy(float)),
            seeds=dropout_seeds(stream_ids(table, "dropout"), layers) if (table["dropout"] > 0).any() else {},
            **column,
        )

    def __len__(self) -> int:
        return len(self.order_ids)

    def take(self, kept: np.ndarray) -> "Runs":
        """The runs at the ascending positions ``kept``."""
        index = torch.as_tensor(kept, device=self.l2.device)
        return replace(
            self,
            order_ids=tuple(self.order_ids[i] for i in kept),
            order=self.order[kept],
            sizes=self.sizes[kept],
            optimizers=tuple(self.optimizers[i] for i in kept),
            learning_rate=self.learning_rate[index],
            l2=self.l2[index],
            momentum=self.momentum[index],
            dropout=self.dropout[index],
            seeds={name: value[index] for name, value in self.seeds.items()},
        )

    def to(self, device: torch.device) -> "Runs":
        return replace(
            self,
            learning_rate=self.learning_rate.to(device),
            l2=self.l2.to(device),
            momentum=self.momentum.to(device),
            dropout=self.dropout.to(device),
            seeds={name: value.to(device) for name, value in self.seeds.items()},
        )
