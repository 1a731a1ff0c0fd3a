"""Parquet files that anybody may have written.

A few bytes of Parquet stand for any number of values: a dictionary holds a value once for all of its rows. So values
are counted before they are read, and texts and bytes are read as dictionaries.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ColumnSchema, FileMetaData, ParquetFile

from zoo_builder import limits
from zoo_builder.errors import InputError, said

# Of a number in memory, and how often a table is there while it is read: decoded, joined, and as a data frame.
_BYTES, _COPIES = 8, 3


def schema_of(path: Path) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    with _opened(path) as file:
        return file.schema_arrow


def read(path: Path, columns: Sequence[str] | None = None, most_rows: int | None = None) -> pa.Table:
    """The ``columns`` (default: all) of a Parquet file, texts and bytes as dictionaries, without metadata.

    Raises:
        OSError, ValueError: it cannot be read, has more than ``most_rows`` rows, or needs more than this machine's
            memory.
    """
    with _opened(path) as file:
        leaves = [file.schema.column(number) for number in range(len(file.schema.names))]
        wanted = [leaf for leaf in leaves if columns is None or leaf.path.split(".")[0] in columns]
        rows, needed = _size(file.metadata, leaves, wanted)
        if most_rows is not None and rows > most_rows:
            raise InputError(f"it has {rows:,} rows, expected at most {most_rows:,}")
        limits.refuse_beyond_memory(f"its {rows:,} rows", _COPIES * needed)
        coded = [leaf.path for leaf in wanted if leaf.physical_type == "BYTE_ARRAY"]
    with _opened(path, coded) as file:
        try:
            return file.read(columns=None if columns is None else list(columns)).replace_schema_metadata(None)
        except _DAMAGE as error:
            raise _unreadable(error) from error


def decoded(table: pa.Table) -> pa.Table:
    """A table that ``read`` returns, with plain columns in place of dictionaries.

    Raises:
        ValueError: that needs more than this machine's memory.
    """
    coded = [number for number, field in enumerate(table.schema) if pa.types.is_dictionary(field.type)]
    try:
        needed = sum(_length(chunk) for number in coded for chunk in table.column(number).chunks)
        limits.refuse_beyond_memory(f"its texts in {len(table):,} rows", _COPIES * needed)
        for number in coded:
            column = table.column(number)
            plain = [chunk.dictionary_decode() for chunk in column.chunks]
            table = table.set_column(
                number, table.column_names[number], pa.chunked_array(plain, column.type.value_type)
            )
    except (pa.ArrowException, IndexError) as error:
        raise _unreadable(error) from error
    return table


def _length(chunk: pa.DictionaryArray) -> int:
    """The bytes of all texts of a chunk."""
    lengths = pc.fill_null(pc.binary_length(chunk.dictionary), 0).cast(pa.int64())
    return pc.sum(lengths.take(chunk.indices)).as_py() or 0


def _size(metadata: FileMetaData, leaves: list[ColumnSchema], wanted: list[ColumnSchema]) -> tuple[int, int]:
    """How many rows a file has, and the bytes of the ``wanted`` columns, texts as dictionaries."""
    rows = [metadata.num_rows]
    needed = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for number, leaf in enumerate(leaves):
            if leaf in wanted:
                chunk = group.column(number)
                needed += chunk.num_values * max(_BYTES, leaf.length or 0) + chunk.total_uncompressed_size
                rows.append(0 if leaf.max_repetition_level else chunk.num_values)
    return max(rows[0], sum(rows[1:]) // max(1, len(wanted))), needed


_DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError, RecursionError, OverflowError)


def _opened(path: Path, coded: Sequence[str] = ()) -> ParquetFile:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return ParquetFile(path, read_dictionary=list(coded))
    except _DAMAGE as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> ValueError:
    return ValueError(said(error))
