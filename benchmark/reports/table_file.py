"""Reading a table's file, CSV or Parquet, so that each value is in the column it was written for.

A CSV file is refused where a row has another number of fields than the header: its values would move to the columns
beside theirs. Words are compared in one spelling: without blanks around them, and in Unicode's composed form (NFC).
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Hashable
from pathlib import Path

import pandas as pd

from zoo_builder.errors import InputError


def read_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table at ``path``, its rows labeled from 0, and notes on how it was read.

    Raises:
        InputError: neither a CSV nor a Parquet file by its name, an unreadable file, a row with more or fewer fields
            than the header, or two columns of one name.
    """
    readers: dict[str, Callable[[Path], tuple[pd.DataFrame, list[str]]]] = {
        ".csv": _read_csv,
        ".parquet": lambda path: (pd.read_parquet(path), []),
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(f"{path}: a table is a .csv or a .parquet file; convert it to one of these")
    if not path.is_file():
        raise InputError(f"there is no file {path}, expected a table: check its path")
    try:
        table, notes = readers[suffix](path)
    except InputError:
        raise
    # pyarrow and pandas raise many kinds of exception on a damaged file.
    except Exception as error:
        raise InputError(f"{path} cannot be read as {suffix[1:]}: {error}; check the path and the file") from error
    table = table.rename(columns=str).reset_index(drop=True)
    _refuse_one_name(table.columns, path)
    # pandas cannot group by half precision.
    table = table.astype({name: "float32" for name in table if table[name].dtype == "float16"})
    for name in table:
        if table[name].dtype.kind == "O":
            table[name] = table[name].astype(object).map(_one_spelling, na_action="ignore")
    return table, notes


def name_key(name: str) -> str:
    """One spelling of a column's name, in which names are compared: composed (NFC), without blanks around it.

    >>> name_key(" e\u0301cart") == name_key("\u00e9cart")
    True
    """
    return unicodedata.normalize("NFC", name).strip()


def nameless(name: str) -> bool:
    """Whether pandas made up the name of a column whose field in the header is empty."""
    return bool(re.fullmatch(r"Unnamed: \d+", name))


def _one_spelling(value: Hashable) -> Hashable:
    """A word in one spelling, None for blanks; other values as they are."""
    return name_key(value) or None if isinstance(value, str) else value


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # pandas skips lines without a character, too.
        rows = (row for row in csv.reader(file, skipinitialspace=True) if len(row) > 1 or any(row))
        header = next(rows, [])
        fields = [(len(row), row[0], row[-1]) for row in rows]
    _refuse_one_name(pd.Index(header), path)
    named_rows = _rows_have_names(len(header), fields)
    for number, (count, _, last) in enumerate(fields, start=1):
        if count != len(header) and not named_rows:
            advice = "remove the delimiter at its end" if not last else "quote values that hold a comma"
            raise InputError(
                f"{path}: row {number} has {count} fields, the header {len(header)} (rows are counted from 1 below the "
                f"header), so it is open which value belongs to which column; give each row one field per name, "
                f"{advice}, or name the column of row names"
            )
    # With low_memory the type of a column can differ between chunks of the file.
    table = pd.read_csv(path, index_col=None if named_rows else False, skipinitialspace=True, low_memory=False)
    # A delimiter at the end of every row, the header included, makes a column of nothing.
    table = table.drop(columns=[name for name in table if nameless(name) and table[name].isna().all()])
    return table, ["the header has no name for the first field of the rows, so it was read as their names"] * named_rows


def _rows_have_names(header: int, fields: list[tuple[int, str, str]]) -> bool:
    """Whether the rows begin with a name that the header leaves out, as R writes them.

    Names are distinct, and words or counted from 0 or 1. The last field of some row is not empty: otherwise the extra
    field is as likely a delimiter at the end of the rows.

    Args:
        fields: of each row the number of fields, the first and the last.
    """
    counts, first, last = zip(*fields, strict=True) if fields else ((), (), ())
    if {*counts} != {header + 1} or len({*first}) < len(first) or not any(last):
        return False
    numbers = [word for word in first if as_number(word) is not None]
    counted = [[str(start + row) for row in range(len(first))] for start in (0, 1)]
    return (not numbers and all(first)) or list(first) in counted


def as_number(word: str) -> float | None:
    """The number that a word spells, None for other words; a real minus sign is one, too.

    >>> as_number("1e-2"), as_number(".010"), as_number("1,024"), as_number("nan")
    (0.01, 0.01, None, None)
    """
    word = word.replace("\u2212", "-")
    return float(word) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word) else None


def _refuse_one_name(names: pd.Index, path: Path) -> None:
    keys = names.map(name_key)
    repeated = names[keys.duplicated(keep=False) & (keys != "")]
    if len(repeated):
        looks = "" if repeated.duplicated().any() else " in spellings that look alike"
        raise InputError(f"{path}: column {repeated[0]!r} appears more than once{looks}; rename one")
