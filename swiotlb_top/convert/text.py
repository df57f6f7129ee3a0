"""Rows as CSV and as JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from swiotlb_top.recording.rows import Row, columns

_NEEDS_QUOTES: Final = re.compile(r'[",\n\r]|^$')


def csv_pieces(rows: Iterable[Row], row: type[Row]) -> Iterator[bytes]:
    """A line with the names of the columns, then one line for each row.

    As in RFC 4180, but lines end in a newline alone. None is an empty cell; an empty text is ``""``.
    """
    yield ",".join(columns(row)).encode() + b"\n"
    for values in rows:
        yield ",".join(map(_cell, values)).encode(errors="backslashreplace") + b"\n"


def json_pieces(rows: Iterable[Row], row: type[Row]) -> Iterator[bytes]:
    """One JSON object for each row, each on a line of its own, with every column. None is null."""
    names = tuple(columns(row))
    for values in rows:
        yield json.dumps(dict(zip(names, values, strict=True)), separators=(",", ":")).encode() + b"\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if _NEEDS_QUOTES.search(value) else value
    return str(value).lower()
