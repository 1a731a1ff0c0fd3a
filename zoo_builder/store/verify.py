"""Checks the files of a zoo against its manifest and against each other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from zoo_builder import files
from zoo_builder.store.format import Part


def part_faults(root: Path, part: Part) -> Iterator[str]:
    """Yields one line for each fault of a part: checksums, row alignment, weights that are not finite."""
    broken = False
    for name, file in part.files.items():
        if not (root / name).is_file():
            yield f"{name}: missing"
        elif files.sha256(root / name) != file.sha256:
            yield f"{name}: altered, its sha256 is not the manifest's"
        else:
            continue
        broken = True
    if not broken:
        try:
            yield from (f"{part.name}: {fault}" for fault in _content_faults(root, part))
        except (OSError, ValueError, IndexError, SafetensorError) as error:
            yield f"{part.name}: cannot be read: {error}"


def _content_faults(root: Path, part: Part) -> Iterator[str]:
    table = pd.read_parquet(root / part.file("checkpoints"))
    if missing := [name for name in ("model_id", "status", "architecture") if name not in table]:
        yield f"the table has no column {', '.join(missing)}"
        return
    if len(table) != part.rows or table["model_id"].nunique() != part.runs:
        yield f"the table has {len(table)} rows of {table['model_id'].nunique()} runs, unlike the manifest"
        return
    yield from _weight_faults(root / part.file("weights"), table)
    if part.has("outputs"):
        with safe_open(root / part.file("outputs"), framework="pt") as tensors:
            runs = tensors.get_slice("logits").get_shape()[0]
        if runs != part.runs:
            yield f"outputs of {runs} runs, expected {part.runs}"


def _weight_faults(path: Path, table: pd.DataFrame) -> Iterator[str]:
    ok = (table["status"] != "diverged").to_numpy()
    covered = np.zeros(len(table), dtype=int)
    with safe_open(path, framework="pt") as tensors:
        names = list(tensors.keys())
        for key in sorted({name.split("/")[0] for name in names}):
            rows = tensors.get_tensor(f"{key}/rows").numpy()
            covered[rows] += 1
            if (table["architecture"].to_numpy()[rows] != key).any():
                yield f"weights of architecture {key} are at rows of another"
            for name in (name for name in names if name.startswith(f"{key}/") and name != f"{key}/rows"):
                values = tensors.get_tensor(name)
                if len(values) != len(rows):
                    yield f"{name} has {len(values)} rows, expected {len(rows)}"
                elif not bool(torch.isfinite(values[torch.as_tensor(ok[rows])]).all()):
                    yield f"{name} has weights that are not finite in runs that did not diverge"
    if (covered != 1).any():
        yield f"{int((covered != 1).sum())} rows of the table have no weights, or several"
