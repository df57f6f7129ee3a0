"""RECORDS payload: ``codec`` u32, ``count`` u32, then the records as that codec packs them.

========  =======================================================================================
PLANES 1  zlib stream of the records' 64 byte planes. For recording: no work in Python per record.
COLUMNS 2 raw LZMA stream of :mod:`.columns`. For keeping: half the size, thirty times the work.
========  =======================================================================================
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from swiotlb_top.records import RECORD_BYTES, count
from swiotlb_top.trace import columns, planes
from swiotlb_top.trace.format import MAX_BLOCK_RECORDS, MAX_RECORDS_A_BYTE

_BLOCK: Final = struct.Struct("<II")
_RECORDING_ZLIB_LEVEL: Final = 1


class Codec(IntEnum):
    """How a block of records is packed."""

    PLANES = 1
    COLUMNS = 2


class UnknownCodecError(ValueError):
    """A block packed in a way this reader does not know."""


def records_payload(records: bytes, codec: Codec, pool_starts: Mapping[int, int]) -> bytes:
    """RECORDS payload of at most MAX_BLOCK_RECORDS packed records.

    :param pool_starts: pool -> its first physical address, as known before the block (COLUMNS
        predicts releases from them; what is missing costs size only).
    """
    number = count(records)
    payload = _BLOCK.pack(codec, number) + _PACKERS[codec](records, pool_starts)
    if number <= MAX_RECORDS_A_BYTE * len(payload):
        return payload
    return _BLOCK.pack(Codec.PLANES, number) + _pack_planes(records, pool_starts)


def read_records(payload: bytes) -> bytes:
    """Undo :func:`records_payload`.

    :raises UnknownCodecError: a codec of a newer swiotlb-top.
    :raises ValueError: what is wrong with it.
    """
    if len(payload) < _BLOCK.size:
        raise ValueError("no room for the block's count")
    codec, number = _BLOCK.unpack_from(payload)
    if codec not in _UNPACKERS:
        raise UnknownCodecError(f"records packed with codec {codec}")
    if number > MAX_BLOCK_RECORDS:
        raise ValueError(f"{number} records in a block, more than the {MAX_BLOCK_RECORDS} a trace can hold")
    if number > MAX_RECORDS_A_BYTE * len(payload):
        raise ValueError(f"{number} records in {len(payload)} bytes, more than a trace can hold")
    return _UNPACKERS[codec](payload[_BLOCK.size :], number)


def _pack_planes(records: bytes, _pool_starts: Mapping[int, int]) -> bytes:
    return zlib.compress(planes.split(records, RECORD_BYTES), _RECORDING_ZLIB_LEVEL)


def _unpack_planes(packed: bytes, number: int) -> bytes:
    return bytes(planes.join(planes.inflate(packed, number * RECORD_BYTES), RECORD_BYTES))


_PACKERS: Final[dict[int, Callable[[bytes, Mapping[int, int]], bytes]]] = {
    Codec.PLANES: _pack_planes,
    Codec.COLUMNS: columns.pack,
}
_UNPACKERS: Final[dict[int, Callable[[bytes, int], bytes]]] = {
    Codec.PLANES: _unpack_planes,
    Codec.COLUMNS: columns.unpack,
}
