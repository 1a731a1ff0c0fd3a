"""Views of a zoo: made for an access level in this process, or written for the process that runs a method.

The files hold what the level allows and no label of a model: a method that reads all files learns no more than from
the view.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

from baselines.access import View
from baselines.fields import FIELDS, Field, Missing, Networks
from baselines.levels import ACCESS
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.errors import one_of
from zoo_builder.store.zoo import Zoo


def make_view(zoo: Zoo, final: pd.DataFrame, access: str, data: Dataset | str | Path | None = None) -> View:
    """What ``access`` may read of the runs in ``final`` (rows of ``zoo.final``), numbered in that order.

    Args:
        data: the zoo's data set, or the folder in which ``Zoo.data`` finds it.

    Raises:
        InputError: there is no such access level; a part of the zoo, or the data set that the level needs, cannot be
            read.
    """
    load = _loader(zoo, data)
    return View(access, len(final), **{field.name: field.make(zoo, final, load) for field in _fields(access)})


def write_view(
    zoo: Zoo,
    final: pd.DataFrame,
    access: str,
    data: Dataset | str | Path | None,
    folder: Path,
    copy_weights: bool,
) -> None:
    """Writes the view that ``make_view`` makes to files in ``folder``, from which ``load_view`` reads it.

    Args:
        copy_weights: write the weights too, so that nothing in the folder leads to the zoo, which holds the test
            accuracies. Otherwise they are read from the zoo itself, without a copy.

    Raises:
        InputError: as ``make_view``.
    """
    load = _loader(zoo, data)

    def write(field: Field) -> Missing | None:
        if isinstance(field, Networks) and not copy_weights:
            return field.refer(zoo, final, folder)
        value = field.make(zoo, final, load)
        if isinstance(value, Missing):
            return value
        field.save(value, folder)
        return None

    found = {field.name: write(field) for field in _fields(access)}
    missing = {name: absent.reason for name, absent in found.items() if absent}
    description = {"access": access, "size": len(final), "missing": missing}
    (folder / "view.json").write_text(json.dumps(description), encoding="utf-8")


def load_view(folder: Path) -> View:
    """The view that ``write_view`` wrote; tensors are memory-mapped."""
    description = json.loads((folder / "view.json").read_text(encoding="utf-8"))
    access, missing = description["access"], description["missing"]
    content = {
        field.name: Missing(missing[field.name]) if field.name in missing else field.load(folder)
        for field in _fields(access)
    }
    return View(access, description["size"], **content)


def _fields(access: str) -> list[Field]:
    one_of("access level", access, ACCESS)
    return [field for field in FIELDS if field.name in ACCESS[access]]


def _loader(zoo: Zoo, data: Dataset | str | Path | None) -> Callable[[], Dataset]:
    """Loads the data set when a field first needs it, and once."""
    return cache(lambda: data if isinstance(data, Dataset) else zoo.data(data))
