"""Records to events: every kind, field by field, and what is no record."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top import events
from swiotlb_top.constants import DMA_MAPPING_ERROR, NOT_FOUND
from swiotlb_top.events import ENTRY_UNKNOWN, Direction, Find, as_json, in_a_line
from swiotlb_top.records import DURATION_UNKNOWN, RECORD, Kind, decode

U8, U16, U32, U64 = ((1 << bits) - 1 for bits in (8, 16, 32, 64))
MINUS_ONE: Final = U64
HAS_DIRECTION, MIGRATED = 0x04, 0x08

any_u16, any_u32, any_u64 = st.integers(0, U16), st.integers(0, U32), st.integers(0, U64)
times = st.tuples(st.integers(U32, U64 >> 1), st.integers(0, U32 - 1))
"""(exit_ns, duration_ns) of an operation whose entry was seen."""
slots = st.integers(0, (1 << 31) - 1)


def packed(
    kind: int,
    *,
    exit_ns: int = 0,
    duration_ns: int = 0,
    cpu: int = 0,
    flags: int = 0,
    object_: int = 0,
    pool: int = 0,
    address: int = 0,
    size: int = 0,
    result: int = 0,
    align_mask: int = 0,
    extra: int = 0,
) -> bytes:
    """A ``struct record`` by its members' names."""
    return RECORD.pack(exit_ns, duration_ns, cpu, kind, flags, object_, pool, address, size, result, align_mask, extra)


def decoded(record: bytes) -> events.Event:
    (event,) = decode(record)
    return event


@given(times, any_u16, st.booleans(), any_u64, any_u64, any_u64, any_u64, any_u32, slots)
def test_find(
    time: tuple[int, int],
    cpu: int,
    migrated: bool,
    dev: int,
    pool: int,
    orig_addr: int,
    alloc_size: int,
    mask: int,
    slot: int,
) -> None:
    record = packed(
        Kind.FIND,
        exit_ns=time[0],
        duration_ns=time[1],
        cpu=cpu,
        flags=MIGRATED * migrated,
        object_=dev,
        pool=pool,
        address=orig_addr,
        size=alloc_size,
        result=slot,
        align_mask=mask,
    )
    entry_ns = time[0] - time[1]
    event = events.Find(entry_ns, time[0], cpu, migrated, dev, pool, orig_addr, alloc_size, mask, slot)
    assert decoded(record) == event
    assert not event.failed


@given(any_u64)
def test_a_find_that_failed_has_no_pool_and_no_slot(leftover: int) -> None:
    event = decoded(packed(Kind.FIND, result=MINUS_ONE, pool=leftover))
    assert isinstance(event, events.Find)
    assert (event.slot, event.pool, event.failed) == (NOT_FOUND, 0, True)


@given(
    times,
    any_u16,
    st.booleans(),
    any_u64,
    any_u64,
    any_u64,
    any_u32,
    st.sampled_from(range(4)),
    any_u32,
    any_u64,
    any_u64,
)
def test_map(
    time: tuple[int, int],
    cpu: int,
    migrated: bool,
    dev: int,
    orig_addr: int,
    mapping_size: int,
    mask: int,
    direction: int,
    attrs: int,
    tlb_addr: int,
    alloc_size: int,
) -> None:
    record = packed(
        Kind.MAP,
        exit_ns=time[0],
        duration_ns=time[1],
        cpu=cpu,
        flags=HAS_DIRECTION | direction | MIGRATED * migrated,
        object_=dev,
        pool=alloc_size,
        address=orig_addr,
        size=mapping_size,
        result=tlb_addr,
        align_mask=mask,
        extra=attrs,
    )
    assert decoded(record) == events.Map(
        time[0] - time[1],
        time[0],
        cpu,
        migrated,
        dev,
        orig_addr,
        mapping_size,
        mask,
        Direction(direction),
        attrs,
        tlb_addr,
        alloc_size,
    )


@pytest.mark.parametrize(("tlb_addr", "failed"), [(DMA_MAPPING_ERROR, True), (0x7BF0_0000, False), (0, False)])
def test_a_map_failed_where_its_address_is_dma_mapping_error(tlb_addr: int, failed: bool) -> None:
    event = decoded(packed(Kind.MAP, result=tlb_addr))
    assert isinstance(event, events.Map)
    assert event.failed == failed


@given(times, any_u16, any_u64, any_u64, any_u64, any_u64, st.sampled_from(range(4)), any_u32)
def test_unmap(
    time: tuple[int, int], cpu: int, dev: int, pool: int, tlb_addr: int, size: int, direction: int, attrs: int
) -> None:
    record = packed(
        Kind.UNMAP,
        exit_ns=time[0],
        duration_ns=time[1],
        cpu=cpu,
        flags=HAS_DIRECTION | direction,
        object_=dev,
        pool=pool,
        address=tlb_addr,
        size=size,
        extra=attrs,
    )
    assert decoded(record) == events.Unmap(
        time[0] - time[1], time[0], cpu, dev, pool, tlb_addr, size, Direction(direction), attrs
    )


@given(times, any_u16, any_u64, any_u64, any_u64, any_u64)
def test_free(time: tuple[int, int], cpu: int, dev: int, pool: int, tlb_addr: int, size: int) -> None:
    record = packed(
        Kind.FREE,
        exit_ns=time[0],
        duration_ns=time[1],
        cpu=cpu,
        object_=dev,
        pool=pool,
        address=tlb_addr,
        size=size,
    )
    assert decoded(record) == events.Free(time[0] - time[1], time[0], cpu, dev, pool, tlb_addr, size)


