"""Write BTF, type by type (Documentation/bpf/btf.rst). Shares nothing with the parser it is for."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

MAGIC: Final = 0xEB9F
HEADER: Final = struct.Struct("<HBBIIIII")
INT, PTR, STRUCT, FUNC, FUNC_PROTO = 1, 2, 4, 12, 13
_HAS_BITFIELDS: Final = 1 << 31


class BtfFile:
    """BTF under construction. Type 1 is a one-byte integer that stands in for every member's type."""

    def __init__(self) -> None:
        self._types = bytearray()
        self._strings = bytearray(b"\0")
        self._offsets = {"": 0}
        self._count = 0
        self.stand_in = self.add(INT, size_or_type=1, tail=struct.pack("<I", 8), name="stand_in")

    def add(self, kind: int, *, name: str = "", size_or_type: int = 0, vlen: int = 0, tail: bytes = b"") -> int:
        """Add a type of any kind; its number, counted from 1."""
        return self._add(kind << 24 | vlen, name, size_or_type, tail)

    def struct(self, name: str, size_bytes: int, members: Sequence[tuple[str, int]], *, bitfields: bool = False) -> int:
        """Add a struct of (member, offset); offsets in bits, with a bitfield's width in the top byte."""
        info = STRUCT << 24 | len(members) | (_HAS_BITFIELDS if bitfields else 0)
        tail = b"".join(struct.pack("<III", self._string(member), self.stand_in, offset) for member, offset in members)
        return self._add(info, name, size_bytes, tail)

    def function(self, name: str, parameters: Sequence[str]) -> int:
        """Add a function and the prototype it points to; a parameter's leading stars are its pointers."""
        types = [self._pointed(parameter.count("*")) for parameter in parameters]
        names = [self._string(parameter.lstrip("*")) for parameter in parameters]
        tail = b"".join(struct.pack("<II", *pair) for pair in zip(names, types, strict=True))
        prototype = self.add(FUNC_PROTO, vlen=len(parameters), tail=tail)
        return self.add(FUNC, name=name, size_or_type=prototype)

    def _pointed(self, pointers: int) -> int:
        if not pointers:
            return self.stand_in
        return self.add(PTR, size_or_type=self._pointed(pointers - 1))

    def to_bytes(self) -> bytes:
        """The whole file."""
        sections = (0, len(self._types), len(self._types), len(self._strings))
        return HEADER.pack(MAGIC, 1, 0, HEADER.size, *sections) + self._types + self._strings

    def _add(self, info: int, name: str, size_or_type: int, tail: bytes) -> int:
        self._types += struct.pack("<III", self._string(name), info, size_or_type) + tail
        self._count += 1
        return self._count

    def _string(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]
