"""Reading the columns of a table that was made elsewhere, one row per model (CSV or Parquet).

An empty (NaN) prediction is undefined for that model; an empty hyperparameter is a value of its own, "does not apply".
All other values must be finite numbers, and hyperparameters may also be words. Rows are counted from 1 below the
header.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from zoo_builder.errors import InputError, nearest

# Errors and their squares are finite up to here.
LARGEST = 1e150


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a table that are scored.

    Attributes:
        target: float64 [n].
        prediction_names, predictions: E names and float64 [E, n], NaN where a prediction is undefined.
        hyperparameter_names, hyperparameters: K names and plain values [n, K], None where they are empty; no array
            without names.
        configurations: number of distinct rows of ``hyperparameters``; without them, of models.
    """

    target: np.ndarray
    prediction_names: tuple[str, ...]
    predictions: np.ndarray
    hyperparameter_names: tuple[str, ...]
    hyperparameters: np.ndarray | None
    configurations: int


def read_columns(
    path: Path, target: str, predictions: Sequence[str], hyperparameters: Sequence[str] = (), seed: str | None = None
) -> Columns:
    """Reads columns of the table at ``path``, which are named as in ``table.score_table``.

    Raises:
        InputError: an unreadable file, a column that does not exist, a value that is not a number, a target that is
            empty, or a run that is given twice.
    """
    if seed is not None and not hyperparameters:
        raise InputError("`seed` distinguishes the runs of one configuration: name the `hyperparameters`, too")
    table = read_table(path)
    for column in [target] if seed is None else [target, seed]:
        require_column(column, table, path)
    names = columns_of(predictions, table, path, leave_out={target})
    axes = columns_of(hyperparameters, table, path, leave_out={target, seed})
    truth = numbers_of(table, target, path)
    if np.isnan(truth).any():
        row = np.flatnonzero(np.isnan(truth))[0] + 1
        raise InputError(f"{path}: {target} is empty in row {row}; leave out the models whose target is not known")
    values = np.stack([numbers_of(table, name, path) for name in names])
    settings = hyperparameters_of(table, axes, path) if axes else None
    if axes:
        refuse_repeated_runs(table, axes, [seed] if seed else [target, *names], path)
    configurations = len(table[axes].drop_duplicates()) if axes else len(table)
    return Columns(truth, tuple(names), values, tuple(axes), settings, configurations)


def read_table(path: Path) -> pd.DataFrame:
    """The table at ``path``.

    Raises:
        InputError: neither a .csv nor a .parquet file, an unreadable file, or two columns of one name.
    """
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: a table is a .csv or a .parquet file; convert it to one of these")
    try:
        table = readers[path.suffix](path).rename(columns=str)
        names = table.columns
        if path.suffix == ".csv":  # pandas renames the second column of a name
            names = pd.Index(pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0])
    # pyarrow and pandas raise many kinds of exception on a damaged file.
    except Exception as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {error}; check the path and the file") from error
    if not names.is_unique:
        raise InputError(f"{path}: column {names[names.duplicated()][0]!r} appears more than once; rename one")
    # pandas cannot group by half precision.
    return table.astype({name: "float32" for name in table if table[name].dtype == "float16"})


def require_column(name: str, table: pd.DataFrame, path: Path) -> None:
    """InputError where the table has no column ``name``."""
    if name not in table.columns:
        raise InputError(f"{path} has no column {name!r}{nearest(name, table.columns)}; it has: {_names(table)}")


def columns_of(patterns: Sequence[str], table: pd.DataFrame, path: Path, leave_out: set[str | None]) -> list[str]:
    """The columns that match names or wildcards, in the order of the patterns, each once.

    A wildcard never matches a column in ``leave_out``.

    Raises:
        InputError: a pattern that matches no column.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern not in table.columns and re.search(r"[*?\[]", pattern):
            matches = [name for name in table.columns if fnmatchcase(name, pattern) and name not in leave_out]
            if not matches:
                raise InputError(f"{path}: no column matches {pattern!r}; it has: {_names(table)}")
        else:
            require_column(pattern, table, path)
            matches = [pattern]
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def _names(table: pd.DataFrame) -> str:
    return ", ".join(table.columns)


def numbers_of(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """A column as float64 [n], NaN where it is empty.

    Raises:
        InputError: a value that is not a finite number, or whole numbers that float64 cannot tell apart.
    """
    given = table[column].astype(object)
    numbers = np.asarray(pd.to_numeric(given, errors="coerce"), dtype=np.float64)
    broken = np.flatnonzero((np.isnan(numbers) & given.notna().to_numpy()) | (np.abs(numbers) > LARGEST))
    if len(broken):
        raise InputError(
            f"{path}: row {broken[0] + 1} of column {column} is {given.iloc[broken[0]]!r}, expected a finite number, "
            f"at most {LARGEST:g} (rows are counted from 1 below the header); leave it empty where a prediction is "
            "undefined"
        )
    if table[column].dtype.kind in "iu" and table[column].nunique() > len(np.unique(numbers[~np.isnan(numbers)])):
        raise InputError(
            f"{path}: column {column} has whole numbers that differ beyond the 53 bits of a float; subtract an offset "
            "that all share, or give their ranks"
        )
    return numbers


def hyperparameters_of(table: pd.DataFrame, columns: list[str], path: Path) -> np.ndarray:
    """Hyperparameters [n, K] as plain values, None where they are empty.

    Raises:
        InputError: a value that is neither a finite number nor a word.
    """
    settings = table[columns].astype(object)
    for column in columns:
        for row, value in enumerate(settings[column], start=1):
            if not pd.api.types.is_scalar(value) or (isinstance(value, float) and math.isinf(value)):
                raise InputError(
                    f"{path}: row {row} of hyperparameter {column} is {value!r}, expected a finite number or a word; "
                    "leave it empty where the hyperparameter does not apply, or write a word for it"
                )
    return settings.where(settings.notna(), None).to_numpy()


def refuse_repeated_runs(table: pd.DataFrame, hyperparameters: list[str], others: list[str], path: Path) -> None:
    """InputError where two rows are equal in ``hyperparameters`` and in ``others``."""
    runs = table.groupby([*hyperparameters, *others], dropna=False, sort=False).ngroup()
    if not (repeated := runs[runs.duplicated()]).empty:
        first, second = (runs == repeated.iloc[0]).to_numpy().nonzero()[0][:2] + 1
        raise InputError(
            f"{path}: rows {first} and {second} are equal in all hyperparameters and in {', '.join(others)}, so they "
            "are one run given twice; leave one out, or name the column that distinguishes runs as `seed`"
        )
