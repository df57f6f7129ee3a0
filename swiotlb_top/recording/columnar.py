"""Rows as tables of pyarrow and of pandas, where these are installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.recording.rows import Row, columns

_BATCH_ROWS: Final = 1 << 16
_PANDAS: Final = {int: "Int64", str: "string", bool: "boolean"}
"""Column types that can hold missing values without turning integers into floats, which round nanoseconds."""


def to_arrow(rows: Iterable[Row], row: type[Row]) -> Any:
    """All rows as a ``pyarrow.Table`` with the same columns.

    :raises CannotError: pyarrow is not installed.
    :raises UnreadableError: the recording cannot be read to its end, or holds a number beyond 63 bits.
    """
    arrow = _imported("pyarrow", "arrow")
    kinds = {int: arrow.int64(), str: arrow.string(), bool: arrow.bool_()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns(row).items()])
    try:
        batches = [
            arrow.record_batch(
                [arrow.array(column, of) for column, of in zip(batch, schema.types, strict=True)], schema
            )
            for batch in _batches(rows)
        ]
    except (OverflowError, arrow.ArrowInvalid) as error:
        raise _too_large(error) from None
    return arrow.Table.from_batches(batches, schema)


def to_pandas(rows: Iterable[Row], row: type[Row]) -> Any:
    """All rows as a ``pandas.DataFrame``. Its column types can hold missing values.

    :raises CannotError: pandas is not installed.
    :raises UnreadableError: the recording cannot be read to its end, or holds a number beyond 63 bits.
    """
    pandas = _imported("pandas", "pandas")
    kinds = columns(row)
    found: list[list[Any]] = [[] for _ in kinds]
    for batch in _batches(rows):
        for column, more in zip(found, batch, strict=True):
            column.extend(more)
    try:
        return pandas.DataFrame(
            {
                name: pandas.array(column, dtype=_PANDAS[kind])
                for (name, kind), column in zip(kinds.items(), found, strict=True)
            }
        )
    except OverflowError as error:
        raise _too_large(error) from None


def _batches(rows: Iterable[Row]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in batches, each as a list of columns."""
    rest = iter(rows)
    while batch := list(islice(rest, _BATCH_ROWS)):
        yield list(zip(*batch, strict=True))


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise CannotError(f"{module} is not installed", f"install swiotlb-top[{extra}], or use the rows") from None


def _too_large(error: Exception) -> UnreadableError:
    return UnreadableError(f"the recording holds a number that no table can ({error}); iterate over the rows instead")
