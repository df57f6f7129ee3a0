"""Rows as CSV and as JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from swiotlb_top.recording.rows import Row, columns

_NEEDS_QUOTES: Final = re.compile(r'[",\n\r]|^$')


def csv_pieces(rows: Iterable[Row], row: type[Row]) -> Iterator[bytes]:
    """A line of names, then a line a row (RFC 4180, but for the newline). An empty cell is None, and ``""`` a text."""
    yield ",".join(columns(row)).encode() + b"\n"
    for values in rows:
        yield ",".join(map(_cell, values)).encode(errors="backslashreplace") + b"\n"


def json_pieces(rows: Iterable[Row], row: type[Row]) -> Iterator[bytes]:
    """An object a line, with every column; null is None."""
    names = tuple(columns(row))
    for values in rows:
        yield json.dumps(dict(zip(names, values, strict=True)), separators=(",", ":")).encode() + b"\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if _NEEDS_QUOTES.search(value) else value
    return str(value).lower()
