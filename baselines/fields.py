"""The fields of a view: how each is made from a zoo, reduced to some of the models, and stored in a folder.

A new field is a class here, listed in ``FIELDS``, and a name in ``baselines.levels.ACCESS``.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import Stack
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.results import STATISTICS
from zoo_builder.training.settings import subset_seeds, subset_size


@dataclass(frozen=True)
class TrainData:
    """The training images, and which of them each model was trained on with which result.

    Attributes:
        images: uint8 [N, channels, height, width]; ``zoo_builder.datasets.dataset.scaled`` maps them to [-1, 1].
        labels: int64 [N].
        subset_size: int64 [n], the number of images that each model was trained on.
        subset_seed: int64 [n]; ``zoo_builder.training.settings.training_subset(seed, size, N)`` gives their indices.
        loss, accuracy: float64 [n], mean cross-entropy and accuracy on the model's own training images, in eval mode.
    """

    images: Tensor
    labels: Tensor
    subset_size: np.ndarray
    subset_seed: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True)
class TargetData:
    """Unlabeled target images and the outputs of every model on them.

    Attributes:
        images: uint8 [N, channels, height, width], the same order for all models.
        logits: float16 [n, N, classes].
    """

    images: Tensor
    logits: np.ndarray


@dataclass(frozen=True)
class SourceData:
    """A labeled test set from the distribution of the training data, and the outputs of every model on it.

    Attributes:
        images: uint8 [N, channels, height, width].
        labels: int64 [N].
        logits: float16 [n, N, classes].
    """

    images: Tensor
    labels: Tensor
    logits: np.ndarray


@dataclass(frozen=True)
class Missing:
    """In place of a field that a zoo does not have. Reading it from a view raises NotApplicable with the reason."""

    reason: str


class Field(Protocol):
    """One field of a view. Values belong to n models, numbered 0 .. n-1."""

    name: str

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> Any:
        """The value for the runs in ``final`` (rows of ``zoo.final``), or ``Missing``; ``data`` loads the data set."""

    def take(self, value: Any, rows: np.ndarray) -> Any:
        """The value for the models at ``rows`` (distinct int64, any order), renumbered in that order; copies."""

    def save(self, value: Any, folder: Path) -> None:
        """Writes the value to files of its own in ``folder``."""

    def load(self, folder: Path) -> Any:
        """The inverse of ``save``; tensors are memory-mapped."""


class Networks:
    """Weights of all models, one Stack per architecture."""

    name: ClassVar[str]

    def rows(self, zoo: Zoo, final: pd.DataFrame) -> np.ndarray | Missing:
        """The rows of ``zoo.table`` that hold these weights, in the order of ``final``."""
        raise NotImplementedError

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> list[Stack] | Missing:
        rows = self.rows(zoo, final)
        return rows if isinstance(rows, Missing) else _stacks_at(zoo, rows)

    def take(self, value: list[Stack], rows: np.ndarray) -> list[Stack]:
        position = np.full(sum(map(len, value)), -1)
        position[rows] = np.arange(len(rows))
        return [chosen for stack in value if len(chosen := _renumbered(stack, position))]

    def save(self, value: list[Stack], folder: Path) -> None:
        arrays: dict[str, Any] = {}
        for number, stack in enumerate(value):
            arrays |= {f"{number}/{name}": tensor for name, tensor in stack.parameters.items()}
            arrays[f"{number}/rows"] = stack.rows
        architectures = json.dumps([stack.architecture.to_json() for stack in value])
        _save_arrays(folder / f"{self.name}.safetensors", arrays, {"architectures": architectures})

    def refer(self, zoo: Zoo, final: pd.DataFrame, folder: Path) -> Missing | None:
        """In place of ``make`` and ``save``: notes where ``load`` finds the weights in the zoo; Missing as ``make``."""
        rows = self.rows(zoo, final)
        if isinstance(rows, Missing):
            return rows
        zoo.refuse_faulty_weights()
        where = {"zoo": str(zoo.root.resolve()), "rows": rows.tolist()}
        (folder / f"{self.name}.json").write_text(json.dumps(where), encoding="utf-8")
        return None

    def load(self, folder: Path) -> list[Stack]:
        if (reference := folder / f"{self.name}.json").is_file():
            where = json.loads(reference.read_text(encoding="utf-8"))
            return _stacks_at(Zoo.open(where["zoo"]), np.array(where["rows"], dtype=np.int64))
        arrays, metadata = _load_arrays(folder / f"{self.name}.safetensors")
        stacks = []
        for number, value in enumerate(json.loads(metadata["architectures"])):
            architecture = Architecture.from_json(value)
            parameters = {name: arrays[f"{number}/{name}"] for name in architecture.tensors}
            stacks.append(Stack(architecture, parameters, arrays[f"{number}/rows"].numpy()))
        return stacks


class Stacks(Networks):
    """``view.stacks``: the final weights."""

    name = "stacks"

    def rows(self, zoo: Zoo, final: pd.DataFrame) -> np.ndarray:
        return final.index.to_numpy()


class Initial(Networks):
    """``view.initial``: the weights at epoch 0."""

    name = "initial"

    def rows(self, zoo: Zoo, final: pd.DataFrame) -> np.ndarray | Missing:
        first = zoo.table[(zoo.table["epoch"] == 0) & zoo.table["model_id"].isin(final["model_id"])]
        if len(first) < len(final):
            return Missing("the zoo has no epoch-0 checkpoints, so the initialization is unknown")
        return pd.Series(first.index, index=first["model_id"]).loc[final["model_id"]].to_numpy()


class _Table:
    """One row per model."""

    name: ClassVar[str]

    def take(self, value: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
        return value.iloc[rows].reset_index(drop=True)

    def save(self, value: pd.DataFrame, folder: Path) -> None:
        value.to_parquet(folder / f"{self.name}.parquet")

    def load(self, folder: Path) -> pd.DataFrame:
        return pd.read_parquet(folder / f"{self.name}.parquet")


class Hyperparameters(_Table):
    """``view.hyperparameters``: numbers and strings."""

    name = "hyperparameters"

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> pd.DataFrame | Missing:
        if not zoo.hyperparameters:
            return Missing("the zoo does not record hyperparameters")
        return final[zoo.hyperparameters].reset_index(drop=True)


class Statistics(_Table):
    """``view.statistics``: what training recorded along the way."""

    name = "statistics"

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> pd.DataFrame | Missing:
        known = [name for name in STATISTICS if name in final]
        if not known:
            return Missing(f"the zoo does not record training statistics ({', '.join(STATISTICS)})")
        return final[known].reset_index(drop=True)


class Configurations:
    """``view.configurations``: a number for each configuration."""

    name = "configurations"

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> np.ndarray:
        return pd.factorize(final["configuration"])[0].astype(np.int64)

    def take(self, value: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return value[rows]

    def save(self, value: np.ndarray, folder: Path) -> None:
        np.save(folder / f"{self.name}.npy", value)

    def load(self, folder: Path) -> np.ndarray:
        return np.load(folder / f"{self.name}.npy")


class Train:
    """``view.train``: a ``TrainData``."""

    name = "train"

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> TrainData | Missing:
        if not {"train_fraction", "twin", "varied"} <= set(final):
            return Missing("the zoo does not record which training images each model was trained on")
        if not {"train_loss", "train_accuracy"} <= set(final):
            return Missing("the zoo does not record the loss and accuracy of each model on its training images")
        if not zoo.names_data:
            return Missing("the zoo does not name the data set that its models were trained on")
        images, labels = data().train_images, data().train_labels
        return TrainData(
            images=images,
            labels=labels,
            subset_size=np.array([subset_size(fraction, len(labels)) for fraction in final["train_fraction"]]),
            subset_seed=subset_seeds(final),
            loss=final["train_loss"].to_numpy(float),
            accuracy=final["train_accuracy"].to_numpy(float),
        )

    def take(self, value: TrainData, rows: np.ndarray) -> TrainData:
        """The images and labels are the same tensors: a model may need any of them."""
        per_model = ("subset_size", "subset_seed", "loss", "accuracy")
        return replace(value, **{name: getattr(value, name)[rows] for name in per_model})

    def save(self, value: TrainData, folder: Path) -> None:
        _save_arrays(folder / f"{self.name}.safetensors", vars(value))

    def load(self, folder: Path) -> TrainData:
        arrays, _ = _load_arrays(folder / f"{self.name}.safetensors")
        per_model = {name: value.numpy() for name, value in arrays.items() if name not in ("images", "labels")}
        return TrainData(images=arrays["images"], labels=arrays["labels"], **per_model)


class Targets:
    """``view.targets``: {name: TargetData}, today the zoo's test images under the name of its data set."""

    name = "targets"

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> dict[str, TargetData] | Missing:
        if not zoo.has_outputs or not zoo.names_data:
            return Missing("the zoo has no target data with outputs of its models")
        return {data().name: TargetData(images=data().test_images, logits=zoo.outputs(final.index))}

    def take(self, value: dict[str, TargetData], rows: np.ndarray) -> dict[str, TargetData]:
        return {name: replace(target, logits=target.logits[rows]) for name, target in value.items()}

    def save(self, value: dict[str, TargetData], folder: Path) -> None:
        arrays = {f"{name}/{kind}": array for name, target in value.items() for kind, array in vars(target).items()}
        _save_arrays(folder / f"{self.name}.safetensors", arrays, {"names": json.dumps(list(value))})

    def load(self, folder: Path) -> dict[str, TargetData]:
        arrays, metadata = _load_arrays(folder / f"{self.name}.safetensors")
        return {
            name: TargetData(images=arrays[f"{name}/images"], logits=arrays[f"{name}/logits"].numpy())
            for name in json.loads(metadata["names"])
        }


