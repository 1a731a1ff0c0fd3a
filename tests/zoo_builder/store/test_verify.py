"""Faults of a part's files, under checksums that match."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo_builder.files import sha256
from zoo_builder.store.format import File, Part
from zoo_builder.store.verify import part_faults
from zoo_builder.store.zoo import Zoo


def faults(root: Path, part: Part) -> list[str]:
    """The faults of a part after changes to its files, with the checksums of the new files."""
    files = {name: File(sha256(root / name), (root / name).stat().st_size) for name in part.files}
    return list(part_faults(root, replace(part, files=files), Zoo.of_manifest(root).architectures))


def test_a_whole_part_has_no_faults(zoo: Zoo) -> None:
    assert [fault for part in zoo.parts for fault in part_faults(zoo.root, part, zoo.architectures)] == []


def test_missing_and_altered_files_are_named(zoo: Zoo, copied: Path) -> None:
    part = zoo.parts[1]
    (copied / part.file("weights")).write_bytes(b"short")
    (copied / part.file("outputs")).unlink()
    assert list(part_faults(copied, part, zoo.architectures)) == [
        "weights/part-00001.safetensors: altered, its sha256 is not the manifest's",
        "outputs/digits/part-00001.safetensors: missing",
    ]


def not_finite(tensors: dict, key: str) -> None:
    tensors[f"{key}/conv1.bias"][0, 0] = torch.nan


def shorter(tensors: dict, key: str) -> None:
    tensors[f"{key}/conv1.bias"] = tensors[f"{key}/conv1.bias"][1:].contiguous()


def lost(tensors: dict, key: str) -> None:
    for name in [name for name in tensors if name.startswith(key)]:
        tensors[name] = tensors[name][1:].contiguous()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (not_finite, "conv1.bias has weights that are not finite in runs that did not diverge"),
        (shorter, "conv1.bias is F32 [3, 16], expected F32 [4, 16]"),
        (lost, "/rows is I64 [3], expected I64 [4]"),
    ],
)
def test_faulty_weights_are_found(zoo: Zoo, copied: Path, change: Callable, words: str) -> None:
    part = zoo.parts[0]
    tensors = load_file(copied / part.file("weights"))
    change(tensors, next(iter(tensors)).split("/")[0])
    save_file(tensors, copied / part.file("weights"))
    found = faults(copied, part)
    assert all(fault.startswith("part-00000: ") for fault in found)
    assert any(fault.endswith(words) for fault in found)


def test_weights_at_rows_of_another_architecture_are_found(zoo: Zoo, copied: Path) -> None:
    part = zoo.parts[0]
    table = pd.read_parquet(copied / part.file("checkpoints"))
    key, other = zoo.architectures
    table.loc[table["architecture"] == key, "architecture"] = other
    table.to_parquet(copied / part.file("checkpoints"), index=False)
    assert f"part-00000: {other}/rows is I64 [4], expected I64 [8]" in faults(copied, part)
    table["architecture"] = list(reversed(zoo.table["architecture"].iloc[:8]))
    table.to_parquet(copied / part.file("checkpoints"), index=False)
    assert faults(copied, part) == [
        f"part-00000: weights of architecture {key} are at rows of another" for key in (other, key)
    ]
    table["architecture"] = "nobody's"
    table.to_parquet(copied / part.file("checkpoints"), index=False)
    assert faults(copied, part) == ['part-00000: the manifest has no architecture "nobody\'s"']


def test_rows_beyond_the_table_are_a_fault(zoo: Zoo, copied: Path) -> None:
    part = zoo.parts[0]
    tensors = load_file(copied / part.file("weights"))
    key = next(iter(tensors)).split("/")[0]
    tensors[f"{key}/rows"] = tensors[f"{key}/rows"] + 100
    save_file(tensors, copied / part.file("weights"))
    (fault,) = faults(copied, part)
    assert fault.endswith("are at row 100 of 8")


def test_an_unreadable_file_is_a_fault(zoo: Zoo, copied: Path) -> None:
    part = zoo.parts[0]
    (copied / part.file("weights")).write_bytes(b"no tensors")
    (fault,) = faults(copied, part)
    assert fault.startswith("part-00000: cannot be read: ")
