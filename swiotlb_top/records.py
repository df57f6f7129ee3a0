"""The packed record: the one module that knows how bpf/record.h packs an event into 64 bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.events import (
    ENTRY_UNKNOWN,
    NOT_FOUND,
    Device,
    Direction,
    Event,
    Find,
    Free,
    Grow,
    Map,
    PoolAdd,
    PoolAlloc,
    PoolFree,
    Unmap,
)

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


DURATION_UNKNOWN: Final = 0xFFFF_FFFF
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
