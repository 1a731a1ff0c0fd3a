"""What training a stack means: where each run starts, which images it sees and in which order, by which settings.

Every random choice of a run comes from a stream of its own id: it is the same whichever models are trained beside it.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo_builder.architecture import Architecture
from zoo_builder.dropout import dropout_seeds
from zoo_builder.recipe import INITIALIZATIONS
from zoo_builder.streams import numpy_stream, stream_seed, torch_stream

# torch.optim's defaults.
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8
RMSPROP_SMOOTHING, RMSPROP_EPSILON = 0.99, 1e-8


def subset_seed(model_id: str) -> int:
    return stream_seed(model_id, "subset")


def subset_size(train_fraction: float, total: int) -> int:
    return max(1, round(train_fraction * total))


def training_subset(seed: int, size: int, total: int) -> np.ndarray:
    """The ``size`` of ``total`` training images that a run with this subset seed learns from: int64 indices."""
    return np.random.Generator(np.random.Philox(int(seed))).permutation(total)[:size]


def epoch_order(model_id: str, epoch: int, size: int) -> np.ndarray:
    """The order in which a run visits its own images in one epoch (counted from 1)."""
    return numpy_stream(model_id, f"order/{epoch}").permutation(size)


def initialize(architecture: Architecture, model_id: str, kind: str, std: float) -> dict[str, Tensor]:
    """The weights of one run at epoch 0, float32 on the CPU; biases are 0.

    Args:
        kind: one of ``recipe.INITIALIZATIONS``, with Glorot's and He's variance for a normal law and unit gain.
        std: the standard deviation of "normal" and of "truncated-normal" (cut at two of them); others ignore it.
    """
    stream = torch_stream(model_id, "initialization")
    parameters = {}
    for name, shape in architecture.parameters.items():
        value = parameters[name] = torch.zeros(shape)
        if name.endswith(".bias"):
            continue
        match kind:
            case "glorot-normal":
                nn.init.xavier_normal_(value, generator=stream)
            case "he-normal":
                nn.init.kaiming_normal_(value, nonlinearity="relu", generator=stream)
            case "orthogonal":
                nn.init.orthogonal_(value, generator=stream)
            case "normal":
                nn.init.normal_(value, std=std, generator=stream)
            case "truncated-normal":
                nn.init.trunc_normal_(value, std=std, a=-2 * std, b=2 * std, generator=stream)
            case _:
                raise ValueError(f"unknown initialization {kind!r}: use one of {INITIALIZATIONS}")
    return parameters


@dataclass(frozen=True)
class Runs:
    """The settings of M runs of one architecture and batch size, sorted by falling number of training images.

    Sorted so, the runs that take a batch of the same size in a step are neighbours, and so are those of one optimizer
    among them. ``order`` leads back to the caller's rows.

    Attributes:
        model_ids: M ids.
        order: int64 [M], positions in the table the runs were made from.
        sizes: int64 [M], number of training images of each run.
        optimizers: M names.
        learning_rate, l2, momentum: [M, 1] in the training's dtype.
        dropout: float64 [M].
        seeds: {dropout layer: int64 [M]}.
    """

    model_ids: tuple[str, ...]
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
        """From rows of ``zoo_builder.grid.runs``; ``total`` is the number of training images of the data set."""
        sizes = np.array([subset_size(fraction, total) for fraction in table["train_fraction"]], dtype=np.int64)
        order = np.lexsort((table["optimizer"].to_numpy(str), -sizes))
        table = table.iloc[order]
        ids = table["model_id"].tolist()
        layers = [place.name for place in architecture.places if place.name.startswith("dropout")]
        column = {
            name: torch.tensor(table[name].to_numpy(float)).to(dtype)[:, None]
            for name in ("learning_rate", "l2", "momentum")
        }
        return cls(
            model_ids=tuple(ids),
            order=order,
            sizes=sizes[order],
            optimizers=tuple(table["optimizer"]),
            dropout=torch.tensor(table["dropout"].to_numpy(float)),
            seeds=dropout_seeds(ids, layers) if (table["dropout"] > 0).any() else {},
            **column,
        )

    def __len__(self) -> int:
        return len(self.model_ids)

    def take(self, kept: np.ndarray) -> "Runs":
        """The runs at the ascending positions ``kept``."""
        index = torch.as_tensor(kept, device=self.l2.device)
        return replace(
            self,
            model_ids=tuple(self.model_ids[i] for i in kept),
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


@dataclass(frozen=True)
class Trained:
    """What training a table of runs gives: one row per checkpoint of each run, in the order of the runs.

    Attributes:
        table: columns run (position in the table of runs), epoch, steps, status, train_loss, train_accuracy, test_loss,
            test_accuracy. Training figures are known at a run's last checkpoint only, NaN before.
        weights: {parameter: float32 [rows, *shape]}.
        logits: float16 [runs, test images, classes], of each run's last checkpoint.
    """

    table: pd.DataFrame
    weights: dict[str, Tensor]
    logits: Tensor
