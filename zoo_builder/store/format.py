"""The files of a zoo on disk: parts with their sidecars, and the manifest."""

import json
from hashlib import sha256 as sha256_of
from pathlib import Path

import pandas as pd
from safetensors.torch import save
from torch import Tensor

from zoo_builder import files
from zoo_builder.errors import InputError
from zoo_builder.training.settings import STATISTICS

SCHEMA = 2
# Columns of the table that are not hyperparameters.
IDENTITY = ("model_id", "twin", "configuration", "seed", "epoch", "architecture")
RESULTS = ("status", "steps", "train_loss", "train_accuracy", "test_loss", "test_accuracy", *STATISTICS)


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
