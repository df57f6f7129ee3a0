"""The part of protobuf's wire format that is needed to write messages."""

from __future__ import annotations

import struct

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_U64 = (1 << 64) - 1


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number as 64 bits."""
    number &= _U64
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field of an integer, a bool, or an enum."""
    return varint(field << 3 | _VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of eight bytes."""
    return varint(field << 3 | _FIXED64) + struct.pack("<Q", value & _U64)


def packed(field: int, value: bytes | str) -> bytes:
    """A field of bytes: a text, or a message."""
    data = value.encode(errors="backslashreplace") if isinstance(value, str) else value
    return varint(field << 3 | _BYTES) + varint(len(data)) + data
