"""The vocabulary: what the kernel did, one typed event a call.

An event is a closed interval ``[entry_ns, exit_ns]`` on the kernel's monotonic
clock (``bpf_ktime_get_ns``): the operation took effect somewhere inside it.
``entry_ns`` is -1 where the entry was not seen.  Addresses of kernel objects
(``dev``, ``pool``, ``mem``) are identities, never dereferenced here.

The binary layout is ``bpf/record.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

RECORD: Final = struct.Struct("<QIHBBQQQQQII")
"""``struct record`` of bpf/record.h: the fields of :class:`RawRecord`."""


class RawRecord(NamedTuple):
    """What :data:`RECORD` unpacks; what a field means depends on ``kind``, and :func:`decode` says it."""

    exit_ns: int
    duration_ns: int
    cpu: int
    kind: int
    flags: int
    object: int
    pool: int
    address: int
    size: int
    result: int
    align_mask: int
    extra: int


ENTRY_UNKNOWN: Final = -1
DURATION_UNKNOWN: Final = 0xFFFF_FFFF
DMA_MAPPING_ERROR: Final = 0xFFFF_FFFF_FFFF_FFFF
NOT_FOUND: Final = -1
"""``swiotlb_find_slots()`` returns -1 where nothing fits."""

_FLAG_DIRECTION_MASK: Final = 0x03
_FLAG_HAS_DIRECTION: Final = 0x04
_FLAG_MIGRATED: Final = 0x08


class Kind(IntEnum):
    """``enum record_kind`` of bpf/record.h."""

    FIND = 1
    MAP = 2
    UNMAP = 3
    POOL_ALLOC = 4
    POOL_ADD = 5
    POOL_FREE = 6
    GROW = 7
    DEVICE = 8
    FREE = 9


class Direction(IntEnum):
    """``enum dma_data_direction``; ``UNKNOWN`` where the probe cannot see it."""

    BIDIRECTIONAL = 0
    TO_DEVICE = 1
    FROM_DEVICE = 2
    NONE = 3
    UNKNOWN = 4


class Find(NamedTuple):
    """One ``swiotlb_find_slots()``: ``alloc_size_bytes`` includes alignment padding."""

    entry_ns: int
    exit_ns: int
    cpu: int
    migrated: bool
    dev: int
    pool: int
    orig_addr: int
    alloc_size_bytes: int
    alloc_align_mask: int
    slot: int
    """First slot of the pool's run, or :data:`NOT_FOUND`."""

    @property
    def failed(self) -> bool:
        return self.slot < 0


class Map(NamedTuple):
    """One ``swiotlb_tbl_map_single()``, where ``swiotlb_find_slots()`` cannot be probed."""

    entry_ns: int
    exit_ns: int
    cpu: int
    migrated: bool
    dev: int
    orig_addr: int
    mapping_size_bytes: int
    alloc_align_mask: int
    direction: Direction
    attrs: int
    tlb_addr: int
    """Physical address of the bounce buffer, or :data:`DMA_MAPPING_ERROR`."""
    alloc_size_bytes: int = 0
    """What the caller wants allocated, without padding, where it can say so (up to 6.9); 0: since then
    ``mapping_size`` and ``alloc_align_mask`` decide it."""

    @property
    def failed(self) -> bool:
        return self.tlb_addr == DMA_MAPPING_ERROR


class Unmap(NamedTuple):
    """One ``__swiotlb_tbl_unmap_single()``, or ``swiotlb_tbl_unmap_single()`` up to 6.10."""

    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    pool: int
    """0 where nobody says which of several it is: it is the one around ``tlb_addr``."""
    tlb_addr: int
    mapping_size_bytes: int
    direction: Direction
    attrs: int


class Free(NamedTuple):
    """One ``swiotlb_free()`` or ``swiotlb_free_from_pool()``: gives back what ``swiotlb_alloc()``, a search
    without a mapping, took from a restricted pool. The former tells the size, the latter pool and address;
    what is not told is 0."""

    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    pool: int
    tlb_addr: int
    size_bytes: int


class PoolAlloc(NamedTuple):
    """``swiotlb_alloc_pool()`` returned; ``pool`` is 0 where no memory could be had."""

    exit_ns: int
    cpu: int
    pool: int
    start: int
    nslabs: int
    nareas: int


class PoolAdd(NamedTuple):
    """``add_mem_pool()``: the pool went to the head of the allocator's list."""

    entry_ns: int
    exit_ns: int
    mem: int
    pool: int
    start: int
    nslabs: int
    nareas: int


class PoolFree(NamedTuple):
    """``swiotlb_dyn_free()`` (``swiotlb_dyn_free_work()`` in 7.3): a pool's memory went back to the kernel."""

    exit_ns: int
    pool: int


class Grow(NamedTuple):
    """``swiotlb_dyn_alloc()`` ran; ``pool`` and its geometry are the list's head at its return."""

    entry_ns: int
    exit_ns: int
    mem: int
    pool: int
    start: int
    nslabs: int
    nareas: int


class Device(NamedTuple):
    """A device's identity and DMA limits, before its first event (and when its driver changes)."""

    exit_ns: int
    dev: int
    mem: int
    """The allocator it maps from: the default one, or its own, which is restricted to it."""
    dma_mask: int
    bus_dma_limit: int
    seg_boundary_mask: int
    min_align_mask: int


