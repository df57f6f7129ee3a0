"""Integer arrays as byte planes, and inflating them within bounds.

The high bytes of neighbouring integers are alike; with all first bytes together, then all second
ones, a general compressor finds that.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final

_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


def split(packed: bytes, stride: int) -> bytes:
    """Gather byte 0 of every ``stride``-byte element, then byte 1 of every element, and so on."""
    return b"".join([packed[byte::stride] for byte in range(stride)])


def join(planes: bytes, stride: int) -> bytearray:
    """Undo :func:`split`. ``planes`` must hold a whole number of elements."""
    count = len(planes) // stride
    packed = bytearray(len(planes))
    for byte in range(stride):
        packed[byte::stride] = planes[byte * count : (byte + 1) * count]
    return packed


def from_integers(values: Sequence[int], width: int) -> bytes:
    """Byte planes of unsigned ``width``-byte integers, ``width`` one of 1, 2, 4, 8.

    :raises ValueError: a value out of range.
    """
    try:
        return split(struct.pack(f"<{len(values)}{_CODES[width]}", *values), width)
    except struct.error as wrong:
        raise ValueError(str(wrong)) from None


def to_integers(planes: bytes, width: int) -> tuple[int, ...]:
    """Undo :func:`from_integers`."""
    return struct.unpack(f"<{len(planes) // width}{_CODES[width]}", join(planes, width))


def inflate(deflated: bytes, size_bytes: int) -> bytes:
    """Inflate a zlib stream that must hold exactly ``size_bytes``; at most one byte more is ever allocated.

    :raises ValueError: it holds another number of bytes, or is no zlib stream.
    """
    inflater = zlib.decompressobj()
    try:
        # One byte more than wanted, so that the stream's end is reached (and its checksum looked at).
        inflated = inflater.decompress(deflated, size_bytes + 1)
    except zlib.error as wrong:
        raise ValueError(f"compressed data: {wrong}") from None
    if not inflater.eof or inflater.unused_data or len(inflated) != size_bytes:
        raise ValueError(f"compressed data does not hold the {size_bytes} bytes it should")
    return inflated
