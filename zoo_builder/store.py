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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256 as sha256_of
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import torch
from pyarrow.parquet import ParquetFile
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
from zoo_builder.training import STATISTICS

SCHEMA = 2
# Columns of the table that are not hyperparameters.
IDENTITY = ("model_id", "twin", "configuration", "seed", "epoch", "architecture")
RESULTS = ("status", "steps", "train_loss", "train_accuracy", "test_loss", "test_accuracy", *STATISTICS)

# What tables, file headers, sidecars and the manifest take, by experience.
_ROW_BYTES, _PART_BYTES = 80, 20_000


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
    sidecar = {"schema": SCHEMA, **notes, "rows": len(table), "files": written}
    files.write_json(sidecar_path(root, part), sidecar | {"digest": _digest(sidecar)})
    return sidecar


def read_sidecar(root: Path, part: str) -> dict | None:
    """The sidecar of a part; None where there is none or it is damaged.

    Raises:
        InputError: another version of the schema wrote it.
    """
    path = sidecar_path(root, part)
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        _refuse_other_schema(path, sidecar["schema"])
        return sidecar if sidecar.pop("digest") == _digest(sidecar) else None
    except InputError:
        raise
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def finished_part(root: Path, plan: dict, population: str) -> dict | None:
    """The sidecar of a planned part whose files are all there, unaltered; None where the part is to be built.

    Raises:
        InputError: another version of the schema wrote it.
    """
    sidecar = read_sidecar(root, plan["name"])
    if sidecar is None or any(sidecar[name] != value for name, value in {**plan, "population": population}.items()):
        return None
    whole = all(
        (root / name).is_file() and files.sha256(root / name) == entry["sha256"]
        for name, entry in sidecar["files"].items()
    )
    return sidecar if whole else None


def _digest(content: dict) -> str:
    return sha256_of(json.dumps(content, sort_keys=True).encode()).hexdigest()


def expected_bytes(
    runs: pd.DataFrame, architectures: dict[str, Architecture], recipe: Recipe, data: Dataset, parts: int
) -> int:
    """About how large ``parts`` parts of ``runs`` are: weights and outputs to the byte, the rest by experience.

    Runs that stop early have fewer checkpoints, and take less.
    """
    rows, examples = len(recipe.checkpoints), len(data.test_labels)
    size = {key: sum(4 * prod(shape) for shape in value.tensors.values()) for key, value in architectures.items()}
    weights = runs["architecture"].map(size).sum() + len(runs) * 8
    outputs = len(runs) * 2 * examples * len(data.classes) + parts * 8 * examples
    return int(rows * weights + outputs + rows * len(runs) * _ROW_BYTES + parts * _PART_BYTES)


def file_of(part: dict, kind: str) -> tuple[str, dict]:
    """The name of a part's file of "checkpoints", "weights" or "outputs", and its {"sha256", "bytes"}."""
    ((name, entry),) = [(name, entry) for name, entry in part["files"].items() if name.startswith(f"{kind}/")]
    return name, entry


class Damaged(InputError):
    """A manifest that is not as it was written."""


def write_manifest(root: Path, manifest: dict) -> None:
    files.write_json(root / "zoo.json", manifest | {"digest": _digest(manifest)})


def read_manifest(root: Path) -> dict:
    """The manifest of a zoo, finished or not.

    Raises:
        Damaged: it was cut off or altered.
        InputError: there is none, it cannot be read, or it is not one of this version.
    """
    path = root / "zoo.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{root} is not a zoo: it has no zoo.json; build one with `gengap zoo build RECIPE --out {root}`"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): choose another folder") from error
    except ValueError as error:
        raise Damaged(
            f"{path} is damaged ({error}): run the same `gengap zoo build` again, finished parts are kept"
        ) from error
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise InputError(f"{path} is not the manifest of a zoo: choose another folder")
    _refuse_other_schema(path, manifest["schema"])
    if manifest.pop("digest", None) != _digest(manifest):
        raise Damaged(f"{path} has been altered: run the same `gengap zoo build` again, finished parts are kept")
    return manifest


