"""A compiled program as data: the maps it needs, and its instructions, which refer to a map by its number in that list.

It can be stored, and loaded again without a compiler, wherever the compiler would produce the same.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

INSTRUCTION_BYTES: Final = 8
_CALL: Final = 0x85
"""``BPF_JMP | BPF_CALL``"""
_KERNEL_FUNCTION: Final = 2
"""BPF_PSEUDO_KFUNC_CALL, as such an instruction's source: its immediate is a function's BTF id."""
_HELPERS: Final = 4096
"""Every helper's number is below it (there are 211, and no more will be added); the BTF ids of functions are above."""
_LOAD_64_BITS: Final = 0x18
"""``BPF_LD | BPF_DW | BPF_IMM``, the one instruction that takes two places."""
_NUMBER: Final = 0
"""As such an instruction's source: it loads its immediate."""
_MAP: Final = 1
"""BPF_PSEUDO_MAP_FD, as such an instruction's source: its immediate is a map's descriptor."""
_IMMEDIATE: Final = struct.Struct("<i")
_IMMEDIATE_AT: Final = 4
_NAME: Final = re.compile(r"[\w.]{1,128}", re.ASCII)
_BOUNDS: Final[Mapping[str, range]] = {
    "type": range(1, 64),
    "key_bytes": range(64 + 1),
    "value_bytes": range((1 << 20) + 1),
    "entries": range(1, (1 << 30) + 1),
    "flags": range(1 << 32),
}
"""What any map of the tool is within."""
_MOST_BYTES: Final = 128 << 20
"""Of all maps together, as they are told: a ring buffer of 16 MiB and a table of devices of 12 MiB are the largest."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What ``BPF_MAP_CREATE`` is asked for."""

    name: str
    type: int
    """``enum bpf_map_type``"""
    key_bytes: int
    value_bytes: int
    entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class Image:
    """Maps, and each program's instructions by its name in the source."""

    maps: tuple[MapSpec, ...]
    programs: Mapping[str, bytes]
    """``struct bpf_insn[]``; where the address of a map is loaded, its place in ``maps`` stands for its descriptor."""

    @classmethod
    def of(cls, maps: Mapping[int, MapSpec], programs: Mapping[str, bytes]) -> Self:
        """From programs that were compiled for maps with these file descriptors.

        bcc writes every call as that of a helper. A call whose number no helper has is of a kernel function, and is
        marked so.
        """
        places = {descriptor: place for place, descriptor in enumerate(maps)}
        return cls(tuple(maps.values()), {name: _told(_renamed(code, places)) for name, code in programs.items()})

    def code(self, name: str, descriptors: Sequence[int]) -> bytes:
        """A program's instructions, for maps with these file descriptors, which are in the order of ``maps``."""
        return _renamed(self.programs[name], dict(enumerate(descriptors)))

    def sized(self, name: str, entries: int) -> Self:
        """The same, with so many entries in one of its maps, if it has that map."""
        return replace(
            self, maps=tuple(replace(each, entries=entries) if each.name == name else each for each in self.maps)
        )

    def packed(self) -> str:
        """The image as JSON text, for :meth:`unpacked`."""
        maps = [asdict(each) for each in self.maps]
        programs = {name: base64.b64encode(code).decode() for name, code in self.programs.items()}
        return json.dumps({"maps": maps, "programs": programs})

    @classmethod
    def unpacked(cls, text: str) -> Self:
        """Undo :meth:`packed`. :raises ValueError: the text is no image."""
        try:
            said = json.loads(text)
        except RecursionError:
            raise ValueError("brackets in brackets") from None
        if not isinstance(said, dict) or said.keys() != {"maps", "programs"}:
            raise ValueError("not maps and programs")
        maps, programs = said["maps"], said["programs"]
        if not isinstance(maps, list) or not isinstance(programs, dict):
            raise ValueError("not a list of maps, and programs by name")
        specs = tuple(map(_spec, maps))
        if len({each.name for each in specs}) != len(specs):
            raise ValueError("two of its maps have one name")
        if sum(each.entries * (each.key_bytes + each.value_bytes or 1) for each in specs) > _MOST_BYTES:
            raise ValueError(f"its maps are larger than {_MOST_BYTES >> 20} MiB")
        return cls(specs, {_name(name): _code(code, len(specs)) for name, code in programs.items()})


def _spec(said: object) -> MapSpec:
    if not isinstance(said, dict) or said.keys() != _BOUNDS.keys() | {"name"}:
        raise ValueError("a map is not told as one")
    for member, bounds in _BOUNDS.items():
        if type(said[member]) is not int or said[member] not in bounds:
            raise ValueError(f"a map's {member} is not one of {bounds.start} to {bounds.stop - 1}")
    return MapSpec(**{**said, "name": _name(said["name"])})


def _name(said: object) -> str:
    if not isinstance(said, str) or not _NAME.fullmatch(said):
        raise ValueError("a name is not one of the kernel's")
    return said


def _code(said: object, maps: int) -> bytes:
    """Instructions that refer to nothing but maps, each of them one of the first so many."""
    if not isinstance(said, str):
        raise ValueError("a program's code is no text")
    code = base64.b64decode(said, validate=True)
    if len(code) % INSTRUCTION_BYTES:
        raise ValueError("a program does not end with an instruction")
    if any(code[at] == _LOAD_64_BITS and code[at + 1] >> 4 not in (_NUMBER, _MAP) for at in _instructions(code)):
        raise ValueError("a program refers to something that is no map")
    if any(_IMMEDIATE.unpack_from(code, at + _IMMEDIATE_AT)[0] not in range(maps) for at in _map_loads(code)):
        raise ValueError("a program refers to a map that is not there")
    return code


def _renamed(code: bytes, names: Mapping[int, int]) -> bytes:
    renamed = bytearray(code)
    for at in _map_loads(code):
        (name,) = _IMMEDIATE.unpack_from(code, at + _IMMEDIATE_AT)
        _IMMEDIATE.pack_into(renamed, at + _IMMEDIATE_AT, names[name])
    return bytes(renamed)


def _told(code: bytes) -> bytes:
    told = bytearray(code)
    for at in _instructions(code):
        if code[at] == _CALL and _IMMEDIATE.unpack_from(code, at + _IMMEDIATE_AT)[0] >= _HELPERS:
            told[at + 1] |= _KERNEL_FUNCTION << 4
    return bytes(told)


def _map_loads(code: bytes) -> Iterator[int]:
    """Where the instructions that load a map's address begin."""
    return (at for at in _instructions(code) if code[at] == _LOAD_64_BITS and code[at + 1] >> 4 == _MAP)


def _instructions(code: bytes) -> Iterator[int]:
    """Where each instruction begins."""
    at = 0
    while at < len(code):
        yield at
        at += INSTRUCTION_BYTES * (2 if code[at] == _LOAD_64_BITS else 1)
