"""The columns of a table that was made elsewhere, one row per model.

An empty (NaN) prediction is undefined for that model; an empty hyperparameter is a value of its own, "does not apply".
Rows without a target are left out. All other values must be finite numbers, and hyperparameters may also be words.
Rows are counted from 1 below the header.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd

from benchmark.reports.table_file import as_number, name_key, nameless, read_table
from benchmark.scoring.grid import codes_of, labels
from zoo_builder.errors import InputError, nearest

# Errors and their squares are finite up to here.
LARGEST = 1e150
# A column may distinguish fewer rows by chance.
MANY_ROWS = 10
# Words that look like numbers, but for separators of thousands, a decimal comma or infinity: their values are unclear.
_UNCLEAR = re.compile(
    r"[+-]?([1-9]\d{0,2}([,'’_ \u00a0\u2009\u202f]\d{3})+(\.\d*)?|[1-9]\d{0,2}(\.\d{3}){2,}(,\d*)?"
    r"|[1-9]\d{0,2}(\.\d{3})+,\d*|\d+,\d+(e[+-]?\d+)?|inf|infinity)",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a table that are scored.

    Attributes:
        target: float64 [n].
        prediction_names, predictions: E names and float64 [E, n], NaN where a prediction is undefined.
        hyperparameter_names, hyperparameters: K names and plain values [n, K], None where they are empty; no array
            without names.
        configurations: number of distinct rows of ``hyperparameters``; without them, of models.
        architectures: int64 [n], equal for models of one architecture; None where nothing sets it.
        notes: what a reader of the scores must know of the table, such as rows that were left out.
    """

    target: np.ndarray
    prediction_names: tuple[str, ...]
    predictions: np.ndarray
    hyperparameter_names: tuple[str, ...]
    hyperparameters: np.ndarray | None
    configurations: int
    architectures: np.ndarray | None
    notes: tuple[str, ...]


def read_columns(
    path: Path,
    target: str,
    predictions: Sequence[str],
    hyperparameters: Sequence[str] = (),
    seed: str | None = None,
    architecture: Sequence[str] = (),
) -> Columns:
    """Reads columns of the table at ``path``, which are named as in ``table.score_table``.

    Raises:
        InputError: an unreadable file, a column that does not exist, a value that is not a number, a target that is
            empty in all rows, or a model or run that is given twice.
    """
    if seed is not None and not hyperparameters:
        raise InputError("`seed` distinguishes the runs of one configuration: name the `hyperparameters`, too")
    table, notes = read_table(path)
    target = column_of(target, table, path)
    seed = None if seed is None else column_of(seed, table, path)
    names = columns_of(predictions, table, path, leave_out={target})
    axes = columns_of(hyperparameters, table, path, leave_out={target, seed})
    parts = columns_of(architecture, table, path, leave_out={target, seed})
    if others := [name for name in parts if name not in axes]:
        raise InputError(
            f"{path}: hyperparameters set the `architecture`, and {others[0]} is none of the `hyperparameters`: add it "
            "to them"
        )
    truth = numbers_of(table, target, path)
    known = ~np.isnan(truth)
    notes += _left_out(truth, target, path)
    table, truth = table[known], truth[known]
    values = np.stack([numbers_of(table, name, path) for name in names])
    settings = None
    configurations = len(table)
    if axes:
        settings = hyperparameters_of(table, axes, path)
        compared = pd.DataFrame(settings, columns=axes, index=table.index)
        configurations = len(compared.drop_duplicates())
        others = [seed] if seed else [target, *names]
        # A prediction or a seed may be a hyperparameter, too.
        refuse_repeated_runs(compared.join(table[[name for name in others if name not in axes]]), axes, others, path)
        notes += _alike(compared)
    else:
        notes += _repeated_rows(table, path)
    architectures = None
    if parts:
        assert settings is not None  # parts are hyperparameters
        architectures = labels(codes_of(settings[:, [axes.index(name) for name in parts]], len(table)))
    return Columns(truth, tuple(names), values, tuple(axes), settings, configurations, architectures, tuple(notes))


def column_of(name: str, table: pd.DataFrame, path: Path) -> str:
    """The table's column ``name``, in the table's spelling; see ``table_file.name_key``.

    Raises:
        InputError: there is no such column.
    """
    by_key = {name_key(column): column for column in table.columns}
    if name_key(name) not in by_key:
        raise InputError(f"{path} has no column {name!r}{nearest(name, table.columns)}; it has: {_names(table)}")
    return by_key[name_key(name)]


def columns_of(patterns: Sequence[str], table: pd.DataFrame, path: Path, leave_out: set[str | None]) -> list[str]:
    """The columns that match names or wildcards, in the order of the patterns, each once.

    A wildcard never matches a column in ``leave_out``.

    Raises:
        InputError: a pattern that matches no column.
    """
    keys = {name: name_key(name) for name in table.columns}
    chosen: dict[str, None] = {}
    for pattern in map(name_key, patterns):
        if pattern not in keys.values() and re.search(r"[*?\[]", pattern):
            matches = [name for name, key in keys.items() if fnmatchcase(key, pattern) and name not in leave_out]
            if not matches:
                raise InputError(f"{path}: no column matches {pattern!r}; it has: {_names(table)}")
        else:
            matches = [column_of(pattern, table, path)]
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def _names(table: pd.DataFrame) -> str:
    return ", ".join(table.columns)


def _left_out(truth: np.ndarray, target: str, path: Path) -> list[str]:
    """A note on the rows without a target; InputError where no row has one."""
    empty = np.flatnonzero(np.isnan(truth)) + 1
    if not len(empty):
        return []
    if len(empty) == len(truth):
        raise InputError(f"{path}: {target} is empty in all {len(truth)} rows; name the column of the true values")
    return [f"left out: {_rows(empty)} of {len(truth):,}, in which {target} is empty"]


