"""Parts that do not hold what a zoo holds: the reader refuses each in one line, and verification lists it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo_builder.building.verify import faults
from zoo_builder.errors import InputError
from zoo_builder.files import sha256
from zoo_builder.store.format import read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo

TABLE, WEIGHTS, OUTPUTS = (
    "checkpoints/part-00000.parquet",
    "weights/part-00000.safetensors",
    "outputs/digits/part-00000.safetensors",
)


def signed(root: Path) -> Path:
    """Makes the checksums of the manifest those of the files."""
    manifest = read_manifest(root)
    for part in manifest["parts"]:
        for name in part["files"]:
            part["files"][name] = {"sha256": sha256(root / name), "bytes": (root / name).stat().st_size}
    write_manifest(root, manifest)
    return root


def tensors(change: Callable[[dict, str], object]) -> Callable[[Path], object]:
    """Changes the tensors of a file; ``change`` gets the first architecture, too."""

    def write(path: Path) -> None:
        held = load_file(path)
        change(held, next(name for name in sorted(held)).split("/")[0])
        save_file(held, path)

    return write


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    return lambda path: change(pd.read_parquet(path)).to_parquet(path, index=False)


def header(value: dict, size: int = 64) -> Callable[[Path], object]:
    text = json.dumps(value).encode()
    return lambda path: path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))


def bomb(path: Path) -> None:
    """20 million rows in half a megabyte."""
    zeros = pa.array(np.zeros(20_000_000, np.int8))
    names = ("model_id", "configuration", "architecture", "status")
    columns = {name: pa.DictionaryArray.from_arrays(zeros, pa.array(["ok" * 1000])) for name in names}
    pq.write_table(pa.table(columns), path)


FORM = {"dtype": "F32", "shape": [4, 4]}
BROKEN = {
    "no tensors": (WEIGHTS, tensors(lambda held, key: held.clear()), "there is no tensor"),
    "none of an architecture": (
        WEIGHTS,
        tensors(lambda held, key: [held.pop(name) for name in list(held) if name.startswith(key)]),
        "there is no tensor",
    ),
    "a missing tensor": (WEIGHTS, tensors(lambda held, key: held.pop(f"{key}/conv1.weight")), "conv1.weight"),
    "another shape": (
        WEIGHTS,
        tensors(lambda held, key: held.update({f"{key}/conv1.bias": torch.zeros(4, 17)})),
        "conv1.bias is F32 [4, 17], expected F32 [4, 16]",
    ),
    "another type": (
        WEIGHTS,
        tensors(lambda held, key: held.update({f"{key}/conv1.bias": held[f"{key}/conv1.bias"].half()})),
        "conv1.bias is F16 [4, 16], expected F32",
    ),
    "rows beyond the table": (
        WEIGHTS,
        tensors(lambda held, key: held.update({f"{key}/rows": held[f"{key}/rows"] + 100})),
        "of 8",
    ),
    "rows below 0": (WEIGHTS, tensors(lambda held, key: held.update({f"{key}/rows": held[f"{key}/rows"] - 9})), "-9"),
    "rows twice": (
        WEIGHTS,
        tensors(lambda held, key: held.update({f"{key}/rows": held[f"{key}/rows"][[0, 0, 1, 2]]})),
        "do not ascend",
    ),
    "a stranger": (WEIGHTS, tensors(lambda held, key: held.update({"x": torch.zeros(1)})), "belong to no row"),
    "overlapping tensors": (
        WEIGHTS,
        header({name: FORM | {"data_offsets": [0, 64]} for name in ("a/rows", "a/conv1.bias")}),
        "it is not a safetensors file",
    ),
    "tensors beyond the file": (
        WEIGHTS,
        header({"a/rows": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        "it is not a safetensors file",
    ),
    "a header larger than the file": (
        WEIGHTS,
        lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}"),
        "it is not a safetensors file",
    ),
    "a deep header": (
        WEIGHTS,
        lambda path: path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000),
        "it is not a safetensors file",
    ),
    "a giant header": (
        WEIGHTS,
        header({str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(300_000)}, 0),
        "there is no tensor",
    ),
    "an empty file": (WEIGHTS, lambda path: path.write_bytes(b"\0" * 8), "it is not a safetensors file"),
    "outputs of others": (OUTPUTS, tensors(lambda held, key: held.pop("labels")), "there is no tensor labels"),
    "outputs of fewer runs": (
        OUTPUTS,
        tensors(lambda held, key: held.update(logits=held["logits"][1:].contiguous())),
        "outputs of 3 runs, expected 4",
    ),
    "outputs of one dimension": (
        OUTPUTS,
        tensors(lambda held, key: held.update(logits=held["logits"][:, 0, 0].contiguous())),
        "expected [runs, examples, classes]",
    ),
    "labels out of range": (OUTPUTS, tensors(lambda held, key: held["labels"].fill_(10)), "expected 0 to 9"),
    "a bomb": (TABLE, bomb, "it has 20,000,000 rows, expected at most 8"),
    "no table": (TABLE, lambda path: path.write_bytes(b"PAR1PAR1PAR1" * 8), "cannot be read"),
    "no identity": (TABLE, table(lambda rows: rows.drop(columns="model_id")), "has no column model_id"),
    "no epochs": (TABLE, table(lambda rows: rows.assign(epoch="first")), "column epoch is"),
    "no words": (TABLE, table(lambda rows: rows.assign(status=[[1]] * len(rows))), "column status is list"),
    "an odd column": (TABLE, table(lambda rows: rows.assign(width=[[1]] * len(rows))), "column width is list"),
    "rows of a run apart": (TABLE, table(lambda rows: rows.iloc[[0, 2, 1, 3, 4, 5, 6, 7]]), "are not together"),
    "epochs that descend": (TABLE, table(lambda rows: rows.iloc[::-1]), "ascending epochs"),
    "steering the terminal": (TABLE, table(lambda rows: rows.assign(status="\x1b[2Jok")), r"holds '\x1b[2Jok'"),
    "unknown networks": (TABLE, table(lambda rows: rows.assign(architecture="00000000")), "no architecture '00000000'"),
}


def read_all(zoo: Zoo) -> None:
    zoo.weights(zoo.final.index)
    zoo.outputs(zoo.final.index)


@pytest.mark.parametrize("case", BROKEN)
def test_a_part_that_is_not_one_is_refused_and_reported(copied: Path, case: str) -> None:
    name, change, words = BROKEN[case]
    change(copied / name)
    zoo = Zoo.open(signed(copied))
    with pytest.raises(InputError) as refused:
        read_all(zoo)
    message = str(refused.value)
    assert words in message
    assert message.startswith(f"{copied / name} ")
    assert len(message.splitlines()) == 1
    assert len(message) < 800
    found = list(faults(copied))
    assert found
    assert any(words in line for line in found)
    assert all(line.startswith("part-00000: ") and len(line.splitlines()) == 1 for line in found)


def test_columns_that_differ_between_the_parts_are_refused(copied: Path) -> None:
    table(lambda rows: rows.assign(batch_size="small"))(copied / TABLE)
    with pytest.raises(InputError, match="do not have the same columns"):
        _ = Zoo.open(signed(copied)).table


def test_parts_after_a_broken_one_are_checked(copied: Path) -> None:
    (copied / WEIGHTS).write_bytes(b"no tensors")
    tensors(lambda held, key: held.clear())(copied / WEIGHTS.replace("00000", "00002"))
    assert {line.split(":")[0] for line in faults(signed(copied))} == {"part-00000", "part-00002"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 2.0, "high"])
def test_accuracies_that_no_network_has_are_found(copied: Path, value: object) -> None:
    table(lambda rows: rows.assign(test_accuracy=value))(copied / TABLE)
    found = list(faults(signed(copied)))
    assert "part-00000: test_accuracy of 4 models is not a number from 0 to 1" in found
