r"""Cut a kernel's BTF down to the structs and functions that swiotlb-top asks for.

    python -m tests.kernels.trim_btf /sys/kernel/btf/vmlinux tests/kernels/NAME/btf

The symbols beside it come from the same kernel:

    names='_*swiotlb_[a-z_]*|add_mem_pool|io_tlb_default_mem|default_n(slabs|areas)|track_hiwater_enabled'
    grep -E " (__pfx_)?($names|device_initialize)(\.[a-z0-9.]+)?$" /proc/kallsyms >tests/kernels/NAME/kallsyms

A kernel that does not run here gives both in the lab; one that is only a package has its BTF in its bzImage:
unpacked (tests.lab.harness.bzimage), it is the section .BTF.

Members keep their names and offsets, functions their parameters' names and pointers; every type becomes a
one-byte integer. The input is read here without the tool's parser, so that the parser's errors are not recorded.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from swiotlb_top.kernel.layout import FUNCTIONS, STRUCTS
from tests.kernels.btf_file import FUNC, FUNC_PROTO, HEADER, PTR, STRUCT, BtfFile

_FIXED_TAIL_BYTES: Final = {1: 4, 3: 12, 14: 4, 17: 4}
_LEADS_ON: Final = {PTR, 8, 9, 10, 11, 18}
_ELEMENT_BYTES: Final = {STRUCT: 12, 5: 12, 6: 8, FUNC_PROTO: 8, 15: 12, 19: 12}


class _Type(NamedTuple):
    name: str
    kind: int
    bitfields: bool
    size_or_type: int
    elements: tuple[tuple[str, int], ...]
    """(member, offset in bits) of a struct, (parameter, type) of a prototype; nothing for other kinds."""


def _types(raw: bytes) -> Iterator[_Type]:
    _, _, _, header_bytes, type_off, type_len, str_off, _ = HEADER.unpack_from(raw)
    strings = header_bytes + str_off

    def string(offset: int) -> str:
        begin = strings + offset
        return raw[begin : raw.index(b"\0", begin)].decode()

    at = header_bytes + type_off
    end = at + type_len
    while at < end:
        name, info, size_or_type = struct.unpack_from("<III", raw, at)
        kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
        tail = at + 12
        at = tail + _FIXED_TAIL_BYTES.get(kind, 0) + vlen * _ELEMENT_BYTES.get(kind, 0)
        elements: list[tuple[str, int]] = []
        if kind == STRUCT:
            elements = [(string(member), bits) for member, _, bits in struct.iter_unpack("<III", raw[tail:at])]
        elif kind == FUNC_PROTO:
            elements = [(string(parameter), of) for parameter, of in struct.iter_unpack("<II", raw[tail:at])]
        yield _Type(string(name), kind, bool(info >> 31), size_or_type, tuple(elements))


def trim(raw: bytes) -> bytes:
    """The part of ``raw`` that plans and layouts are made from."""
    types = list(_types(raw))
    kept = BtfFile()
    for one in types:
        if one.kind == STRUCT and one.name in STRUCTS:
            kept.struct(one.name, one.size_or_type, one.elements, bitfields=one.bitfields)
        elif one.kind == FUNC and one.name in FUNCTIONS:
            prototype = types[one.size_or_type - 1].elements
            kept.function(one.name, ["*" * _pointers(types, of) + parameter for parameter, of in prototype])
    return kept.to_bytes()


def _pointers(types: list[_Type], number: int) -> int:
    if number == 0 or types[number - 1].kind not in _LEADS_ON:
        return 0
    one = types[number - 1]
    return (one.kind == PTR) + _pointers(types, one.size_or_type)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(trim(Path(sys.argv[1]).read_bytes()))