@pytest.mark.parametrize("bits", range(4))
def test_a_direction_that_no_probe_saw_is_unknown(bits: int) -> None:
    event = decoded(packed(Kind.UNMAP, flags=bits))
    assert isinstance(event, events.Unmap)
    assert event.direction is Direction.UNKNOWN


@given(times, any_u16, any_u64, any_u64, any_u64, any_u64, any_u32)
def test_pools(time: tuple[int, int], cpu: int, mem: int, pool: int, start: int, nslabs: int, nareas: int) -> None:
    exit_ns, duration_ns = time
    entry_ns = exit_ns - duration_ns
    expected = {
        Kind.POOL_ALLOC: events.PoolAlloc(exit_ns, cpu, pool, start, nslabs, nareas),
        Kind.POOL_ADD: events.PoolAdd(entry_ns, exit_ns, mem, pool, start, nslabs, nareas),
        Kind.POOL_FREE: events.PoolFree(exit_ns, pool),
        Kind.GROW: events.Grow(entry_ns, exit_ns, mem, pool, start, nslabs, nareas),
    }
    for kind, event in expected.items():
        record = packed(
            kind,
            exit_ns=exit_ns,
            duration_ns=duration_ns,
            cpu=cpu,
            object_=mem,
            pool=pool,
            address=start,
            size=nslabs,
            align_mask=nareas,
        )
        assert decoded(record) == event


@given(any_u64, any_u64, any_u64, any_u64, any_u64, any_u64, any_u32)
def test_device(exit_ns: int, dev: int, mem: int, dma_mask: int, limit: int, boundary: int, min_mask: int) -> None:
    record = packed(
        Kind.DEVICE,
        exit_ns=exit_ns,
        object_=dev,
        pool=mem,
        address=dma_mask,
        size=limit,
        result=boundary,
        align_mask=min_mask,
    )
    assert decoded(record) == events.Device(exit_ns, dev, mem, dma_mask, limit, boundary, min_mask)


@pytest.mark.parametrize("kind", [Kind.FIND, Kind.MAP, Kind.UNMAP, Kind.FREE, Kind.POOL_ADD, Kind.GROW])
def test_an_entry_that_was_not_seen_is_unknown(kind: Kind) -> None:
    event = decoded(packed(kind, exit_ns=10_000_000_000, duration_ns=DURATION_UNKNOWN))
    assert event[0] == events.ENTRY_UNKNOWN


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), any_u64), max_size=50))
def test_records_are_decoded_in_the_order_they_stand(kinds: list[tuple[Kind, int]]) -> None:
    records = b"".join(packed(kind, exit_ns=exit_ns) for kind, exit_ns in kinds)
    classes = [type(event).__name__.upper() for event in decode(records)]
    assert classes == [kind.name.replace("_", "") for kind, _ in kinds]
    assert [event.exit_ns for event in decode(memoryview(records))] == [exit_ns for _, exit_ns in kinds]


@pytest.mark.parametrize("kind", [0, max(Kind) + 1, 255])
def test_a_kind_nobody_wrote_is_an_error(kind: int) -> None:
    with pytest.raises(ValueError, match=f"unknown kind {kind}"):
        list(decode(packed(kind)))


def test_what_stands_before_an_unknown_kind_is_decoded() -> None:
    stream = decode(packed(Kind.POOL_FREE, pool=7) + packed(0))
    assert next(stream) == events.PoolFree(0, 7)
    with pytest.raises(ValueError, match="unknown kind 0"):
        next(stream)


@given(st.integers(1, 500).filter(lambda length: length % RECORD.size))
def test_a_broken_record_is_an_error_before_any_is_decoded(length: int) -> None:
    stream = decode(packed(Kind.FIND).ljust(length, b"\x01")[:length])
    with pytest.raises(ValueError, match=f"^{length} bytes are no whole number of 64-byte records$"):
        next(stream)


def test_no_records_are_no_events() -> None:
    assert list(decode(b"")) == []


def test_for_machines_addresses_are_hexadecimal_and_what_is_not_known_is_null() -> None:
    found = Find(ENTRY_UNKNOWN, 9, 2, False, 0xFFFF8880013000C8, 0, 0x1000, 4096, 0xFFF, NOT_FOUND)
    assert as_json(found) == {
        "kind": "find",
        "entry_ns": None,
        "exit_ns": 9,
        "cpu": 2,
        "migrated": False,
        "dev": "0xffff8880013000c8",
        "pool": "0x0",
        "orig_addr": "0x1000",
        "alloc_size_bytes": 4096,
        "alloc_align_mask": "0xfff",
        "slot": None,
    }
    assert in_a_line(found).startswith("find entry_ns=unknown, exit_ns=9, cpu=2, ")


def test_of_every_kind_of_event_there_is_json_without_a_large_number_that_is_an_address() -> None:
    for event in decode(b"".join(RECORD.pack(9, 1, 0, kind, 4, 2**63, 2**63, 2**63, 8, 2**63, 7, 0) for kind in Kind)):
        members = as_json(event)
        assert list(members)[1:] == list(event._fields)
        assert all(isinstance(members[name], str | None) for name in ("dev", "pool", "mem", "start") if name in members)
