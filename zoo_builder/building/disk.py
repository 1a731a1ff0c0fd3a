"""The disk space that a build takes."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import pandas as pd

from zoo_builder import files
from zoo_builder.building.population import Population
from zoo_builder.errors import InputError

# Measured sizes: a row of a table, and the file headers, sidecar and manifest entry of a part.
_ROW_BYTES, _PART_BYTES = 80, 20_000


def expected_bytes(population: Population, runs: pd.DataFrame, parts: int) -> int:
    """The bytes on disk of ``runs`` (rows of ``population.runs``) in ``parts`` parts: exact for weights and outputs.

    Runs that stop early have fewer checkpoints and take less.
    """
    rows = len(population.recipe.checkpoints)
    size = {
        key: sum(4 * prod(shape) for shape in architecture.tensors.values())
        for key, architecture in population.architectures.items()
    }
    weights = runs["architecture"].map(size).sum() + len(runs) * 8
    outputs = population.problem.stored_bytes(len(runs), parts)
    return int(rows * weights + outputs + rows * len(runs) * _ROW_BYTES + parts * _PART_BYTES)


@contextmanager
def full_disk_explained(root: Path, missing_bytes: Callable[[], int]) -> Iterator[None]:
    """Turns the system's error of a write without room into an InputError with what is missing and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in files.NO_ROOM:
            raise
        if error.errno == errno.EFBIG:
            problem = f"{root} cannot be written: {files.no_room(error, root)}; finished parts are kept:"
        else:
            problem = (
                f"the disk that holds {root} is full: {sizes_text(missing_bytes(), root)}; finished parts are kept: "
                f"free space and"
            )
        raise InputError(f"{problem} run the same command again") from error


def sizes_text(needed: int, root: Path) -> str:
    return f"the rest of the build needs about {files.size_text(needed)}, {files.free_text(root)}"
