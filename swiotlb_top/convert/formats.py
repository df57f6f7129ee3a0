"""The forms that a recording can be given, and how it is given them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

from swiotlb_top.convert.output import into_file, to_standard_output
from swiotlb_top.convert.parquet import parquet_pieces
from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.convert.text import csv_pieces, json_pieces
from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.recording.opened import Recording, Rows
from swiotlb_top.recording.rows import Row

T = TypeVar("T")
_Pieces: TypeAlias = Callable[[Iterable[Row], type[Row]], Iterator[bytes]]

STANDARD_OUTPUT: Final = Path("-")


@dataclass(frozen=True, slots=True)
class Format:
    """One form: the endings of its files, and what makes a table of it. A timeline has no tables."""

    endings: tuple[str, ...]
    pieces: _Pieces | None


FORMATS: Final[dict[str, Format]] = {
    "csv": Format((".csv",), csv_pieces),
    "jsonl": Format((".jsonl", ".ndjson"), json_pieces),
    "parquet": Format((".parquet",), parquet_pieces),
    "perfetto": Format((".pftrace", ".perfetto-trace"), None),
}


class _Readable(Generic[T]):
    """What of a table can be read, and why that is not all."""

    def __init__(self, rows: Iterable[T]) -> None:
        self._rows = rows
        self.damage = ""

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._rows
        except UnreadableError as error:
            self.damage = str(error)


def format_of(output: Path) -> str:
    """The name of the form that a file's ending stands for. :raises UsageError: none does."""
    for name, form in FORMATS.items():
        if output.name.endswith(form.endings):
            return name
    if output == STANDARD_OUTPUT:
        raise UsageError(f"standard output has no ending: give --format, one of {', '.join(FORMATS)}")
    endings = ", ".join(ending for form in FORMATS.values() for ending in form.endings)
    raise UsageError(f"{output} has an ending that stands for no form ({endings}): change it, or give --format")


def convert(recording: Recording, output: Path, form: str, table: str | None, *, judged: bool) -> str:
    """Write a recording in another form, as far as it can be read; why that is not all, or nothing.

    :param output: a new file; :data:`STANDARD_OUTPUT` is standard output.
    :param form: one of :data:`FORMATS`.
    :param table: one of :data:`~swiotlb_top.recording.rows.TABLES`, or None for mappings.
    :param judged: with what the judge says.
    :raises UsageError: a table of a form that has none.
    :raises CannotError: the output cannot be written, or the form is not installed.
    """
    pieces_of = FORMATS[form].pieces
    readable: _Readable[Any]
    if pieces_of is not None:
        rows = _table(recording, table or "mappings", judged)
        readable = _Readable(rows)
        pieces = pieces_of(readable, rows.row)
    elif table is None:
        readable = _Readable(recording.happenings(judged))
        pieces = perfetto_pieces(readable, recording.clock, f"swiotlb of {recording.header.kernel.release}")
    else:
        raise UsageError(f"--table goes with {', '.join(name for name in FORMATS if FORMATS[name].pieces)}")
    if output == STANDARD_OUTPUT:
        to_standard_output(pieces)
    else:
        into_file(pieces, output)
    return readable.damage


def _table(recording: Recording, name: str, judged: bool) -> Rows[Row]:
    tables: dict[str, Callable[[], Rows[Row]]] = {
        "mappings": lambda: recording.mappings(judged=judged),
        "failures": lambda: recording.failures(judged=judged),
        "pools": recording.pools,
        "devices": recording.devices,
        "slots": recording.slots,
    }
    return tables[name]()