def _rows(numbers: np.ndarray) -> str:
    """ "row 3", "rows 3 and 7", "1,204 rows (3, 7, 9, 12, 13, ...)" """
    if len(numbers) <= 2:
        return f"row{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
    return f"{len(numbers):,} rows ({', '.join(map(str, numbers[:5]))}{', ...' * (len(numbers) > 5)})"


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
            f"{path}: row {table.index[broken[0]] + 1} of column {column} is {given.iloc[broken[0]]!r}, expected a "
            f"finite number, at most {LARGEST:g} (rows are counted from 1 below the header); leave it empty where a "
            "prediction is undefined"
        )
    if table[column].dtype.kind in "iu" and table[column].nunique() > len(np.unique(numbers[~np.isnan(numbers)])):
        raise InputError(
            f"{path}: column {column} has whole numbers that differ beyond the 53 bits of a float; subtract an offset "
            "that all share, or give their ranks"
        )
    return numbers


def hyperparameters_of(table: pd.DataFrame, columns: list[str], path: Path) -> np.ndarray:
    """Hyperparameters [n, K] as plain values, None where they are empty. A word that spells a number is the number.

    Raises:
        InputError: a value that is neither a finite number nor a word, or looks like a number but is not spelled as
            one, such as "1,024".
    """
    settings = np.empty((len(table), len(columns)), dtype=object)
    for k, column in enumerate(columns):
        cells = table[column].astype(object).where(table[column].notna(), None)
        plain: dict[str, float | str | None] = {}
        for row, value in cells.items():
            if not isinstance(value, str):
                if not pd.api.types.is_scalar(value) or (isinstance(value, float) and math.isinf(value)):
                    _refuse_setting(path, row, column, value)
            elif value not in plain:
                plain[value] = _plain(value)
                if plain[value] is None:
                    _refuse_setting(path, row, column, value)
        settings[:, k] = [plain[value] if isinstance(value, str) else value for value in cells]
    return settings


def _plain(word: str) -> float | str | None:
    """The number that a word spells, else the word; None for an infinite or an unclear number.

    >>> _plain("0.10"), _plain("adam"), _plain("TRUE"), _plain("1,024"), _plain("0,5")
    (0.1, 'adam', 'True', None, None)
    """
    number = as_number(word)
    if number is not None:
        return number if math.isfinite(number) else None
    if word.lower() in ("true", "false"):
        return word.capitalize()
    return None if _UNCLEAR.fullmatch(word) else word


def _refuse_setting(path: Path, row: int, column: str, value: object) -> NoReturn:
    advice = "leave it empty where the hyperparameter does not apply, or write a word for it"
    if isinstance(value, str):
        advice = "write numbers with a decimal point and without separators of thousands, and lists as [1,2]"
    raise InputError(
        f"{path}: row {row + 1} of hyperparameter {column} is {value!r}, expected a finite number or a word; {advice}"
    )


def _alike(settings: pd.DataFrame) -> list[str]:
    """Notes on words of one hyperparameter that differ in capitals alone."""
    notes = []
    for column in settings:
        spellings: dict[str, list[str]] = {}
        for word in settings[column].unique():
            if isinstance(word, str):
                spellings.setdefault(word.casefold(), []).append(word)
        for words in spellings.values():
            if len(words) > 1:
                listed = ", ".join(map(repr, words))
                notes.append(f"{column}: {listed} count as {len(words)} values; if they are one, spell it in one way")
    return notes


def refuse_repeated_runs(table: pd.DataFrame, hyperparameters: list[str], others: list[str], path: Path) -> None:
    """InputError where two rows are equal in ``hyperparameters`` and in ``others``."""
    if twins := _twins(table[[*dict.fromkeys([*hyperparameters, *others])]]):
        raise InputError(
            f"{path}: {_rows(twins.first)} are equal in all hyperparameters and in {', '.join(others)}, so they "
            "are one run given twice; leave one out, or name the column that distinguishes runs as `seed`"
        )


def _repeated_rows(table: pd.DataFrame, path: Path) -> list[str]:
    """A note on rows that are equal in all columns; a column of numbers without a name is one of row numbers.

    Raises:
        InputError: some column distinguishes all other rows, so that rows are not equal by chance.
    """
    names = [name for name in table if not (nameless(name) and table[name].dtype.kind in "iuf")]
    # Lists cannot be compared.
    compared = table[[name for name in names if table[name].map(pd.api.types.is_hashable).all()]]
    twins = _twins(compared)
    if twins is None:
        return []
    found = f"{_rows(twins.first)} are equal in all columns"
    distinct = compared[~twins.later]
    for name in compared if len(distinct) >= MANY_ROWS else ():
        if distinct[name].notna().all() and distinct[name].is_unique:
            raise InputError(
                f"{path}: {found}, so they are one model given twice ({int(twins.later.sum()):,} such rows of "
                f"{len(table):,}; {name} differs between all others); leave one out, or add a column that "
                "distinguishes them"
            )
    return [
        f"{found}, and {int(twins.later.sum()):,} of {len(table):,} rows repeat another: if they are models given "
        "twice, leave them out, because they make intervals and noise floors too narrow"
    ]


class Twins(NamedTuple):
    """Equal rows: the numbers of the first two that are equal, and bool [n], which rows repeat an earlier one."""

    first: np.ndarray
    later: np.ndarray


def _twins(table: pd.DataFrame) -> Twins | None:
    later = table.duplicated()
    if not later.any():
        return None
    groups = table.groupby(list(table), dropna=False, sort=False).ngroup()
    first = table.index[groups == groups[later].iloc[0]][:2]
    return Twins(first.to_numpy() + 1, later.to_numpy())
