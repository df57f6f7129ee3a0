"""The maps, programs and links that are loaded into the kernel, each held by a file descriptor.

Since 5.19 (c8644cd0efe7) reading them takes no capability: the descriptor is enough.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from swiotlb_top.accounting.snapshot import ProgramCost
from swiotlb_top.errors import CannotError
from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.attach.libbpf import AttachType, ProgramType
from swiotlb_top.probes.compile.flags import possible_cpus
from swiotlb_top.probes.compile.image import Image, MapSpec

_PER_CPU: Final = frozenset({5, 6, 10, 21})
"""BPF_MAP_TYPE_PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH and PERCPU_CGROUP_STORAGE"""
_RING_BUFFER: Final = 27
"""BPF_MAP_TYPE_RINGBUF"""


@dataclass(slots=True)
class Objects:
    """File descriptors of maps, programs and links by name. A link has the name of its program."""

    image: Image
    maps: dict[str, int]
    programs: dict[str, int] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)
    _sizes_bytes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._sizes_bytes = {
            each.name: _size_bytes(each) for each in self.image.maps if each.key_bytes == _key_bytes(each)
        }

    @classmethod
    def of(cls, image: Image) -> Self:
        """Create an image's maps.

        :raises RefusedError: the kernel does not create one of them.
        """
        objects = cls(image, {})
        try:
            for each in image.maps:
                objects.maps[each.name] = libbpf.create_map(each)
        except BaseException:
            objects.close()
            raise
        return objects

    def load(self, name: str, kind: ProgramType, attach: AttachType = AttachType.NONE, function_id: int = 0) -> None:
        """Load one of the image's programs, see :func:`.libbpf.load_program`."""
        if name not in self.image.programs:
            raise CannotError(f"the BPF program has no part {name}: it was not compiled from the sources of this tool")
        code = self.image.code(name, list(self.maps.values()))
        self.programs[name] = libbpf.load_program(name, kind, code, attach, function_id)

    def attach(self, name: str) -> None:
        """Attach an fentry or fexit program to the function that it was loaded for.

        :raises RefusedError: the kernel does not attach it.
        """
        self.links[name] = libbpf.attach_tracing(self.programs[name])

    def attach_kprobe(self, name: str, symbol: str, *, at_return: bool) -> None:
        """Attach a kprobe program to ``symbol``.

        :raises RefusedError: the kernel does not attach it.
        """
        self.links[name] = libbpf.attach_kprobe(self.programs[name], symbol, at_return=at_return)

    def unload(self, name: str) -> None:
        """Detach a program, if it is attached, and free it, if it is loaded."""
        for some in (self.links, self.programs):
            if name in some:
                os.close(some.pop(name))

    def map(self, name: str, size_bytes: int) -> int:
        """A map's descriptor.

        :param size_bytes: of all its entries; for a per-CPU map those of every CPU, each padded to 8 bytes. The kernel
            takes and gives as much as the map has, whatever the caller has room for.
        :raises CannotError: there is no such map, or it has another size, or its keys have.
        """
        if self._sizes_bytes.get(name) != size_bytes:
            raise CannotError(f"the BPF map {name} is not {size_bytes} bytes: it was not compiled for this tool")
        return self.maps[name]

    def look_up(self, name: str, size_bytes: int) -> bytes:
        """An array map's entry 0; for a per-CPU map that of every CPU, each padded to 8 bytes.

        :raises CannotError: the map cannot be read.
        """
        value = ctypes.create_string_buffer(size_bytes)
        status = libbpf.look_up(self.map(name, size_bytes), value)
        if status:
            raise CannotError(f"the BPF map {name} cannot be read (error {status})")
        return value.raw

    def entries(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of a hash map, no more than it has room for: it may be written to meanwhile."""
        spec = next(each for each in self.image.maps if each.name == name)
        following = ctypes.create_string_buffer(spec.key_bytes)
        key: bytes | None = None
        for _ in range(spec.entries):
            if libbpf.key_after(self.maps[name], key, following):
                return
            key = following.raw
            if value := self.value(name, key):
                yield key, value

    def value(self, name: str, key: bytes) -> bytes:
        """What a map has for a key; empty if nothing."""
        spec = next(each for each in self.image.maps if each.name == name)
        value = ctypes.create_string_buffer(_value_bytes(spec))
        return b"" if libbpf.value_of(self.maps[name], key, value) else value.raw

    def update(self, name: str, value: int) -> None:
        """Set entry 0 of an array map of 64-bit integers. :raises CannotError: the map cannot be written."""
        self._write(name, value.to_bytes(8, "little"))

    def clear(self, name: str, size_bytes: int) -> None:
        """Zero an array map's entry 0; for a per-CPU map that of every CPU, each padded to 8 bytes.

        :raises CannotError: the map cannot be written.
        """
        self._write(name, bytes(size_bytes))

    def _write(self, name: str, value: bytes) -> None:
        status = libbpf.update(self.map(name, len(value)), value)
        if status:
            raise CannotError(f"the BPF map {name} cannot be written (error {status})")

    def run(self, name: str, *arguments: int) -> None:
        """Run a raw tracepoint program once on this CPU, with 64-bit arguments.

        :raises CannotError: the kernel refuses.
        """
        status = libbpf.run(self.programs[name], arguments)
        if status:
            raise CannotError(f"the kernel refuses to run a BPF program for reading its memory (error {status})")

    def missed_runs(self, names: Iterable[str]) -> int:
        """How often the kernel skipped one of these programs because it ran already on that CPU."""
        return sum(_told(libbpf.missed_runs(self.programs[name])) for name in names)

    def costs(self) -> tuple[ProgramCost, ...]:
        """What each program has cost while the kernel counted.

        :raises CannotError: the kernel does not tell.
        """
        return tuple(
            ProgramCost(name, _told(libbpf.run_time_ns(program)), _told(libbpf.runs(program)))
            for name, program in self.programs.items()
        )

    def missed_hits(self, names: Iterable[str]) -> int:
        """How many calls of a function its kprobes missed; ``names`` are the programs at its entry and at its return.

        The kernel may count one missed call at both, so this is the larger of their counts and not the sum.
        """
        return max((_told(libbpf.missed_hits(self.links[name])) for name in names), default=0)

    def close(self) -> None:
        """Detach everything and free it."""
        for some in (self.links, self.programs, self.maps):
            while some:
                os.close(some.popitem()[1])


def _key_bytes(asked: MapSpec) -> int:
    """How much a key takes of a map whose entry 0 is read: as much as that of an array."""
    return 0 if asked.type == _RING_BUFFER else 4


def _size_bytes(asked: MapSpec) -> int:
    """How much all entries of a map take in this process; of a ring buffer, its size."""
    if asked.type == _RING_BUFFER:
        return asked.entries
    return asked.entries * _value_bytes(asked)


def _value_bytes(asked: MapSpec) -> int:
    """How much one value takes in this process."""
    if asked.type in _PER_CPU:
        return -(-asked.value_bytes // 8) * 8 * possible_cpus().end
    return asked.value_bytes


def _told(count: int) -> int:
    if count < 0:
        raise CannotError(f"the kernel does not tell how its probes ran (error {count})")
    return count
