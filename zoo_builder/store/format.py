"""The files of a zoo on disk: parts with their sidecars, and the manifest."""

import json
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save
from torch import Tensor

from zoo_builder import files, limits
from zoo_builder.errors import InputError
from zoo_builder.store.strict import check_manifest, check_part

SCHEMA = 2
MANIFEST = "zoo.json"
SIDECARS = "parts"
# JSON takes up to so many times its bytes in memory.
_JSON_IN_MEMORY = 40
# Columns of the table that are neither hyperparameters nor results.
IDENTITY = ("model_id", "twin", "configuration", "seed", "epoch", "architecture")


@dataclass(frozen=True)
class PlannedPart:
    """A part to build: ``runs`` rows of the table of runs, from row ``first_run`` on."""

    name: str
    first_run: int
    runs: int

    @classmethod
    def numbered(cls, number: int, first_run: int, runs: int) -> "PlannedPart":
        """The part of this number in a plan.

        >>> PlannedPart.numbered(3, first_run=96, runs=32).name
        'part-00003'
        """
        return cls(f"part-{number:05d}", first_run, runs)

    def select(self, runs: pd.DataFrame) -> pd.DataFrame:
        """The rows of the table of runs that belong to this part."""
        return runs.iloc[self.first_run : self.first_run + self.runs]


@dataclass(frozen=True)
class File:
    """The checksum (sha256, hex) and the size of a part's file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Part:
    """One slice of a zoo on disk: all checkpoints of ``runs`` runs.

    Attributes:
        population: hash of what all parts of a built zoo share; see ``building.population.Population.digest``.
        engines: the engines that trained it, with their instruction sets.
        seconds: training time of one worker.
        rows: checkpoints.
        files: {path below the zoo's folder: checksum and size}.
    """

    name: str
    first_run: int
    runs: int
    population: str = ""
    engines: tuple[str, ...] = ()
    seconds: float = 0.0
    rows: int = 0
    files: dict[str, File] = field(default_factory=dict)

    @property
    def planned(self) -> PlannedPart:
        """The entry of this part in the plan."""
        return PlannedPart(self.name, self.first_run, self.runs)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    def has(self, kind: str) -> bool:
        """Whether the part has a file of "checkpoints", "weights" or "outputs"."""
        return any(name.startswith(f"{kind}/") for name in self.files)

    def file(self, kind: str) -> str:
        """The path of that file below the zoo's folder.

        Raises:
            InputError: the part has none.
        """
        for name in self.files:
            if name.startswith(f"{kind}/"):
                return name
        raise InputError(f"{self.name} has no {kind}: use only what needs none")

    @property
    def weights_hash(self) -> str:
        """sha256 (hex) of the file of weights."""
        return self.files[self.file("weights")].sha256

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self), "engines": list(self.engines)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Part":
        """The inverse of ``to_json``; an imported part may lack population, engines and seconds.

        Raises:
            ValueError, TypeError: a field is missing, unknown or wrong, or names a file that is not the part's.
        """
        check_part(value)
        known = {name: content for name, content in value.items() if name != "schema"}
        found = {name: File(**entry) for name, entry in value["files"].items()}
        return cls(**{**known, "engines": tuple(value.get("engines", ())), "files": found})


def sidecar_path(root: Path, part: str) -> Path:
    return root / SIDECARS / f"{part}.json"


def write_part(
    root: Path, part: Part, table: pd.DataFrame, weights: dict[str, Tensor], outputs: dict[str, Tensor], data_name: str
) -> Part:
    """Writes the three files of a part, then its sidecar.

    Args:
        part: all but its rows and files.
        table: one row per checkpoint.
        weights: "<architecture>/<parameter>" and "<architecture>/rows".
        outputs: the tensors of the file below outputs/``data_name``.

    Returns:
        ``part`` with its rows and files.
    """
    contents = {
        f"checkpoints/{part.name}.parquet": lambda path: table.to_parquet(path, index=False),
        # Serialized in memory first: safetensors' own file writer hides the cause of a failed write.
        f"weights/{part.name}.safetensors": lambda path: path.write_bytes(save(weights)),
        f"outputs/{data_name}/{part.name}.safetensors": lambda path: path.write_bytes(save(outputs)),
    }
    written = {}
    for name, write in contents.items():
        files.write_atomically(root / name, write)
        written[name] = File(files.sha256(root / name), (root / name).stat().st_size)
    part = replace(part, rows=len(table), files=written)
    sidecar = part.to_json()
    files.write_json(sidecar_path(root, part.name), sidecar | {"digest": _digest(sidecar)})
    return part


def read_sidecar(root: Path, name: str) -> Part | None:
    """The part of this name, from its sidecar; None if there is no sidecar or it is damaged.

    Raises:
        InputError: another version of the schema wrote it.
    """
    path = sidecar_path(root, name)
    try:
        sidecar = _read_json(files.inside(root, f"{SIDECARS}/{name}.json"))
        _refuse_other_schema(path, sidecar["schema"])
        return Part.from_json(sidecar) if sidecar.pop("digest") == _digest(sidecar) else None
    except InputError:
        raise
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def finished_part(root: Path, planned: PlannedPart, population: str) -> Part | None:
    """The part, if it was built as planned and all of its files are there, unaltered; None if it is to be built.

    Raises:
        InputError: another version of the schema wrote it.
    """
    part = read_sidecar(root, planned.name)
    if part is None or part.planned != planned or part.population != population:
        return None
    whole = all(
        (root / name).is_file() and files.sha256(files.inside(root, name)) == file.sha256
        for name, file in part.files.items()
    )
    return part if whole else None


def _digest(content: dict) -> str:
    return sha256_of(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Damaged(InputError):
    """A manifest that is not as it was written."""


def write_manifest(root: Path, manifest: dict) -> None:
    files.write_json(root / MANIFEST, manifest | {"digest": _digest(manifest)})


def read_manifest(root: Path) -> dict:
    """The manifest of a zoo, finished or not. It has a "recipe" if the zoo was built, and a "source" if imported.

    Raises:
        Damaged: it was cut off or altered.
        InputError: there is none, it cannot be read, or it has another schema.
    """
    path = root / MANIFEST
    try:
        manifest = _read_json(files.inside(root, MANIFEST))
    except FileNotFoundError as error:
        raise InputError(
            f"{root} is not a zoo: it has no {MANIFEST}; build one with `gengap zoo build RECIPE --out {root}`"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): choose another folder") from error
    except InputError:
        raise
    except ValueError as error:
        raise Damaged(
            f"{path} is damaged ({error}): run the same `gengap zoo build` again, finished parts are kept"
        ) from error
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise InputError(f"{path} is not the manifest of a zoo: choose another folder")
    _refuse_other_schema(path, manifest["schema"])
    if manifest.pop("digest", None) != _digest(manifest):
        raise Damaged(f"{path} has been altered: run the same `gengap zoo build` again, finished parts are kept")
    if not {"recipe", "source"} & set(manifest):
        raise InputError(
            f"{path} has neither a recipe nor a source: a zoo is built from one or imported from the other"
        )
    try:
        check_manifest(manifest)
    except ValueError as error:
        raise InputError(f"{path} is not a manifest that gengap writes: {error}; choose another zoo") from error
    return manifest


def _read_json(path: Path) -> Any:
    return files.read_json(path, largest=limits.memory() // _JSON_IN_MEMORY)


def _refuse_other_schema(path: Path, schema: object) -> None:
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r}, this gengap reads and writes schema {SCHEMA}: use the version of gengap "
            f"that wrote it, or choose another folder; nothing was changed"
        )
