"""Shared fixtures of the zoo builder: digits, runs that differ in every setting, and small real zoos."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo_builder.building.build import Progress, build
from zoo_builder.building.resume import PART_RUNS
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.files import sha256
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import small_cnn
from zoo_builder.recipes.recipe import Recipe, load_recipe
from zoo_builder.store.format import Part, read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.results import STATISTICS


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture
def architecture() -> Architecture:
    """A small CNN for digits."""
    return small_cnn((1, 8, 8), 10, padding=1)


@pytest.fixture
def relative() -> Callable[[Tensor, Tensor], float]:
    """The norm of the error, relative to that of the truth."""
    return lambda value, truth: ((value.double() - truth).norm() / truth.norm()).item()


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """A table of runs that differ in every setting, except for the columns that are given."""

    def make(models: int = 6, **columns: object) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        kinds = ["he-normal", "normal", "orthogonal", "glorot-normal", "truncated-normal"]
        values = {
            "model_id": [f"run-{number}" for number in range(models)],
            "twin": "run-0",
            "varied": "everything",
            "learning_rate": 10 ** rng.uniform(-3, -1, models),
            "l2": 10 ** rng.uniform(-4, -1, models),
            "momentum": rng.uniform(0, 0.9, models),
            "optimizer": np.resize(["sgd", "adam", "rmsprop"], models),
            "dropout": 0.0,
            "initialization": np.resize(kinds, models),
            "initialization_std": 0.1,
            "train_fraction": np.resize([1.0, 0.25, 0.5], models),
            "batch_size": 32,
        }
        return pd.DataFrame(values | columns)

    return make


def tiny_recipe(models: int = 10, epochs: int = 2) -> Recipe:
    value = load_recipe("digits").to_json()
    value |= {"name": "tiny", "models": models, "seeds": 2, "epochs": epochs, "checkpoints": [0, epochs]}
    for name in ("activation", "optimizer", "learning_rate", "l2", "dropout", "train_fraction"):
        value["fixed"].pop(name, None)
    value["grid"] = {"optimizer": ["sgd", "adam"], "train_fraction": [0.05, 0.1], "activation": ["relu", "tanh"]}
    value["grid"]["learning_rate"] = [0.01, 0.003]
    return Recipe.from_json(value)


@pytest.fixture
def tiny() -> Callable[..., Recipe]:
    """A recipe of ten runs, of two architectures and two optimizers."""
    return tiny_recipe


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds cut their runs into parts of four."""
    monkeypatch.setitem(PART_RUNS, "cpu", 4)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """The zoo of ``tiny()`` in three parts. Tests read it and change only copies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PART_RUNS, "cpu", 4)
        return build(tiny_recipe(), tmp_path_factory.mktemp("zoo") / "tiny", device="cpu")


@pytest.fixture
def copied(zoo: Zoo, tmp_path: Path) -> Path:
    """The folder of a copy of ``zoo``."""
    return shutil.copytree(zoo.root, tmp_path / "copy")


@pytest.fixture
def imported(copied: Path) -> Path:
    """A zoo as an importer may write it: final checkpoints only, without recipe, outputs and training settings."""
    manifest = read_manifest(copied)
    unknown = ["twin", "varied", "train_fraction", "train_loss", "train_accuracy", *STATISTICS]
    parts = []
    for part in (Part.from_json(value) for value in manifest["parts"]):
        checkpoints, weights = (copied / part.file(kind) for kind in ("checkpoints", "weights"))
        table = pd.read_parquet(checkpoints)
        last = (table["epoch"] > 0).to_numpy()
        table[last].drop(columns=unknown).to_parquet(checkpoints, index=False)
        tensors = load_file(weights)
        for key in {name.split("/")[0] for name in tensors}:
            rows = tensors[f"{key}/rows"].numpy()
            kept = torch.as_tensor(last[rows])
            for name in [name for name in tensors if name.startswith(f"{key}/")]:
                tensors[name] = tensors[name][kept].contiguous()
            tensors[f"{key}/rows"] = torch.as_tensor(np.cumsum(last)[rows[last[rows]]] - 1)
        save_file(tensors, weights)
        files = {
            str(path.relative_to(copied)): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in (checkpoints, weights)
        }
        value = {"name": part.name, "first_run": part.first_run, "runs": part.runs, "rows": part.runs, "files": files}
        parts.append(value)
    source = {"description": "Somebody's networks", "url": "https://example.org/zoo"}
    kept = ("schema", "complete", "architectures", "data")
    new = {name: manifest[name] for name in kept} | {"name": "theirs", "source": source, "parts": parts, "plan": []}
    write_manifest(copied, new)
    return copied


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """All files of a zoo with their contents; those that record times are left empty."""

    def read(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): b"" if path.suffix in (".json", ".md") else path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.name != ".lock"
        }

    return read


@pytest.fixture
def rebuilt() -> Callable[..., tuple[int, str]]:
    """Builds in a folder again; returns how many models were trained, and the notes."""

    def again(root: Path, recipe: Recipe | None = None) -> tuple[int, str]:
        trained, notes = [], []
        progress = Progress(start=lambda models, epochs: trained.append(models), note=notes.append)
        build(recipe or tiny_recipe(), root, device="cpu", progress=progress)
        return sum(trained), "; ".join(notes)

    return again


@pytest.fixture
def of_family() -> Callable[..., Recipe]:
    """The grid of digits with networks of another family."""

    def make(family: str, **settings: object) -> Recipe:
        fixed = {"optimizer": "adam", "initialization": "he-normal", "batch_size": 32} | settings
        return Recipe.from_json(load_recipe("digits").to_json() | {"architecture": {"family": family}, "fixed": fixed})

    return make
