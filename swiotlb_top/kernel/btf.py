"""Offsets of struct members and the kernel's functions, from BTF.

The kernel describes its own types in ``/sys/kernel/btf/vmlinux`` (Documentation/bpf/btf.rst), or a file does
(:mod:`.types_file`).
``struct io_tlb_slot`` and ``struct io_tlb_area`` are private to swiotlb.c: no header has them,
BTF does.  libbpf reads it: there are 100,000 types and more, of which a few are asked for.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.libbpf import library
from swiotlb_top.kernel.types_file import TypesFile

_TYPE: Final = struct.Struct("<III")
"""``struct btf_type``: name, info, size or type"""
_MEMBER: Final = struct.Struct("<III")
"""``struct btf_member``: name, type, offset"""
_PARAMETER: Final = struct.Struct("<II")
"""``struct btf_param``: name, type"""

_PTR, _STRUCT, _FUNC, _FUNC_PROTO = 2, 4, 12, 13
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG = 8, 9, 10, 11, 18
_REFERENCES: Final = frozenset({_PTR, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
"""Kinds of types that only lead to another one."""
_LONGEST_REFERENCE: Final = 64


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
    """Function -> the id of its type, by which a program names the function."""
    struct_ids: Mapping[str, int] = field(default_factory=dict)
    """Struct -> the id of its type."""
    of_kernel: bool = True
    """Whether the kernel itself has it, and takes programs that name its types. Else there are no ids, either."""

    def offset(self, struct_name: str, member: str) -> int | None:
        """Byte offset of a member, or None where this kernel has no such member."""
        found = self.structs.get(struct_name)
        return found.offsets.get(member) if found else None


def digest(source: TypesFile) -> str:
    """SHA-256 of a kernel's BTF, in hexadecimal, which tells one kernel build from another.

    :raises CannotError: the file cannot be read, or has no BTF.
    """
    return hashlib.sha256(_read(source)).hexdigest()


def load(structs: Collection[str], functions: Collection[str], source: TypesFile) -> Btf:
    """Find structs and functions in a kernel's BTF; a name that the kernel does not have is left out.

    :raises CannotError: the file cannot be read, is no BTF, or libbpf is missing.
    """
    try:
        found = parse(_read(source), structs, functions)
    except ValueError as error:
        raise _not_understood(source, error) from None
    return found if source.of_kernel else replace(found, function_ids={}, struct_ids={}, of_kernel=False)


def _read(source: TypesFile) -> bytes:
    try:
        return source.read()
    except OSError as error:
        raise CannotError(
            f"this kernel's types cannot be read from {source.path} ({error.strerror}): "
            "probes need a kernel built with CONFIG_DEBUG_INFO_BTF=y, or a file of its build that has BTF"
        ) from None
    except ValueError as error:
        raise _not_understood(source, error) from None


def _not_understood(source: TypesFile, error: ValueError) -> CannotError:
    return CannotError(f"the type information in {source.path} cannot be understood: {error}")


def parse(raw: bytes, structs: Collection[str], functions: Collection[str]) -> Btf:
    """Find structs and functions in BTF, which has this machine's byte order; names that it does not have are left out.

    :raises ValueError: ``raw`` is no BTF, or libbpf does not know its version.
    """
    types = _Types(raw)
    try:
        function_ids = types.numbers(functions, _FUNC)
        struct_ids = types.numbers(structs, _STRUCT)
        protos = {name: types.of(types.of(number).size_or_type) for name, number in function_ids.items()}
        return Btf(
            {name: _struct(types, types.of(number)) for name, number in struct_ids.items()},
            {name: _parameters(types, proto) for name, proto in protos.items() if proto.kind == _FUNC_PROTO},
            function_ids,
            struct_ids,
        )
    finally:
        types.close()


class _Type(NamedTuple):
    """``struct btf_type``"""

    address: int
    kind: int
    vlen: int
    flag: bool
    size_or_type: int

    def elements(self, of: struct.Struct) -> Iterator[tuple[int, ...]]:
        """The members or parameters that follow it in memory, each unpacked by ``of``."""
        return of.iter_unpack(ctypes.string_at(self.address + _TYPE.size, self.vlen * of.size))


class _Types:
    """``struct btf`` of libbpf; :meth:`close` frees it."""

    def __init__(self, raw: bytes) -> None:
        new = library().btf__new
        new.restype = ctypes.c_void_p
        handle = new(raw, ctypes.c_uint32(len(raw)))
        if not handle:
            raise ValueError(f"libbpf says: {os.strerror(ctypes.get_errno())}")
        self._handle = ctypes.c_void_p(handle)

    def close(self) -> None:
        library().btf__free(self._handle)

    def numbers(self, names: Collection[str], kind: int) -> dict[str, int]:
        """The ids of the types of one kind with these names; a name that no type has is left out."""
        find = library().btf__find_by_name_kind
        found = ((name, find(self._handle, name.encode(), ctypes.c_uint32(kind))) for name in names)
        return {name: number for name, number in found if number > 0}

    def of(self, number: int) -> _Type:
        """The type with an id; 0 is void. :raises ValueError: there is none."""
        by_id = library().btf__type_by_id
        by_id.restype = ctypes.c_void_p
        address = by_id(self._handle, ctypes.c_uint32(number))
        if not address:
            raise ValueError(f"there is no type {number}")
        _, info, size_or_type = _TYPE.unpack(ctypes.string_at(address, _TYPE.size))
        return _Type(address, info >> 24 & 0x1F, info & 0xFFFF, bool(info >> 31), size_or_type)

    def name(self, offset: int) -> str:
        by_offset = library().btf__name_by_offset
        by_offset.restype = ctypes.c_char_p
        name: bytes | None = by_offset(self._handle, ctypes.c_uint32(offset))
        if name is None:
            raise ValueError("a name runs past the end")
        return name.decode()


def _struct(types: _Types, found: _Type) -> Struct:
    # In a struct with bitfields, the upper 8 bits of an offset are the width.
    bits = 0xFFFFFF if found.flag else 0xFFFFFFFF
    members = found.elements(_MEMBER)
    return Struct(found.size_or_type, {types.name(name): (offset & bits) // 8 for name, _, offset in members})


def _parameters(types: _Types, proto: _Type) -> tuple[str, ...]:
    return tuple("*" * _pointers(types, of) + types.name(name) for name, of in proto.elements(_PARAMETER))


def _pointers(types: _Types, number: int) -> int:
    """How many pointers a type has: 2 for ``struct page **``. :raises ValueError: the type refers to itself."""
    pointers = 0
    for _ in range(_LONGEST_REFERENCE):
        one = types.of(number)
        if one.kind not in _REFERENCES:
            return pointers
        pointers += one.kind == _PTR
        number = one.size_or_type
    raise ValueError("a type leads back to itself")
