"""The packed record: the one module that knows where in the 64 bytes of ``struct record`` (bpf/record.h) a field lies.

The functions here take packed records as they left the ring buffer, one after the other, and little endian on every
machine. A *place* is the number of a record among them, from 0. A busy kernel writes records faster than Python decodes
them: so whoever looks for a few of them takes a field of all (:func:`exits_ns`, :func:`kinds`), or has the places that
matter found (:func:`of_kind`, :func:`overlapping`), and decodes no more than those (:func:`select`).
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from itertools import compress
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.constants import DMA_MAPPING_ERROR, NOT_FOUND
from swiotlb_top.events import (
    ENTRY_UNKNOWN,
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
RECORD_BYTES: Final = RECORD.size


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


def _offset(field: str) -> int:
    """Where a field lies, in bytes."""
    before = RawRecord._fields.index(field)
    return struct.calcsize(RECORD.format[: 1 + before])


_CODES: Final = dict(zip(RawRecord._fields, RECORD.format.removeprefix("<"), strict=True))
_KIND_AT: Final = _offset("kind")
_FLAGS_AT: Final = _offset("flags")
_IN_PLACE: Final = {
    field: (code, _offset(field) // struct.calcsize(code), RECORD_BYTES // struct.calcsize(code))
    for field, code in _CODES.items()
}
"""How a column is cut out of memory: as which integers, from which of them on, and every how many of them."""
_AS_STORED: Final = sys.byteorder == "little"

DURATION_UNKNOWN: Final = 0xFFFF_FFFF
"""``duration_ns`` of a call whose entry was not seen: longer than any that can be told, over four seconds."""
_NEGATIVE_FROM_BIT: Final = 31
"""``result`` of a :attr:`Kind.FIND` is the kernel's int: from this bit on it is all zero, or all one."""
_FLAG_DIRECTION_MASK: Final = 0x03
_FLAG_HAS_DIRECTION: Final = 0x04
_FLAG_MIGRATED: Final = 0x08
_FLAG_UNREACHABLE: Final = 0x10
_SAYS_UNREACHABLE: Final = bytes(bool(flags & _FLAG_UNREACHABLE) for flags in range(256))


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


def _torn(records: bytes | memoryview) -> ValueError:
    return ValueError(f"{len(records)} bytes are no whole number of {RECORD_BYTES}-byte records")


def count(records: bytes) -> int:
    """How many records there are.

    :raises ValueError: the last one is not whole.
    """
    if len(records) % RECORD_BYTES:
        raise _torn(records)
    return len(records) // RECORD_BYTES


def raw(records: bytes, place: int) -> RawRecord:
    """The fields of one record."""
    return RawRecord._make(RECORD.unpack_from(records, place * RECORD_BYTES))


# ---- one field of all records: a list with an entry a record ---------------


def exits_ns(records: bytes) -> list[int]:
    """When each call was over."""
    return _column(records, "exit_ns")


def durations_ns(records: bytes) -> list[int]:
    """How long each call took, or :data:`DURATION_UNKNOWN`."""
    return _column(records, "duration_ns")


def cpus(records: bytes) -> list[int]:
    """The CPU each call returned on."""
    return _column(records, "cpu")


def kinds(records: bytes) -> bytes:
    """The kind of each record, a byte each. It may be one that :class:`Kind` does not have."""
    return records[_KIND_AT::RECORD_BYTES]


def objects(records: bytes) -> list[int]:
    """The kernel object each call was made for: ``struct device`` or ``struct io_tlb_mem``, by the kind."""
    return _column(records, "object")


def addresses(records: bytes) -> list[int]:
    """The physical address each call was given or gave; of a :attr:`Kind.DEVICE`, a mask."""
    return _column(records, "address")


def results(records: bytes) -> list[int]:
    """What each call returned, as 64 bits."""
    return _column(records, "result")


def _column(records: bytes, field: str) -> list[int]:
    if not _AS_STORED:
        at = RawRecord._fields.index(field)
        return [fields[at] for fields in RECORD.iter_unpack(records)]
    code, first, stride = _IN_PLACE[field]
    return memoryview(records).cast(code)[first::stride].tolist()  # type: ignore[call-overload, no-any-return]


_KINDS: Final = bytes(Kind)


