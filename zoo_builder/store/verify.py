"""Checks the files of a zoo against its manifest and against each other."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open

from zoo_builder import files
from zoo_builder.errors import said
from zoo_builder.networks.architecture import Architecture
from zoo_builder.store.contents import open_tensors, output_faults, read_table, table_faults, weight_faults
from zoo_builder.store.format import Part

_MEASURED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def part_faults(root: Path, part: Part, architectures: Mapping[str, Architecture]) -> Iterator[str]:
    """Yields one line for each fault of a part: checksums, row alignment, weights and results that are not finite."""
    broken = False
    for name, file in part.files.items():
        if fault := _file_fault(root, name, file.sha256):
            broken = True
            yield f"{name}: {fault}"
    if not broken:
        try:
            yield from (f"{part.name}: {fault}" for fault in _content_faults(root, part, architectures))
        except Exception as error:  # noqa: BLE001 - a part of others may break anything, and other parts follow
            yield f"{part.name}: cannot be read: {said(error)}"


def _file_fault(root: Path, name: str, sha256: str) -> str | None:
    try:
        path = files.inside(root, name)
        if not path.is_file():
            return "missing"
        return None if files.sha256(path) == sha256 else "altered, its sha256 is not the manifest's"
    except (OSError, ValueError) as error:
        return f"cannot be read: {said(error)}"


def _content_faults(root: Path, part: Part, architectures: Mapping[str, Architecture]) -> Iterator[str]:
    coded = read_table(root / part.file("checkpoints"), part)
    if faults := list(table_faults(coded, part, architectures)):
        yield from faults
        return
    table = coded.to_pandas()
    yield from _result_faults(table)
    keys = table["architecture"].to_numpy(object)
    with open_tensors(root / part.file("weights")) as tensors:
        if faults := list(weight_faults(tensors, keys, architectures)):
            yield from faults
        else:
            yield from _infinite_weights(tensors, (table["status"] != "diverged").to_numpy())
    if part.has("outputs"):
        with open_tensors(root / part.file("outputs")) as tensors:
            yield from output_faults(tensors, part)


def _result_faults(table: pd.DataFrame) -> Iterator[str]:
    """Results of last checkpoints that no run can have, if it did not diverge."""
    last = table[~table["model_id"].duplicated(keep="last") & (table["status"] == "ok")]
    for name in _MEASURED:
        if name in last:
            values = pd.to_numeric(last[name], errors="coerce").to_numpy(float, na_value=np.nan)
            most = 1 if name.endswith("accuracy") else np.finfo(float).max
            if wrong := int((~((values >= 0) & (values <= most))).sum()):
                yield f"{name} of {wrong} models is not a number from 0 {'to 1' if most == 1 else 'on'}"


def _infinite_weights(tensors: safe_open, ok: np.ndarray) -> Iterator[str]:
    """Tensors with values that are not finite at the rows of the table where ``ok`` is true."""
    for name in tensors.keys():  # noqa: SIM118
        key, _, parameter = name.partition("/")
        if parameter != "rows":
            rows = tensors.get_tensor(f"{key}/rows").numpy()
            if not bool(torch.isfinite(tensors.get_tensor(name)[torch.as_tensor(ok[rows])]).all()):
                yield f"{name} has weights that are not finite in runs that did not diverge"