class Source:
    """``view.source``: a ``SourceData``. No zoo has a labeled test set beside its targets yet."""

    name = "source"

    def make(self, zoo: Zoo, final: pd.DataFrame, data: Callable[[], Dataset]) -> Missing:
        return Missing("the zoo has no labeled source test set beside its unlabeled targets")

    def take(self, value: SourceData, rows: np.ndarray) -> SourceData:
        return replace(value, logits=value.logits[rows])

    def save(self, value: SourceData, folder: Path) -> None:
        _save_arrays(folder / f"{self.name}.safetensors", vars(value))

    def load(self, folder: Path) -> SourceData:
        arrays, _ = _load_arrays(folder / f"{self.name}.safetensors")
        return SourceData(images=arrays["images"], labels=arrays["labels"], logits=arrays["logits"].numpy())


FIELDS: tuple[Field, ...] = (
    Stacks(),
    Initial(),
    Hyperparameters(),
    Configurations(),
    Train(),
    Statistics(),
    Targets(),
    Source(),
)


def _stacks_at(zoo: Zoo, rows: np.ndarray) -> list[Stack]:
    """The networks at ``rows`` of ``zoo.table``, numbered by their positions in ``rows``."""
    position = pd.Series(np.arange(len(rows)), index=rows)
    return [replace(stack, rows=position.loc[stack.rows].to_numpy()) for stack in zoo.weights(rows)]


def _renumbered(stack: Stack, position: np.ndarray) -> Stack:
    """The models of ``stack`` whose new position is not -1, by ascending new position."""
    new = position[stack.rows]
    kept = np.flatnonzero(new >= 0)
    kept = kept[np.argsort(new[kept])]
    return replace(stack.take(kept), rows=new[kept])


def _save_arrays(path: Path, arrays: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    tensors = {
        name: (torch.from_numpy(array.copy()) if isinstance(array, np.ndarray) else array).contiguous()
        for name, array in arrays.items()
    }
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        # It has the system's error only in its text.
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def _load_arrays(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