def known(records: bytes) -> int:
    """How many records from the first on can be decoded: those before the first of a kind that nobody wrote."""
    of_all = kinds(records)[: len(records) // RECORD_BYTES]
    unknown = of_all.translate(None, _KINDS)
    return of_all.index(unknown[0]) if unknown else len(of_all)


# ---- some of the records ---------------------------------------------------


def of_kind(records: bytes, kind: Kind) -> Iterator[int]:
    """The places of one kind's records, in order."""
    of_all = kinds(records)
    place = of_all.find(kind)
    while place >= 0:
        yield place
        place = of_all.find(kind, place + 1)


def overlapping(records: bytes, begin_ns: int, end_ns: int) -> Iterator[int]:
    """The places of the calls that may have been under way at some time from ``begin_ns`` to ``end_ns``.

    A call whose entry was not seen counts as one that took :data:`DURATION_UNKNOWN`.
    """
    took_ns = durations_ns(records)
    for place, exit_ns in enumerate(exits_ns(records)):
        if exit_ns >= begin_ns and exit_ns - took_ns[place] <= end_ns:
            yield place


def quiet_before(records: bytes, time_ns: int, assumed_ns: int) -> int:
    """The latest moment up to ``time_ns`` at which none of these calls was under way.

    :param assumed_ns: how long a call is taken to have lasted whose entry was not seen.
    """
    quiet_ns = time_ns
    for exit_ns, took_ns in sorted(zip(exits_ns(records), durations_ns(records), strict=True), reverse=True):
        if exit_ns < quiet_ns:
            break
        quiet_ns = min(quiet_ns, exit_ns - (assumed_ns if took_ns == DURATION_UNKNOWN else took_ns))
    return quiet_ns


def select(records: bytes, places: Iterable[int]) -> bytes:
    """The records at these places, in the order of the places."""
    size = RECORD_BYTES
    return b"".join([records[place * size : place * size + size] for place in places])


def split_at(records: bytes, begin_ns: int) -> tuple[bytes, bytes]:
    """The calls that were over before ``begin_ns``, and the others.

    Records that introduce a device go with the others, whenever they were written.
    """
    devices = set(of_kind(records, Kind.DEVICE))
    earlier: list[int] = []
    later: list[int] = []
    for place, exit_ns in enumerate(exits_ns(records)):
        (later if exit_ns >= begin_ns or place in devices else earlier).append(place)
    return select(records, earlier), select(records, later)


def split_before(records: bytes, time_ns: int) -> tuple[bytes, bytes]:
    """The records of what was over before ``time_ns``, and the others, whatever they are of; both keep their order."""
    ended_ns = exits_ns(records)
    if not ended_ns or max(ended_ns) < time_ns:
        return records, b""
    if min(ended_ns) >= time_ns:
        return b"", records
    over = [exit_ns < time_ns for exit_ns in ended_ns]
    places = range(len(over))
    return select(records, compress(places, over)), select(records, [place for place in places if not over[place]])


def split_after(records: bytes, time_ns: int) -> tuple[bytes, bytes]:
    """Split behind the first call that returned after ``time_ns``; both parts keep their order."""
    ended_ns = exits_ns(records)
    count_before = next((at for at, exit_ns in enumerate(ended_ns, 1) if exit_ns > time_ns), len(ended_ns))
    end = count_before * RECORD_BYTES
    return records[:end], records[end:]


def tally(records: bytes) -> Counter[str]:
    """How many ``maps``, ``map_failures`` and ``unmaps`` there are, as the kernel side counts them."""
    of_all = kinds(records)
    failures = sum(
        result == DMA_MAPPING_ERROR or (kind == Kind.FIND and result >> _NEGATIVE_FROM_BIT > 0)
        for kind, result in zip(of_all, results(records), strict=True)
        if kind in (Kind.FIND, Kind.MAP)
    )
    maps = of_all.count(Kind.FIND) + of_all.count(Kind.MAP) - failures
    says_unreachable = records[_FLAGS_AT::RECORD_BYTES].translate(_SAYS_UNREACHABLE)
    unreachable = 0
    if True in says_unreachable:
        unreachable = sum(kind == Kind.UNMAP for kind in compress(of_all, says_unreachable))
    unmaps = of_all.count(Kind.UNMAP) + of_all.count(Kind.FREE)
    return Counter(maps=maps, map_failures=failures + unreachable, unmaps=unmaps)


# ---- records to events ------------------------------------------------------

_Fields: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
_DIRECTIONS: Final = tuple(Direction)


def _entry(exit_ns: int, duration_ns: int) -> int:
    return ENTRY_UNKNOWN if duration_ns == DURATION_UNKNOWN else exit_ns - duration_ns


def _direction(flags: int) -> Direction:
    return _DIRECTIONS[flags & _FLAG_DIRECTION_MASK] if flags & _FLAG_HAS_DIRECTION else Direction.UNKNOWN


def _find(f: _Fields) -> Find:
    end, took, cpu, _, flags, dev, pool, orig, size, result, mask, _ = f
    slot = NOT_FOUND if result >> _NEGATIVE_FROM_BIT else result
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
    unreachable = bool(flags & _FLAG_UNREACHABLE)
    return Unmap(_entry(end, took), end, cpu, dev, pool, tlb_addr, size, _direction(flags), attrs, unreachable)


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
        raise _torn(records) from None
