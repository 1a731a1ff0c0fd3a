"""A zoo on disk: how a part is written, and ``Zoo``, which reads the whole.

    zoo.json                                   manifest, the last thing written
    README.md                                  zoo card
    checkpoints/part-00000.parquet             one row per checkpoint
    weights/part-00000.safetensors             "<architecture>/<parameter>" [rows, ...] and, beside each architecture's
                                               tensors, "<architecture>/rows": which rows of the table part they are
    outputs/<data set>/part-00000.safetensors  "logits" float16 [runs, examples, classes] of last checkpoints, "labels"
    parts/part-00000.json                      the part's sidecar: checksums, rows, engine; written last

A part holds all checkpoints of its runs. Every file appears whole or not at all.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256 as sha256_of
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from zoo_builder import files, networks
from zoo_builder.architecture import Architecture
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError
from zoo_builder.networks import Stack
from zoo_builder.recipe import Recipe

SCHEMA = 1
# Columns of the table that are not hyperparameters.
IDENTITY = ("model_id", "configuration", "seed", "epoch", "architecture")
RESULTS = ("status", "steps", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def part_name(number: int) -> str:
    return f"part-{number:05d}"


def sidecar_path(root: Path, part: str) -> Path:
    return root / "parts" / f"{part}.json"


def write_part(
    root: Path,
    notes: dict,
    table: pd.DataFrame,
    weights: dict[str, Tensor],
    logits: Tensor,
    labels: Tensor,
    data_name: str,
) -> dict:
    """Writes the three files of a part, then its sidecar, and returns the sidecar.

    Args:
        notes: the head of the sidecar: name, first_run, runs, population, engine, ...
        table: one row per checkpoint.
        weights: "<architecture>/<parameter>" and "<architecture>/rows".
        logits, labels: float16 [runs, examples, classes] and int64 [examples].
    """
    part = notes["name"]
    outputs = {"logits": logits, "labels": labels}
    contents = {
        f"checkpoints/{part}.parquet": lambda path: table.to_parquet(path, index=False),
        # Serialized in memory first: safetensors' own file writer hides the cause of a failed write.
        f"weights/{part}.safetensors": lambda path: path.write_bytes(save(weights)),
        f"outputs/{data_name}/{part}.safetensors": lambda path: path.write_bytes(save(outputs)),
    }
    written = {}
    for name, write in contents.items():
        files.write_atomically(root / name, write)
        written[name] = {"sha256": files.sha256(root / name), "bytes": (root / name).stat().st_size}
    sidecar = {**notes, "rows": len(table), "files": written}
    files.write_json(sidecar_path(root, part), sidecar)
    return sidecar


def finished_part(root: Path, plan: dict, population: str) -> dict | None:
    """The sidecar of a planned part whose files are all there, unaltered; None where the part is to be built."""
    path = sidecar_path(root, plan["name"])
    if not path.is_file():
        return None
    sidecar = json.loads(path.read_text(encoding="utf-8"))
    if any(sidecar[name] != value for name, value in {**plan, "population": population}.items()):
        return None
    whole = all(
        (root / name).is_file() and files.sha256(root / name) == entry["sha256"]
        for name, entry in sidecar["files"].items()
    )
    return sidecar if whole else None


def read_manifest(root: Path) -> dict:
    """The manifest of a zoo, finished or not.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = root / "zoo.json"
    if not path.is_file():
        raise InputError(
            f"{root} is not a zoo: it has no zoo.json; build one with `gengap zoo build RECIPE --out {root}`"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        schema = manifest["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}): delete it and run the same `gengap zoo build` again, finished parts are kept"
        ) from error
    if schema != SCHEMA:
        raise InputError(f"{path} has schema {schema}, this gengap reads {SCHEMA}: use the version that wrote it")
    return manifest


@dataclass(frozen=True)
class Zoo:
    """A finished zoo, read lazily. Every file's checksum is compared with the manifest when it is first read.

    Attributes:
        root: its folder.
        manifest: the content of zoo.json.
    """

    root: Path
    manifest: dict
    _checked: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """Opens a finished zoo.

        Raises:
            InputError: not a zoo, not finished, or a file of it is missing or has another size.
        """
        root = Path(path)
        manifest = read_manifest(root)
        if not manifest["complete"]:
            done = sum(sidecar_path(root, part["name"]).is_file() for part in manifest["plan"])
            raise InputError(
                f"the zoo {root} is not finished ({done} of {len(manifest['plan'])} parts): "
                f"run the same `gengap zoo build` again, it goes on where it stopped"
            )
        zoo = cls(root, manifest)
        for part in manifest["parts"]:
            for name, entry in part["files"].items():
                zoo._refuse_unless((root / name).is_file(), name, "is missing")
                size = (root / name).stat().st_size
                zoo._refuse_unless(
                    size == entry["bytes"], name, f"has {size} bytes, the manifest says {entry['bytes']}"
                )
        return zoo

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.from_json(self.manifest["recipe"])

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        return {key: Architecture.from_json(value) for key, value in self.manifest["architectures"].items()}

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per checkpoint, run by run, epochs ascending; the index counts rows over all parts."""
        parts = [pd.read_parquet(self._file(part, "checkpoints")) for part in self.manifest["parts"]]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def final(self) -> pd.DataFrame:
        """The last row of every run, under its index in ``table``."""
        return self.table[~self.table["model_id"].duplicated(keep="last")]

    @property
    def hyperparameters(self) -> list[str]:
        """The columns of ``table`` that are hyperparameters, varied or not."""
        return [name for name in self.table.columns if name not in IDENTITY + RESULTS]

    @cached_property
    def weights_hash(self) -> str:
        """sha256 over the checksums of all weight files: what a leaderboard is keyed by."""
        sums = [
            entry["sha256"]
            for part in self.manifest["parts"]
            for name, entry in part["files"].items()
            if "weights/" in name
        ]
        return sha256_of("\n".join(sums).encode()).hexdigest()

    def weights(self, rows: Sequence[int] | np.ndarray) -> list[Stack]:
        """The networks at ``rows`` of ``table``: one Stack per architecture, each in the order of ``rows``.

        Files are memory-mapped: only what is asked for is read.

        Raises:
            InputError: a file has changed since it was built.
        """
        rows = np.asarray(rows, dtype=np.int64)
        found: dict[str, list[tuple[np.ndarray, dict[str, Tensor]]]] = {}
        first = 0
        for part in self.manifest["parts"]:
            places = np.flatnonzero((rows >= first) & (rows < first + part["rows"]))
            if len(places):
                path = self._file(part, "weights")
                with _opened(path) as tensors:
                    for key in dict.fromkeys(name.split("/")[0] for name in tensors.keys()):  # noqa: SIM118
                        held = tensors.get_tensor(f"{key}/rows").numpy()
                        position = np.searchsorted(held, rows[places] - first).clip(max=len(held) - 1)
                        here = held[position] == rows[places] - first
                        if here.any():
                            index = torch.as_tensor(position[here])
                            names = self.architectures[key].parameters
                            values = {name: tensors.get_tensor(f"{key}/{name}")[index] for name in names}
                            found.setdefault(key, []).append((places[here], values))
            first += part["rows"]
        return [self._joined(key, pieces, rows) for key, pieces in found.items()]

    def _joined(self, key: str, pieces: list[tuple[np.ndarray, dict[str, Tensor]]], rows: np.ndarray) -> Stack:
        places = np.concatenate([piece for piece, _ in pieces])
        order = np.argsort(places)
        index = torch.as_tensor(order)
        names = self.architectures[key].parameters
        joined = {name: torch.cat([values[name] for _, values in pieces])[index] for name in names}
        return Stack(self.architectures[key], joined, rows[places[order]])

    def outputs(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Logits on every test example for ``rows`` of ``final`` (by their index): float16 [len(rows), N, classes].

        A diverged run's are NaN.
        """
        rows = np.asarray(rows, dtype=np.int64)
        run = pd.Series(np.arange(len(self.final)), index=self.final.index).loc[rows].to_numpy()
        pieces, places, first = [], [], 0
        for part in self.manifest["parts"]:
            here = np.flatnonzero((run >= first) & (run < first + part["runs"]))
            if len(here):
                with _opened(self._file(part, "outputs")) as tensors:
                    pieces.append(tensors.get_tensor("logits")[torch.as_tensor(run[here] - first)].numpy())
                places.append(here)
            first += part["runs"]
        return np.concatenate(pieces)[np.argsort(np.concatenate(places))]

    def module(self, model_id: str, epoch: int | None = None) -> nn.Module:
        """One network in eval mode; ``epoch`` defaults to the last checkpoint.

        Raises:
            InputError: no such model or epoch.
        """
        found = self.table[self.table["model_id"] == model_id]
        if found.empty:
            raise InputError(f"the zoo {self.root} has no model {model_id!r}: see the column model_id of zoo.table")
        chosen = found.tail(1) if epoch is None else found[found["epoch"] == epoch]
        if chosen.empty:
            raise InputError(f"model {model_id} has no checkpoint of epoch {epoch}, only {found['epoch'].tolist()}")
        (stack,) = self.weights(chosen.index)
        return networks.module(stack.architecture, {name: value[0] for name, value in stack.parameters.items()})

    def data(self, root: str | Path | None = None) -> Dataset:
        """The data set the zoo was trained on, from ``root`` or from where the build found it.

        Raises:
            InputError: it cannot be loaded, or is not the same data.
        """
        known = self.manifest["data"]
        data = load(known["name"], known["location"] if root is None else root, known["colour"])
        if data.fingerprint != known["fingerprint"]:
            raise InputError(
                f"the data set {known['name']!r} found here is not the one the zoo {self.root} was trained on "
                f"(fingerprint {data.fingerprint[:12]}, not {known['fingerprint'][:12]}): pass its folder with --data"
            )
        return data

    def _file(self, part: dict, kind: str) -> Path:
        """The path of a part's file, after comparing its checksum."""
        ((name, entry),) = [(name, entry) for name, entry in part["files"].items() if name.startswith(f"{kind}/")]
        if name not in self._checked:
            self._refuse_unless((self.root / name).is_file(), name, "is missing")
            same = files.sha256(self.root / name) == entry["sha256"]
            self._refuse_unless(same, name, "has been altered: its sha256 is not the manifest's")
            self._checked.add(name)
        return self.root / name

    def _refuse_unless(self, good: bool, name: str, problem: str) -> None:
        if not good:
            raise InputError(
                f"{self.root / name} {problem}; run the same `gengap zoo build` again to rebuild that part, "
                f"or `gengap zoo verify {self.root}` to see all that is wrong"
            )


def _opened(path: Path):
    """A memory-mapped safetensors file."""
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file: {error}") from error