def _refuse_other_schema(path: Path, schema: object) -> None:
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r}, this gengap reads and writes schema {SCHEMA}: use the version of gengap "
            f"that wrote it, or choose another folder; nothing was changed"
        )


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
        # Joined before pandas sees them: a data frame of each part takes three times as long.
        parts = [ParquetFile(self._file(part, "checkpoints")).read() for part in self.manifest["parts"]]
        return pyarrow.concat_tables(parts, promote_options="default").to_pandas()

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
        sums = [file_of(part, "weights")[1]["sha256"] for part in self.manifest["parts"]]
        return sha256_of("\n".join(sums).encode()).hexdigest()

    def weights(self, rows: Sequence[int] | np.ndarray) -> list[Stack]:
        """The networks at ``rows`` of ``table``: one Stack per architecture, each in the order of ``rows``.

        Files are memory-mapped: only what is asked for is read.

        Raises:
            InputError: a file has changed since it was built.
        """
        rows = np.asarray(rows, dtype=np.int64)
        found: dict[str, list[tuple[np.ndarray, dict[str, Tensor]]]] = {}
        for part, places, inside in self._by_part(rows, "rows"):
            with _opened(self._file(part, "weights")) as tensors:
                for key in dict.fromkeys(name.split("/")[0] for name in tensors.keys()):  # noqa: SIM118
                    held = tensors.get_tensor(f"{key}/rows").numpy()
                    position = np.searchsorted(held, inside).clip(max=len(held) - 1)
                    here = held[position] == inside
                    if here.any():
                        index = torch.as_tensor(position[here])
                        names = self.architectures[key].tensors
                        values = {name: tensors.get_tensor(f"{key}/{name}").index_select(0, index) for name in names}
                        found.setdefault(key, []).append((places[here], values))
        return [self._joined(key, pieces, rows) for key, pieces in found.items()]

    def _by_part(self, numbers: np.ndarray, unit: str) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
        """Every part that holds some of the "rows" or "runs" ``numbers``: where in ``numbers``, where in the part."""
        ends = self._ends[unit]
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < ends[-1]:
            raise IndexError(f"the zoo {self.root} has {unit} 0 to {ends[-1] - 1}, and not all that were asked for")
        which = np.searchsorted(ends, numbers, side="right")
        for number in np.unique(which):
            part = self.manifest["parts"][number]
            places = np.flatnonzero(which == number)
            yield part, places, numbers[places] - (ends[number] - part[unit])

    @cached_property
    def _rows_of(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, model_id in enumerate(self.table["model_id"]):
            rows.setdefault(model_id, []).append(row)
        return rows

    @cached_property
    def _ends(self) -> dict[str, np.ndarray]:
        return {unit: np.cumsum([part[unit] for part in self.manifest["parts"]]) for unit in ("rows", "runs")}

    def _joined(self, key: str, pieces: list[tuple[np.ndarray, dict[str, Tensor]]], rows: np.ndarray) -> Stack:
        places = np.concatenate([piece for piece, _ in pieces])
        order = np.argsort(places)
        index = torch.as_tensor(order)
        names = self.architectures[key].tensors
        joined = {name: torch.cat([values[name] for _, values in pieces]).index_select(0, index) for name in names}
        return Stack(self.architectures[key], joined, rows[places[order]])

    def outputs(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Logits on every test example for ``rows`` of ``final`` (by their index): float16 [len(rows), N, classes].

        A diverged run's are NaN.
        """
        return self._of_outputs(rows, lambda logits, labels: logits)

    def correct(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Which test examples each of ``rows`` of ``final`` classifies rightly, by its outputs: bool [len(rows), N].

        Outputs are kept in half precision, so that an example or two may differ from the recorded accuracy.
        """
        return self._of_outputs(rows, lambda logits, labels: logits.argmax(2) == labels)

    def _of_outputs(self, rows: Sequence[int] | np.ndarray, take: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """What ``take`` makes of each part's logits [runs, N, classes] and labels [N], for ``rows`` of ``final``."""
        run = self.final.index.get_indexer(np.asarray(rows, dtype=np.int64))
        pieces, places = [], []
        for part, here, inside in self._by_part(run, "runs"):
            with _opened(self._file(part, "outputs")) as tensors:
                logits = tensors.get_tensor("logits").index_select(0, torch.as_tensor(inside))
                pieces.append(take(logits, tensors.get_tensor("labels")).numpy())
            places.append(here)
        return np.concatenate(pieces)[np.argsort(np.concatenate(places))]

    def module(self, model_id: str, epoch: int | None = None) -> nn.Module:
        """One network in eval mode; ``epoch`` defaults to the last checkpoint.

        Raises:
            InputError: no such model or epoch.
        """
        if model_id not in self._rows_of:
            raise InputError(f"the zoo {self.root} has no model {model_id!r}: see the column model_id of zoo.table")
        rows = {int(self.table["epoch"].iat[row]): row for row in self._rows_of[model_id]}
        if epoch is not None and epoch not in rows:
            raise InputError(f"model {model_id} has no checkpoint of epoch {epoch}, only {list(rows)}")
        (stack,) = self.weights([rows[max(rows) if epoch is None else epoch]])
        return networks.module(stack.architecture, {name: value[0] for name, value in stack.parameters.items()})

    def data(self, root: str | Path | None = None) -> Dataset:
        """The data set the zoo was trained on, from ``root`` or from where the build found it.

        Raises:
            InputError: it cannot be loaded, or is not the same data.
        """
        known = self.manifest["data"]
        where = known["location"] if root is None else root
        try:
            data = load(known["name"], where, known["colour"])
        except InputError as error:
            if root is not None or where is None:
                raise
            raise InputError(
                f"{error} (the zoo {self.root} was built from there: say with --data where it lies now)"
            ) from error
        if data.fingerprint != known["fingerprint"]:
            raise InputError(
                f"the data set {known['name']!r} found here is not the one the zoo {self.root} was trained on "
                f"(fingerprint {data.fingerprint[:12]}, not {known['fingerprint'][:12]}): pass its folder with --data"
            )
        return data

    def _file(self, part: dict, kind: str) -> Path:
        """The path of a part's file, after comparing its checksum."""
        name, entry = file_of(part, kind)
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
