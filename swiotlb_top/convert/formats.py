"""The formats into which a recording is converted, and the conversion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

from swiotlb_top.convert.output import STANDARD_OUTPUT, into_file, to_standard_output
from swiotlb_top.convert.parquet import parquet_pieces
from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.convert.text import csv_pieces, json_pieces
from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.recording.opened import Recording, Rows
from swiotlb_top.recording.rows import Row

T = TypeVar("T")
_Pieces: TypeAlias = Callable[[Iterable[Row], type[Row]], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: the endings of its file names, and the function that writes a table in it.

    The function is None for a timeline, which has no tables.
    """

    endings: tuple[str, ...]
    pieces: _Pieces | None


FORMATS: Final[dict[str, Format]] = {
    "csv": Format((".csv",), csv_pieces),
    "jsonl": Format((".jsonl", ".ndjson"), json_pieces),
    "parquet": Format((".parquet",), parquet_pieces),
    "perfetto": Format((".pftrace", ".perfetto-trace"), None),
}


class _Readable(Generic[T]):
    """The rows before any damage, without the error, which is kept in ``damage``."""

    def __init__(self, rows: Iterable[T]) -> None:
        self._rows = rows
        self.damage = ""

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._rows
        except UnreadableError as error:
            self.damage = str(error)


def format_of(output: Path) -> str:
    """The name of the format that belongs to the ending of a file name.

    :raises UsageError: the ending belongs to no format.
    """
    for name, form in FORMATS.items():
        if output.name.endswith(form.endings):
            return name
    if output == STANDARD_OUTPUT:
        raise UsageError(f"standard output has no ending: give --format, one of {', '.join(FORMATS)}")
    endings = ", ".join(ending for form in FORMATS.values() for ending in form.endings)
    raise UsageError(f"{output} does not end in one of {endings}: change its name, or give --format")


def convert(recording: Recording, output: Path, form: str, table: str | None, *, judged: bool) -> str:
    """Write a recording in another format, up to its end, or to where it is damaged.

    :param output: a new file; :data:`STANDARD_OUTPUT` is standard output.
    :param form: the name of the format, one of :data:`FORMATS`.
    :param table: one of :data:`~swiotlb_top.recording.rows.TABLES`, or None for mappings.
    :param judged: fill in what the judge answers.
    :returns: why the recording cannot be read to its end; empty if it can.
    :raises UsageError: a table is asked for, and the format has none.
    :raises CannotError: the output cannot be written, or the format needs a package that is not installed.
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
