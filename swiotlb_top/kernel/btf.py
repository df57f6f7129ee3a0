"""Offsets of struct members and the kernel's functions, from BTF.

The kernel describes its own types in ``/sys/kernel/btf/vmlinux`` (Documentation/bpf/btf.rst).
``struct io_tlb_slot`` and ``struct io_tlb_area`` are private to swiotlb.c: no header has them,
BTF does.  One pass over the type section keeps only what was asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_TYPE: Final = struct.Struct("<III")
_MEMBER: Final = struct.Struct("<III")

_PTR, _ARRAY, _STRUCT, _UNION, _FUNC, _FUNC_PROTO = 2, 3, 4, 5, 12, 13
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG = 8, 9, 10, 11, 18
_REFERENCES: Final = frozenset({_PTR, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
"""Kinds of types that only lead to another one."""
_LONGEST_REFERENCE: Final = 64

# Bytes that follow the 12-byte head of a type: (fixed, per element of vlen), by BTF_KIND_*.
_TAIL: Final[Mapping[int, tuple[int, int]]] = {
    1: (4, 0),  # INT
    _PTR: (0, 0),
    _ARRAY: (12, 0),
    _STRUCT: (0, 12),
    _UNION: (0, 12),
    6: (0, 8),  # ENUM
    7: (0, 0),  # FWD
    _TYPEDEF: (0, 0),
    _VOLATILE: (0, 0),
    _CONST: (0, 0),
    _RESTRICT: (0, 0),
    _FUNC: (0, 0),
    _FUNC_PROTO: (0, 8),
    14: (4, 0),  # VAR
    15: (0, 12),  # DATASEC
    16: (0, 0),  # FLOAT
    17: (4, 0),  # DECL_TAG
    _TYPE_TAG: (0, 0),
    19: (0, 12),  # ENUM64
}


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct's size and the byte offset of each named member."""

    size_bytes: int
    offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Btf:
    """What was asked of a kernel's BTF and found there."""

    structs: Mapping[str, Struct]
    functions: Mapping[str, tuple[str, ...]]
    """Function -> its parameters in order, as a C prototype has them without their types: ``*dev``,
    ``orig_addr``, ``**retpool``."""
    function_ids: Mapping[str, int] = field(default_factory=dict)
    """Function -> the number of its type, by which fentry and fexit programs name it."""

    def offset(self, struct_name: str, member: str) -> int | None:
        """Byte offset of a member, or None where this kernel has no such member."""
        found = self.structs.get(struct_name)
        return found.offsets.get(member) if found else None


def load(structs: Collection[str], functions: Collection[str], path: Path = VMLINUX) -> Btf:
    """Read the kernel's BTF.

    :raises CannotError: the kernel has none (CONFIG_DEBUG_INFO_BTF=n), or it is no BTF.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CannotError(
            f"this kernel does not describe its types in {path} ({error.strerror}): "
            "probes need a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        ) from None
    try:
        return parse(raw, structs, functions)
    except struct.error:
        reason = "it ends too early"
    except KeyError as kind:
        reason = f"it has a type of unknown kind {kind}"
    except ValueError as error:
        reason = str(error)
    raise CannotError(f"the type information in {path} cannot be understood: {reason}")


def parse(raw: bytes, structs: Collection[str], functions: Collection[str]) -> Btf:
    """Parse BTF bytes; see :func:`load`. Little-endian only, as every kernel it serves is."""
    magic, _, _, header_bytes, type_off, type_len, str_off, str_len = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise ValueError(f"magic {magic:#x} is not BTF's")
    types = memoryview(raw)[header_bytes + type_off : header_bytes + type_off + type_len]
    strings = raw[header_bytes + str_off : header_bytes + str_off + str_len]
    wanted = {at: name for name in structs for at in _name_offsets(strings, name)}
    called = {at: name for name in functions for at in _name_offsets(strings, name)}

    found: dict[str, Struct] = {}
    found_functions: dict[str, int] = {}
    function_ids: dict[str, int] = {}
    protos: dict[int, tuple[int, int]] = {}
    references: dict[int, tuple[int, int]] = {}
    type_id, at, unpack = 0, 0, _TYPE.unpack_from
    while at < type_len:
        type_id += 1
        name_off, info, size_or_type = unpack(types, at)
        kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
        if kind == _STRUCT and name_off in wanted:
            bitfields = bool(info >> 31)
            found[wanted[name_off]] = Struct(size_or_type, _members(types, strings, at + 12, vlen, bitfields))
        elif kind == _FUNC and name_off in called:
            found_functions[called[name_off]] = size_or_type
            function_ids[called[name_off]] = type_id
        elif kind == _FUNC_PROTO:
            protos[type_id] = (at + 12, vlen)
        elif kind in _REFERENCES:
            references[type_id] = (kind, size_or_type)
        fixed, each = _TAIL[kind]
        at += 12 + fixed + each * vlen
    parameters = {
        name: _parameters(types, strings, references, *protos[proto])
        for name, proto in found_functions.items()
        if proto in protos
    }
    return Btf(found, parameters, function_ids)


def _name_offsets(strings: bytes, name: str) -> list[int]:
    """Where ``name`` stands in the string section; strings may be shared, so only whole ones."""
    needle = b"\0" + name.encode() + b"\0"
    at = strings.find(needle)
    return [at + 1] if at >= 0 else []


def _string(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    if end < 0:
        raise ValueError("a name runs past the end")
    return strings[at:end].decode()


def _members(types: memoryview, strings: bytes, at: int, vlen: int, bitfields: bool) -> dict[str, int]:
    members = {}
    for name_off, _, offset_bits in _MEMBER.iter_unpack(types[at : at + 12 * vlen]):
        bits = offset_bits & 0xFFFFFF if bitfields else offset_bits
        members[_string(strings, name_off)] = bits // 8
    return members


def _parameters(
    types: memoryview, strings: bytes, references: Mapping[int, tuple[int, int]], at: int, vlen: int
) -> tuple[str, ...]:
    pairs = struct.iter_unpack("<II", types[at : at + 8 * vlen])
    return tuple("*" * _pointers(references, type_id) + _string(strings, name_off) for name_off, type_id in pairs)


def _pointers(references: Mapping[int, tuple[int, int]], type_id: int) -> int:
    """How many pointers lead from a type to what is no pointer."""
    pointers = 0
    for _ in range(_LONGEST_REFERENCE):
        if type_id not in references:
            return pointers
        kind, type_id = references[type_id]
        pointers += kind == _PTR
    raise ValueError("a type leads back to itself")
