"""Events as the packed records that the probes would write of them: the inverse of ``records.decode()``."""

from __future__ import annotations

from collections.abc import Iterable

from swiotlb_top.events import (
    ENTRY_UNKNOWN,
    Device,
    Direction,
    Event,
    Find,
    Free,
    Gap,
    Grow,
    Map,
    PoolAdd,
    PoolAlloc,
    PoolFree,
    Unmap,
)
from swiotlb_top.records import DURATION_UNKNOWN, RECORD, Kind

_HAS_DIRECTION = 0x04
_MIGRATED = 0x08
_UNREACHABLE = 0x10
_U64 = (1 << 64) - 1


def packed(events: Iterable[Event]) -> bytes:
    """Events in their order. :raises TypeError: a gap, which is no record."""
    return b"".join(map(_record, events))


def _record(event: Event) -> bytes:
    match event:
        case Find():
            kind, cpu, flags = Kind.FIND, event.cpu, _MIGRATED * event.migrated
            rest = (event.dev, event.pool, event.orig_addr, event.alloc_size_bytes, event.slot & _U64)
            last = (event.alloc_align_mask, 0)
        case Map():
            kind, cpu, flags = Kind.MAP, event.cpu, _direction(event.direction) | _MIGRATED * event.migrated
            rest = (event.dev, event.alloc_size_bytes, event.orig_addr, event.mapping_size_bytes, event.tlb_addr)
            last = (event.alloc_align_mask, event.attrs)
        case Unmap():
            flags = _direction(event.direction) | _UNREACHABLE * event.unreachable
            kind, cpu = Kind.UNMAP, event.cpu
            rest, last = (event.dev, event.pool, event.tlb_addr, event.mapping_size_bytes, 0), (0, event.attrs)
        case Free():
            kind, cpu, flags = Kind.FREE, event.cpu, 0
            rest, last = (event.dev, event.pool, event.tlb_addr, event.size_bytes, 0), (0, 0)
        case PoolAlloc():
            kind, cpu, flags = Kind.POOL_ALLOC, event.cpu, 0
            rest, last = (0, event.pool, event.start, event.nslabs, 0), (event.nareas, 0)
        case PoolAdd() | Grow():
            kind, cpu, flags = Kind.GROW if isinstance(event, Grow) else Kind.POOL_ADD, 0, 0
            rest, last = (event.mem, event.pool, event.start, event.nslabs, 0), (event.nareas, 0)
        case PoolFree():
            kind, cpu, flags = Kind.POOL_FREE, 0, 0
            rest, last = (0, event.pool, 0, 0, 0), (0, 0)
        case Device():
            kind, cpu, flags = Kind.DEVICE, 0, 0
            rest = (event.dev, event.mem, event.dma_mask, event.bus_dma_limit, event.seg_boundary_mask)
            last = (event.min_align_mask, 0)
        case Gap():
            raise TypeError("a gap is no record")
    return RECORD.pack(event.exit_ns, _duration_ns(event), cpu, kind, flags, *rest, *last)


def _duration_ns(event: Event) -> int:
    entry_ns = getattr(event, "entry_ns", event.exit_ns)
    return DURATION_UNKNOWN if entry_ns == ENTRY_UNKNOWN else event.exit_ns - entry_ns


def _direction(direction: Direction) -> int:
    return 0 if direction is Direction.UNKNOWN else direction | _HAS_DIRECTION
