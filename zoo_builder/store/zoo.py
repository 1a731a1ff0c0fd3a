"""A zoo on disk, and its reader ``Zoo``.

    zoo.json                                   manifest, the last thing written
    README.md                                  zoo card
    checkpoints/part-00000.parquet             one row per checkpoint
    weights/part-00000.safetensors             "<architecture>/<parameter>" [rows, ...] and, for each architecture,
                                               "<architecture>/rows": the rows of the part's table they belong to
    outputs/<data set>/part-00000.safetensors  "logits" float16 [runs, examples, classes] of last checkpoints, "labels"
    parts/part-00000.json                      the part's sidecar: checksums, rows, engine; written last

A part holds all checkpoints of its runs. Every file appears whole or not at all.

The manifest of a built zoo has its "recipe". That of an imported zoo has a "source" instead: a mapping with a
"description" and anything else that documents its origin. Its table needs the columns model_id, configuration, seed,
epoch, architecture and status; it may lack twin, hyperparameters, other results, and earlier checkpoints. Its parts may
lack outputs and sidecars.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256 as sha256_of
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import torch
from safetensors import safe_open
from torch import Tensor, nn

from zoo_builder import files, limits
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack
from zoo_builder.recipes.hyperparameters import CLASSIFICATION
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.contents import open_tensors, output_faults, read_table, table_faults, weight_faults
from zoo_builder.store.format import IDENTITY, MANIFEST, Part, read_manifest, sidecar_path
from zoo_builder.training.results import RESULTS


@dataclass(frozen=True)
class Zoo:
    """A finished zoo, read lazily. Every file's checksum is compared with the manifest when it is first read.

    A file that does not hold what ``store.contents`` describes is refused with an InputError.

    Attributes:
        root: its folder.
        manifest: the content of zoo.json.
    """

    root: Path
    manifest: dict
    _checked: set[str] = field(default_factory=set, repr=False)
    _sound: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """Opens a finished zoo.

        Raises:
            InputError: not a zoo, not finished, or one of its files is missing or has another size.
        """
        zoo = cls.of_manifest(path)
        for part in zoo.parts:
            for name, file in part.files.items():
                zoo._refuse_unless(files.inside(zoo.root, name).is_file(), name, "is missing")
                size = (zoo.root / name).stat().st_size
                zoo._refuse_unless(size == file.bytes, name, f"has {size} bytes, the manifest {file.bytes}")
        return zoo

    @classmethod
    def of_manifest(cls, path: str | Path) -> "Zoo":
        """Opens a finished zoo without looking at its other files; see ``open``."""
        root = Path(path)
        manifest = read_manifest(root)
        if not manifest["complete"]:
            done = sum(sidecar_path(root, part["name"]).is_file() for part in manifest["plan"])
            raise InputError(
                f"the zoo {root} is not finished ({done} of {len(manifest['plan'])} parts): "
                "run the same `gengap zoo build` again to finish it"
            )
        return cls(root, manifest)

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def provenance(self) -> str:
        """ "built" from a recipe, or "imported" from another source."""
        return "built" if "recipe" in self.manifest else "imported"

    @cached_property
    def recipe(self) -> Recipe | None:
        """The recipe of a built zoo; None for an imported one."""
        return Recipe.from_json(self.manifest["recipe"]) if self.provenance == "built" else None

    @property
    def problem(self) -> str:
        """The name of the problem that the networks were trained for."""
        return self.recipe.problem if self.recipe else self.manifest.get("problem", CLASSIFICATION)

    @property
    def description(self) -> str:
        return self.recipe.description if self.recipe else self.manifest["source"].get("description", "")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part.from_json(part) for part in self.manifest["parts"])

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        made = {}
        for key, value in self.manifest["architectures"].items():
            try:
                made[key] = Architecture.from_json(value)
                limits.refuse_beyond_memory("its activations for one example", 4 * made[key].units)
                if len(made[key].places[-1].output_shape) != 1:
                    raise InputError("it ends with an image, expected a vector of logits")
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise InputError(
                    f"{self.root / MANIFEST}: {key[:80]!a} is not an architecture that gengap writes: {error}"
                ) from error
        return made

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per checkpoint, run by run, epochs ascending; the index counts rows over all parts."""
        # Joined before pandas sees them: a data frame of each part takes three times as long.
        try:
            return pyarrow.concat_tables(map(self._table, self.parts), promote_options="default").to_pandas()
        except pyarrow.ArrowException as error:
            raise InputError(f"the parts of the zoo {self.root} do not have the same columns: {error}") from error

    @cached_property
    def final(self) -> pd.DataFrame:
        """The last row of every run, with its index in ``table``."""
        return self.table[~self.table["model_id"].duplicated(keep="last")]

    @property
    def hyperparameters(self) -> list[str]:
        """The columns of ``table`` that are hyperparameters, varied or not."""
        return [name for name in self.table.columns if name not in IDENTITY + RESULTS]

    @cached_property
    def axes(self) -> list[str]:
        """The hyperparameters that vary between the runs, in the order of the columns."""
        return [name for name in self.hyperparameters if self.final[name].nunique(dropna=False) > 1]

    @property
    def has_outputs(self) -> bool:
        """Whether every part has stored outputs."""
        return all(part.has("outputs") for part in self.parts)

    @cached_property
    def weights_hash(self) -> str:
        """sha256 over the checksums of all weight files; leaderboards are keyed by it."""
        return sha256_of("\n".join(part.weights_hash for part in self.parts).encode()).hexdigest()

    def weights(self, rows: Sequence[int] | np.ndarray) -> list[Stack]:
        """The networks at ``rows`` of ``table``: one Stack per architecture, each in the order of ``rows``.

        Files are memory-mapped, so only the tensors of these rows are read.

        Raises:
            InputError: a file has been altered.
            IndexError: a row is not in the table.
        """
        rows = np.asarray(rows, dtype=np.int64)
        found: dict[str, list[tuple[np.ndarray, dict[str, Tensor]]]] = {}
        for part, places, inside in self._by_part(rows, "rows"):
            with self._tensors(part, "weights") as tensors:
                for key in dict.fromkeys(name.split("/")[0] for name in tensors.keys()):  # noqa: SIM118
                    held = tensors.get_tensor(f"{key}/rows").numpy()
                    position = np.searchsorted(held, inside).clip(max=len(held) - 1)
                    here = held[position] == inside
                    if here.any():
                        index = torch.as_tensor(position[here])
                        names = self.architectures[key].tensors
                        values = {name: tensors.get_tensor(f"{key}/{name}").index_select(0, index) for name in names}
                        found.setdefault(key, []).append((places[here], values))
        return [self._joined(key, chunks, rows) for key, chunks in found.items()]

    def outputs(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Logits on every test example for ``rows`` of ``final`` (by index): float16 [len(rows), N, classes].

        Those of a diverged run are NaN.

        Raises:
            InputError: a part has no outputs.
        """
        return self._of_outputs(rows, lambda logits, labels: logits)

    def correct(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Which test examples each of ``rows`` of ``final`` classifies correctly: bool [len(rows), N].

        Computed from outputs in half precision, so an example or two may differ from the recorded accuracy.

        Raises:
            InputError: a part has no outputs.
        """
        return self._of_outputs(rows, lambda logits, labels: logits.argmax(2) == labels)

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
        return to_module(stack.architecture, {name: value[0] for name, value in stack.parameters.items()})

    @property
    def names_data(self) -> bool:
        """Whether the zoo names the data set it was trained on. An imported zoo need not."""
        return {"name", "fingerprint"} <= self.manifest.get("data", {}).keys()

    def data(self, root: str | Path | None = None) -> Dataset:
        """The data set the zoo was trained on, from ``root`` or from where the build found it.

        Raises:
            InputError: it cannot be loaded, is not the same data, or an imported zoo does not name it.
        """
        if not self.names_data:
            raise InputError(f"the zoo {self.root} does not name its data set: use only what needs no data")
        known = self.manifest["data"]
        where = known.get("location") if root is None else root
        try:
            data = load(known["name"], where, known.get("colour", "grey"), known.get("size"))
        except InputError as error:
            if root is not None or where is None:
                raise
            raise InputError(
                f"{error} (the zoo {self.root} was built from there: pass the folder where it is now as `data_root`)"
            ) from error
        if data.fingerprint != known["fingerprint"]:
            raise InputError(
                f"the data set {known['name']!r} found here is not the one the zoo {self.root} was trained on "
                f"(fingerprint {data.fingerprint[:12]}, not {known['fingerprint'][:12]}): pass its folder "
                "as `data_root`"
            )
        forms = {(*data.train_images.shape[1:], len(data.classes))}
        if others := {(*each.input_shape, each.classes) for each in self.architectures.values()} - forms:
            read, (given,) = sorted(others, key=str)[0], forms
            raise InputError(
                f"the networks of the zoo {self.root} read images {_sizes(read)}, those of the data set "
                f"{known['name']!r} are {_sizes(given)}: use only what needs no data"
            )
        return data

    def _joined(self, key: str, chunks: list[tuple[np.ndarray, dict[str, Tensor]]], rows: np.ndarray) -> Stack:
        """The stack of one architecture in the order of ``rows``; a chunk is (positions in ``rows``, tensors)."""
        places = np.concatenate([chunk for chunk, _ in chunks])
        order = np.argsort(places)
        index = torch.as_tensor(order)
        names = self.architectures[key].tensors
        joined = {name: torch.cat([values[name] for _, values in chunks]).index_select(0, index) for name in names}
        return Stack(self.architectures[key], joined, rows[places[order]])

    def _of_outputs(self, rows: Sequence[int] | np.ndarray, take: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """``take`` of each part's logits [runs, N, classes] and labels [N], joined in the order of ``rows``."""
        run = self.final.index.get_indexer(np.asarray(rows, dtype=np.int64))
        chunks, places = [], []
        for part, here, inside in self._by_part(run, "runs"):
            with self._tensors(part, "outputs") as tensors:
                logits = tensors.get_tensor("logits").index_select(0, torch.as_tensor(inside))
                chunks.append(take(logits, tensors.get_tensor("labels")).numpy())
            places.append(here)
        return np.concatenate(chunks)[np.argsort(np.concatenate(places))]

    def _by_part(self, numbers: np.ndarray, unit: str) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Each part with some of the "rows" or "runs" ``numbers``: their positions in ``numbers`` and in the part."""
        ends = self._ends[unit]
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < ends[-1]:
            raise IndexError(
                f"the zoo {self.root} has {unit} 0 to {ends[-1] - 1}: {numbers.min()} to {numbers.max()} given"
            )
        which = np.searchsorted(ends, numbers, side="right")
        for number in np.unique(which):
            part = self.parts[number]
            places = np.flatnonzero(which == number)
            yield part, places, numbers[places] - (ends[number] - getattr(part, unit))

    @cached_property
    def _rows_of(self) -> dict[str, list[int]]:
        """The rows of ``table`` of each model, by model_id."""
        rows: dict[str, list[int]] = {}
        for row, model_id in enumerate(self.table["model_id"]):
            rows.setdefault(model_id, []).append(row)
        return rows

    @cached_property
    def _ends(self) -> dict[str, np.ndarray]:
        """How many "rows" and "runs" each part and all parts before it have."""
        return {unit: np.cumsum([getattr(part, unit) for part in self.parts]) for unit in ("rows", "runs")}

    def _table(self, part: Part) -> pyarrow.Table:
        path = self._file(part, "checkpoints")
        try:
            table = read_table(path, part)
        except (OSError, ValueError) as error:
            raise self._refusal(part.file("checkpoints"), f"cannot be read: {error}") from error
        fault = next(table_faults(table, part, self.architectures), None)
        self._refuse_unless(fault is None, part.file("checkpoints"), f"is not what a zoo holds: {fault}")
        return table

    def refuse_faulty_weights(self) -> None:
        """Raises InputError if the headers of the files of weights do not fit the table; reads no weights."""
        for part in self.parts:
            with self._tensors(part, "weights"):
                pass

    def _tensors(self, part: Part, kind: str) -> safe_open:
        """The "weights" or "outputs" of a part, memory-mapped."""
        name = part.file(kind)
        try:
            tensors = open_tensors(self._file(part, kind))
            if name not in self._sound:
                fault = next(self._faults(part, kind, tensors), None)
                self._refuse_unless(fault is None, name, f"is not what a zoo holds: {fault}")
                self._sound.add(name)
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise self._refusal(name, f"cannot be read: {error}") from error
        return tensors

    def _faults(self, part: Part, kind: str, tensors: safe_open) -> Iterator[str]:
        if kind == "outputs":
            return output_faults(tensors, part)
        end = self._ends["rows"][self.parts.index(part)]
        keys = self.table["architecture"].iloc[end - part.rows : end]
        return weight_faults(tensors, keys.to_numpy(object), self.architectures)

    def _file(self, part: Part, kind: str) -> Path:
        """The path of a part's file, after comparing its checksum."""
        name = part.file(kind)
        if name not in self._checked:
            self._refuse_unless(files.inside(self.root, name).is_file(), name, "is missing")
            same = files.sha256(self.root / name) == part.files[name].sha256
            self._refuse_unless(same, name, "has been altered: its sha256 is not the manifest's")
            self._checked.add(name)
        return self.root / name

    def _refuse_unless(self, good: bool, name: str, problem: str) -> None:
        if not good:
            raise self._refusal(name, problem)

    def _refusal(self, name: str, problem: str) -> InputError:
        repair = "run the same `gengap zoo build` again to rebuild that part" if self.recipe else "import it again"
        return InputError(
            f"{self.root / name} {problem}; {repair}, or list all faults with `gengap zoo verify {self.root}`"
        )


def _sizes(form: tuple[int, ...]) -> str:
    """
    >>> _sizes((3, 32, 32, 10))
    '3x32x32 of 10 classes'
    """
    *shape, classes = form
    return f"{'x'.join(map(str, shape))} of {classes} classes"
