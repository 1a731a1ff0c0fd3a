"""What the files of a part must hold: its table, its weights and its outputs agree with each other and the manifest.

The reader refuses a part with a fault, and ``gengap zoo verify`` lists them all.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open

from zoo_builder import tables
from zoo_builder.errors import said
from zoo_builder.networks.architecture import Architecture
from zoo_builder.store.format import Part

NEEDED = ("model_id", "configuration", "seed", "epoch", "architecture", "status")
_TEXTS = ("model_id", "configuration", "architecture", "status")


def read_table(path: Path, part: Part) -> pa.Table:
    """The table of a part.

    Raises:
        OSError, ValueError: it cannot be read, or has more rows than the part.
    """
    return tables.decoded(tables.read(path, most_rows=part.rows))


def table_faults(table: pa.Table, part: Part, architectures: Mapping[str, Architecture]) -> Iterator[str]:
    """Yields a line for each fault of a part's table; what follows a fault may need that there is none."""
    names = table.column_names
    if missing := [name for name in NEEDED if name not in names]:
        yield f"the table has no column {', '.join(missing)}"
        return
    if len({*names}) < len(names) or not all(name.isprintable() for name in names):
        yield "the table has two columns of one name, or a name that cannot be printed"
        return
    if wrong := list(_type_faults(table)):
        yield from wrong
        return
    frame = table.select(["model_id", "epoch", "architecture", "status"]).to_pandas()
    models = frame["model_id"].nunique()
    if len(frame) != part.rows or models != part.runs:
        yield f"the table has {len(frame)} rows of {models} runs, unlike the manifest"
        return
    new = (frame["model_id"] != frame["model_id"].shift()).to_numpy()
    if new.sum() != models or (np.diff(frame["epoch"])[~new[1:]] <= 0).any():
        yield "the rows of a run are not together with ascending epochs"
    for name in ("model_id", "status"):
        if odd := [word for word in frame[name].unique() if not (word.isprintable() and 0 < len(word) <= 200)]:
            yield f"column {name} holds {odd[0][:40]!a}, expected a short word that can be printed"
    if unknown := [key for key in frame["architecture"].unique() if key not in architectures]:
        yield f"the manifest has no architecture {unknown[0][:40]!a}"


def _type_faults(table: pa.Table) -> Iterator[str]:
    for field in table.schema:
        full = not table[field.name].null_count
        if field.name in _TEXTS and not (full and field.type in _WORDS):
            yield f"column {field.name} is {str(field.type)[:80]}, expected a word in every row"
        elif field.name == "epoch" and not (full and pa.types.is_integer(field.type)):
            yield f"column epoch is {str(field.type)[:80]}, expected a whole number in every row"
        elif not _plain(field.type):
            yield f"column {field.name} is {str(field.type)[:80]}, expected numbers or words"


_WORDS = (pa.string(), pa.large_string())


def _plain(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return kind in _WORDS or any(test(kind) for test in tests)


def open_tensors(path: Path) -> safe_open:
    """A memory-mapped safetensors file.

    Raises:
        ValueError: it is not one.
    """
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"it is not a safetensors file: {said(error)}") from error


def weight_faults(tensors: safe_open, keys: np.ndarray, architectures: Mapping[str, Architecture]) -> Iterator[str]:
    """Yields a line for each fault of a part's weights that their names, shapes and rows show.

    Args:
        keys: the architecture of each row of the part's table.
    """
    found = set(tensors.keys())
    for key in dict.fromkeys(keys):
        rows = np.flatnonzero(keys == key)
        names = {f"{key}/{name}": ("F32", [len(rows), *shape]) for name, shape in architectures[key].tensors.items()}
        names[f"{key}/rows"] = "I64", [len(rows)]
        faults = [fault for name, form in names.items() if (fault := _form_fault(tensors, found, name, *form))]
        yield from faults
        if not faults:
            yield from _row_faults(tensors.get_tensor(f"{key}/rows").numpy(), rows, key, keys)
        found -= names.keys()
    if found:
        yield f"{len(found)} tensors belong to no row of the table, such as {min(found)[:80]!a}"


def _row_faults(held: np.ndarray, rows: np.ndarray, key: str, keys: np.ndarray) -> Iterator[str]:
    """Yields a line if the rows that the weights of an architecture name are not ``rows``."""
    if np.array_equal(held, rows):
        return
    if held.min() < 0 or held.max() >= len(keys):
        yield f"weights of architecture {key} are at row {held[(held < 0) | (held >= len(keys))][0]} of {len(keys)}"
    elif (keys[held] != key).any():
        yield f"weights of architecture {key} are at rows of another"
    else:
        yield f"weights of architecture {key} are at rows that do not ascend"


def output_faults(tensors: safe_open, part: Part) -> Iterator[str]:
    """Yields a line for each fault of a part's outputs that their shapes and labels show."""
    found = set(tensors.keys())
    if missing := {"logits", "labels"} - found:
        yield f"there is no tensor {min(missing)}"
        return
    runs, *rest = tensors.get_slice("logits").get_shape() or [0]
    if runs != part.runs:
        yield f"outputs of {runs} runs, expected {part.runs}"
    examples, classes = rest if len(rest) == 2 else (0, 0)
    if not examples or not classes:
        yield f"logits are {[runs, *rest]}, expected [runs, examples, classes]"
        return
    forms = {"labels": ("I64", [examples]), "logits": ("F16", [runs, examples, classes])}
    faults = [fault for name, form in forms.items() if (fault := _form_fault(tensors, found, name, *form))]
    yield from faults
    if not faults:
        labels = tensors.get_tensor("labels")
        if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            yield f"labels are {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1}"


def _form_fault(tensors: safe_open, found: set[str], name: str, kind: str, shape: list[int]) -> str | None:
    """A line if a tensor is missing or has another type or shape, which the header of the file shows."""
    if name not in found:
        return f"there is no tensor {name}"
    form = tensors.get_slice(name)
    if (form.get_dtype(), form.get_shape()) != (kind, shape):
        return f"{name} is {form.get_dtype()} {form.get_shape()}, expected {kind} {shape}"
    return None
