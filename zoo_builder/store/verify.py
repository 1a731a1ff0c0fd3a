"""Finds everything that is wrong with a zoo on disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from zoo_builder import files
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.store.format import read_manifest
from zoo_builder.store.zoo import Zoo

# Engines differ in the last bits, so an example or two can cross a decision boundary.
_EXAMPLES_OFF = 2
# Outputs are stored in half precision.
_OUTPUT_TOLERANCE = 2e-3


def problems(path: str | Path, *, sample: int = 20, data_root: str | Path | None = None) -> Iterator[str]:
    """Yields one line for each thing that is wrong: checksums, row alignment, weights that are not finite, and stored
    outputs and recorded test accuracies that are not those of ``sample`` models, drawn by a fixed seed.

    Raises:
        InputError: not a zoo, an unfinished one, or its data set cannot be loaded.
    """
    root = Path(path)
    manifest = read_manifest(root)
    if not manifest["complete"]:
        Zoo.open(root)  # says how far it is
    sound = True
    for part in manifest["parts"]:
        found = list(_part_problems(root, part))
        sound = sound and not found
        yield from found
    if sound:
        zoo = Zoo.open(root)
        if twice := sum(part["runs"] for part in manifest["parts"]) - len(zoo.final):
            yield f"{twice} models stand in more than one part"
        yield from _accuracy_problems(zoo, zoo.data(data_root), sample)


def _part_problems(root: Path, part: dict) -> Iterator[str]:
    broken = False
    for name, entry in part["files"].items():
        if not (root / name).is_file():
            yield f"{name}: missing"
        elif files.sha256(root / name) != entry["sha256"]:
            yield f"{name}: altered, its sha256 is not the manifest's"
        else:
            continue
        broken = True
    if broken:
        return
    paths = {name.split("/")[0]: root / name for name in part["files"]}
    try:
        table = pd.read_parquet(paths["checkpoints"])
        yield from (f"{part['name']}: {problem}" for problem in _alignment_problems(part, table, paths))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        yield f"{part['name']}: cannot be read: {error}"


def _alignment_problems(part: dict, table: pd.DataFrame, paths: dict[str, Path]) -> Iterator[str]:
    if len(table) != part["rows"] or table["model_id"].nunique() != part["runs"]:
        yield f"the table has {len(table)} rows of {table['model_id'].nunique()} runs, the manifest says otherwise"
        return
    ok = (table["status"] != "diverged").to_numpy()
    covered = np.zeros(len(table), dtype=int)
    with safe_open(paths["weights"], framework="pt") as tensors:
        names = list(tensors.keys())
        for key in sorted({name.split("/")[0] for name in names}):
            rows = tensors.get_tensor(f"{key}/rows").numpy()
            covered[rows] += 1
            if (table["architecture"].to_numpy()[rows] != key).any():
                yield f"weights of architecture {key} stand at rows of another"
            for name in (name for name in names if name.startswith(f"{key}/") and name != f"{key}/rows"):
                values = tensors.get_tensor(name)
                if len(values) != len(rows):
                    yield f"{name} has {len(values)} rows, expected {len(rows)}"
                elif not bool(torch.isfinite(values[torch.as_tensor(ok[rows])]).all()):
                    yield f"{name} has weights that are not finite in runs that did not diverge"
    if (covered != 1).any():
        yield f"{int((covered != 1).sum())} rows of the table have no weights, or several"
    with safe_open(paths["outputs"], framework="pt") as tensors:
        runs = tensors.get_slice("logits").get_shape()[0]
        if runs != part["runs"]:
            yield f"outputs of {runs} runs, expected {part['runs']}"


def _accuracy_problems(zoo: Zoo, data: Dataset, sample: int) -> Iterator[str]:
    """Computes the outputs of some models again; compares stored outputs and recorded accuracies with them."""
    final = zoo.final[zoo.final["status"] != "diverged"]
    chosen = final.sample(min(sample, len(final)), random_state=0)
    for stack in zoo.weights(chosen.index):
        logits = TorchEngine().logits(stack.architecture, stack.parameters, data.test_images)
        stored = torch.as_tensor(zoo.outputs(stack.rows)).float()
        same = torch.isclose(stored, logits.half().float(), rtol=_OUTPUT_TOLERANCE, atol=_OUTPUT_TOLERANCE)
        accuracy = (logits.argmax(2) == data.test_labels).double().mean(1).numpy()
        recorded = chosen.loc[stack.rows, "test_accuracy"].to_numpy()
        wrong = np.abs(accuracy - recorded) * len(data.test_labels) > _EXAMPLES_OFF + 0.5
        for row, model_id in enumerate(chosen.loc[stack.rows, "model_id"]):
            if not same[row].all():
                yield f"model {model_id}: its stored outputs are not those of its weights"
            if wrong[row]:
                yield (
                    f"model {model_id}: its weights have test accuracy {accuracy[row]:.4f}, "
                    f"the table says {recorded[row]:.4f}"
                )
