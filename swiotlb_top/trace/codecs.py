"""RECORDS payload: ``codec`` u32, ``count`` u32, then the records as that codec packs them.

There is one codec, 1: a zlib stream of the records' 64 byte planes, which Python packs without a loop over records.
Codec 2 was tried before the first release; its number must not be used again.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from swiotlb_top.records import RECORD_BYTES, count
from swiotlb_top.trace import planes
from swiotlb_top.trace.format import MAX_BLOCK_RECORDS, MAX_RECORDS_A_BYTE

PLANES: Final = 1
_BLOCK: Final = struct.Struct("<II")
_RECORDING_ZLIB_LEVEL: Final = 1


class UnknownCodecError(ValueError):
    """A block is packed with a codec that this reader does not know."""


def records_payload(records: bytes) -> bytes:
    """The RECORDS payload for packed records, of which there may be at most MAX_BLOCK_RECORDS."""
    packed = zlib.compress(planes.split(records, RECORD_BYTES), _RECORDING_ZLIB_LEVEL)
    return _BLOCK.pack(PLANES, count(records)) + packed


def read_records(payload: bytes) -> bytes:
    """Undo :func:`records_payload`.

    :raises UnknownCodecError: this swiotlb-top does not have the codec.
    :raises ValueError: the payload is damaged; the message says how.
    """
    if len(payload) < _BLOCK.size:
        raise ValueError("no room for the block's count")
    codec, number = _BLOCK.unpack_from(payload)
    if codec != PLANES:
        raise UnknownCodecError(f"records packed with codec {codec}")
    if number > MAX_BLOCK_RECORDS:
        raise ValueError(f"{number} records in a block, more than the {MAX_BLOCK_RECORDS} a trace can hold")
    if number > MAX_RECORDS_A_BYTE * len(payload):
        raise ValueError(f"{number} records in {len(payload)} bytes, more than a trace can hold")
    return bytes(planes.join(planes.inflate(payload[_BLOCK.size :], number * RECORD_BYTES), RECORD_BYTES))
