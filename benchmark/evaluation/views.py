"""Views of a zoo: made for an access level, and carried to the process that runs a method as plain files.

The files hold what the level allows and no label of a model: whoever reads them all learns no more than the view says.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from baselines.access import ACCESS, TargetData, TrainData, View
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import Stack
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.settings import STATISTICS, subset_seeds, subset_size

_TABLES = ("hyperparameters", "statistics")


def make_view(zoo: Zoo, final: pd.DataFrame, access: str, data: Dataset | str | Path | None = None) -> View:
    """What ``access`` may read of the runs in ``final`` (rows of ``zoo.final``), numbered in that order.

    Args:
        data: the zoo's data set, or what ``Zoo.data`` finds it by.

    Raises:
        InputError: a part of the zoo, or the data set that the level needs, cannot be read.
    """
    allowed = ACCESS[access]
    content = {}
    if "stacks" in allowed:
        content["stacks"] = _numbered(zoo.weights(final.index), final.index)
        first = zoo.table[(zoo.table["epoch"] == 0) & zoo.table["model_id"].isin(final["model_id"])]
        if len(first) == len(final):
            rows = pd.Series(first.index, index=first["model_id"]).loc[final["model_id"]].to_numpy()
            content["initial"] = _numbered(zoo.weights(rows), rows)
    if "hyperparameters" in allowed:
        content["hyperparameters"] = final[zoo.hyperparameters].reset_index(drop=True)
    if "configurations" in allowed:
        content["configurations"] = pd.factorize(final["configuration"])[0].astype(np.int64)
    if "statistics" in allowed:
        content["statistics"] = final[list(STATISTICS)].reset_index(drop=True)
    if "train" in allowed:
        if not isinstance(data, Dataset):
            data = zoo.data(data)
        total = len(data.train_labels)
        content["train"] = TrainData(
            images=data.train_images,
            labels=data.train_labels,
            subset_size=np.array([subset_size(fraction, total) for fraction in final["train_fraction"]]),
            subset_seed=subset_seeds(final),
            loss=final["train_loss"].to_numpy(float),
            accuracy=final["train_accuracy"].to_numpy(float),
        )
        if "target" in allowed:
            content["target"] = TargetData(images=data.test_images, logits=zoo.outputs(final.index))
    return View(access=access, size=len(final), **content)


def _numbered(stacks: list[Stack], rows: pd.Index | np.ndarray) -> list[Stack]:
    """The same stacks with positions in ``rows`` for their rows."""
    position = pd.Series(np.arange(len(rows)), index=rows)
    return [Stack(stack.architecture, stack.parameters, position.loc[stack.rows].to_numpy()) for stack in stacks]


def save_view(view: View, folder: Path) -> None:
    """Writes a view as safetensors, Parquet and JSON."""
    allowed = ACCESS[view.access]
    tensors, architectures = {}, []
    for kind in ("stacks", "initial"):
        stacks = getattr(view, kind) if kind in allowed else None
        for number, stack in enumerate(stacks or []):
            tensors |= {f"{kind}/{number}/{name}": value.contiguous() for name, value in stack.parameters.items()}
            tensors[f"{kind}/{number}/rows"] = torch.tensor(stack.rows)
            if kind == "stacks":
                architectures.append(stack.architecture.to_json())
    if "configurations" in allowed:
        tensors["configurations"] = torch.tensor(view.configurations)
    for kind in ("train", "target"):
        if kind in allowed and (part := getattr(view, kind)) is not None:
            tensors |= {
                f"{kind}/{name}": torch.tensor(value) if isinstance(value, np.ndarray) else value
                for name, value in vars(part).items()
            }
    save_file(tensors, folder / "view.safetensors")
    for name in _TABLES:
        if name in allowed and (table := getattr(view, name)) is not None:
            table.to_parquet(folder / f"{name}.parquet")
    description = {"access": view.access, "size": view.size, "architectures": architectures}
    (folder / "view.json").write_text(json.dumps(description), encoding="utf-8")


def load_view(folder: Path) -> View:
    """The inverse of ``save_view``; tensors are memory-mapped."""
    description = json.loads((folder / "view.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "view.safetensors")
    architectures = [Architecture.from_json(value) for value in description["architectures"]]

    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    content = {}
    for kind in ("stacks", "initial"):
        stacks = []
        for number, architecture in enumerate(architectures):
            if parameters := under(f"{kind}/{number}/"):
                rows = parameters.pop("rows").numpy()
                stacks.append(Stack(architecture, {name: parameters[name] for name in architecture.tensors}, rows))
        content[kind] = stacks or ([] if kind == "stacks" else None)
    if "configurations" in tensors:
        content["configurations"] = tensors["configurations"].numpy()
    if train := under("train/"):
        arrays = {name: train.pop(name).numpy() for name in ("subset_size", "subset_seed", "loss", "accuracy")}
        content["train"] = TrainData(images=train["images"], labels=train["labels"], **arrays)
    if target := under("target/"):
        content["target"] = TargetData(images=target["images"], logits=target["logits"].numpy())
    for name in _TABLES:
        if (path := folder / f"{name}.parquet").is_file():
            content[name] = pd.read_parquet(path)
    return View(access=description["access"], size=description["size"], **content)