class Gap(NamedTuple):
    """Records were lost between two times; the state after is known anew only from a snapshot."""

    begin_ns: int
    exit_ns: int
    lost: int
    cause: str


Event: TypeAlias = Find | Map | Unmap | Free | PoolAlloc | PoolAdd | PoolFree | Grow | Device | Gap

_MASKS: Final = ("alloc_align_mask", "min_align_mask", "dma_mask", "bus_dma_limit", "seg_boundary_mask", "attrs")
_IN_HEXADECIMAL: Final = frozenset(("dev", "pool", "mem", "start", "orig_addr", "tlb_addr", *_MASKS))


def as_json(event: Event) -> dict[str, object]:
    """An event for machines: its ``kind``, then its members by name.

    Addresses and masks are hexadecimal. Null is an entry that was not seen, and what a failed call did not find.
    """
    found: dict[str, object] = {"kind": type(event).__name__.lower()}
    for name, value in zip(event._fields, event, strict=True):
        if (name, value) in _NOTHING:
            found[name] = None
        elif isinstance(value, Direction):
            found[name] = value.name.lower()
        else:
            found[name] = f"{value:#x}" if name in _IN_HEXADECIMAL else value
    return found


def in_a_line(event: Event) -> str:
    """The same for people: ``find entry_ns=5, ..., dev=0xffff8880013000c8, ..., slot=3``."""
    kind, *members = as_json(event).items()
    told = (f"{name}={'unknown' if value is None and name == 'entry_ns' else value}" for name, value in members)
    return f"{kind[1]} {', '.join(told)}"


_NOTHING: Final = (("entry_ns", ENTRY_UNKNOWN), ("slot", NOT_FOUND), ("tlb_addr", DMA_MAPPING_ERROR))

_Fields: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
_DIRECTIONS: Final = tuple(Direction)


def _entry(exit_ns: int, duration_ns: int) -> int:
    return ENTRY_UNKNOWN if duration_ns == DURATION_UNKNOWN else exit_ns - duration_ns


def _direction(flags: int) -> Direction:
    return _DIRECTIONS[flags & _FLAG_DIRECTION_MASK] if flags & _FLAG_HAS_DIRECTION else Direction.UNKNOWN


def _find(f: _Fields) -> Find:
    end, took, cpu, _, flags, dev, pool, orig, size, result, mask, _ = f
    slot = NOT_FOUND if result >> 31 else result
    return Find(
        _entry(end, took), end, cpu, bool(flags & _FLAG_MIGRATED), dev, pool if slot >= 0 else 0, orig, size, mask, slot
    )


def _map(f: _Fields) -> Map:
    end, took, cpu, _, flags, dev, alloc_size, orig, size, result, mask, attrs = f
    return Map(
        _entry(end, took),
        end,
        cpu,
        bool(flags & _FLAG_MIGRATED),
        dev,
        orig,
        size,
        mask,
        _direction(flags),
        attrs,
        result,
        alloc_size,
    )


def _unmap(f: _Fields) -> Unmap:
    end, took, cpu, _, flags, dev, pool, tlb_addr, size, _, _, attrs = f
    return Unmap(_entry(end, took), end, cpu, dev, pool, tlb_addr, size, _direction(flags), attrs)


def _free(f: _Fields) -> Free:
    return Free(_entry(f[0], f[1]), f[0], f[2], f[5], f[6], f[7], f[8])


def _pool_alloc(f: _Fields) -> PoolAlloc:
    return PoolAlloc(f[0], f[2], f[6], f[7], f[8], f[10])


def _pool_add(f: _Fields) -> PoolAdd:
    return PoolAdd(_entry(f[0], f[1]), f[0], f[5], f[6], f[7], f[8], f[10])


def _pool_free(f: _Fields) -> PoolFree:
    return PoolFree(f[0], f[6])


def _grow(f: _Fields) -> Grow:
    return Grow(_entry(f[0], f[1]), f[0], f[5], f[6], f[7], f[8], f[10])


def _device(f: _Fields) -> Device:
    return Device(f[0], f[5], f[6], f[7], f[8], f[9], f[10])


_DECODERS: Final[dict[int, Callable[[_Fields], Event]]] = {
    Kind.FIND: _find,
    Kind.MAP: _map,
    Kind.UNMAP: _unmap,
    Kind.POOL_ALLOC: _pool_alloc,
    Kind.POOL_ADD: _pool_add,
    Kind.POOL_FREE: _pool_free,
    Kind.GROW: _grow,
    Kind.DEVICE: _device,
    Kind.FREE: _free,
}


def decode(records: bytes | memoryview) -> Iterator[Event]:
    """Decode packed ``struct record``s in the order they stand.

    :param records: a multiple of 64 bytes.
    :raises ValueError: a length that is no multiple of 64, or a kind nobody wrote.
    """
    decoders = _DECODERS
    try:
        for fields in RECORD.iter_unpack(records):
            yield decoders[fields[3]](fields)
    except KeyError as unknown:
        raise ValueError(f"record of unknown kind {unknown}") from None
    except struct.error:
        raise ValueError(f"{len(records)} bytes are no whole number of {RECORD.size}-byte records") from None
