"""Rewrite a trace to take less room: same items in the same order, records in bigger and tighter blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from swiotlb_top.events import Gap
from swiotlb_top.records import RECORD_BYTES
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace.codecs import Codec
from swiotlb_top.trace.format import MAX_BLOCK_RECORDS
from swiotlb_top.trace.items import End, Item, Known, Records
from swiotlb_top.trace.reader import TraceReader
from swiotlb_top.trace.writer import TraceWriter

_BLOCK_BYTES: Final = MAX_BLOCK_RECORDS * RECORD_BYTES


def compact(source: str | os.PathLike[str], target: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Rewrite the finished trace ``source`` as ``target``, which may be the same path if ``overwrite``.

    :raises UnreadableError: ``source`` is no whole trace; ``target`` is then not made.
    :raises CannotError: ``target`` cannot be written.
    """
    reader = TraceReader(source)
    writer = TraceWriter(target, reader.header, overwrite=overwrite, codec=Codec.COLUMNS)
    try:
        for are_records, items in groupby(reader, key=lambda item: isinstance(item, Records)):
            if are_records:
                _copy_records(writer, items)
            else:
                for item in items:
                    _copy(writer, item)
    except BaseException:
        writer.discard()
        raise
    writer.close()


def _copy_records(writer: TraceWriter, blocks: Iterable[Item]) -> None:
    pending = bytearray()
    for block in blocks:
        if isinstance(block, Records):
            pending += block.data
        while len(pending) >= _BLOCK_BYTES:
            writer.records(bytes(pending[:_BLOCK_BYTES]))
            del pending[:_BLOCK_BYTES]
    writer.records(bytes(pending))


def _copy(writer: TraceWriter, item: Item) -> None:
    match item:
        case MemState():
            writer.state(item)
        case DeviceName():
            writer.device_name(item)
        case Gap():
            writer.gap(item)
        case Known(before_ns):
            writer.known(before_ns)
        case End(counters, duration_ns, lost):
            writer.end(counters, duration_ns, lost)
