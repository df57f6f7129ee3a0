"""Rows as Parquet, written by DuckDB if that is installed.

DuckDB reads the rows as CSV, with the type of each column given, so that it guesses none.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from swiotlb_top.convert.text import csv_pieces
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.recording.rows import Row, columns

_TYPES: Final = {int: "BIGINT", str: "VARCHAR", bool: "BOOLEAN"}
_PIECE_BYTES: Final = 1 << 20


def parquet_pieces(rows: Iterable[Row], row: type[Row]) -> Iterator[bytes]:
    """The bytes of the Parquet file, which is made in the system's directory for temporary files.

    :raises CannotError: DuckDB is not installed, or that directory has no room.
    :raises UnreadableError: the recording holds a number beyond 63 bits.
    """
    duckdb = _duckdb()
    with tempfile.TemporaryDirectory(prefix="swiotlb-top-") as directory:
        table, made = Path(directory, "rows.csv"), Path(directory, "rows.parquet")
        _write(csv_pieces(rows, row), table)
        try:
            with duckdb.connect(config={"threads": 1}) as connection:
                connection.execute(_statement(row, table, made))
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            raise UnreadableError(f"the recording holds what no table can: {_first_line(error)}") from None
        except duckdb.Error as error:
            raise CannotError(f"DuckDB cannot write Parquet: {_first_line(error)}") from None
        with made.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece


def _statement(row: type[Row], table: Path, made: Path) -> str:
    kinds = ", ".join(f"'{name}': '{_TYPES[kind]}'" for name, kind in columns(row).items())
    options = f"columns = {{{kinds}}}, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"'"
    rows = f"read_csv('{_quoted(table)}', {options}, nullstr = '', allow_quoted_nulls = false, parallel = false)"
    return f"COPY (SELECT * FROM {rows}) TO '{_quoted(made)}' (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608 (quoted)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _write(pieces: Iterable[bytes], table: Path) -> None:
    try:
        with table.open("wb") as file:
            file.writelines(pieces)
    except OSError as error:
        raise CannotError(f"cannot write {table}: {error.strerror}", "set TMPDIR to a directory with room") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _duckdb() -> Any:
    try:
        return importlib.import_module("duckdb")
    except ImportError:
        raise CannotError(
            "Parquet needs DuckDB, which is not installed", "install swiotlb-top[parquet], or convert to CSV"
        ) from None
