"""What is written is what is read: any records, states, names, gaps, in the order they came."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError
from swiotlb_top.events import Gap
from swiotlb_top.records import RECORD, Kind
from swiotlb_top.state import AreaState, DeviceName, MemState, PoolState
from swiotlb_top.trace import End, Item, Records, TraceReader, TraceWriter
from swiotlb_top.trace.codecs import read_records, records_payload
from swiotlb_top.trace.format import MAX_BLOCK_RECORDS, MAX_CPUS, MAX_TIME_NS
from swiotlb_top.trace.json_payload import dump_json
from swiotlb_top.trace.state_payload import read_state, state_payload
from tests.unit.trace.test_format_1 import HEADER, STATE

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
U64_OR_NONE = st.integers(-1, 2**64 - 1)


TIME_NS = st.integers(0, MAX_TIME_NS)
MINUTE_NS = st.integers(0, 60_000_000_000)
"""Times that may stand in any order."""
TEXT = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20)


@st.composite
def pools(draw: st.DrawFn, number: int) -> PoolState:
    """A pool that may be beside others of other numbers."""
    nslabs = draw(st.integers(1, 6))
    nareas = draw(st.integers(1, min(3, nslabs)))
    begin_ns, end_ns = sorted((draw(MINUTE_NS), draw(MINUTE_NS)))

    def per_slot(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(st.lists(values, min_size=nslabs, max_size=nslabs)))

    return PoolState(
        address=draw(st.integers(0, 2**61)) * 4 + number,
        start=(draw(st.integers(0, 2**32)) * 4 + number) << 14,
        nslabs=nslabs,
        nareas=nareas,
        area_nslabs=nslabs // nareas,
        transient=False,
        begin_ns=begin_ns,
        end_ns=end_ns,
        areas=tuple(draw(st.lists(st.builds(AreaState, used=U32, index=U32), min_size=nareas, max_size=nareas))),
        list_=per_slot(st.integers(0, 128)),
        orig_addr=per_slot(U64),
        alloc_size=per_slot(U64),
        pad_slots=per_slot(U32),
    )


states = st.builds(
    MemState,
    address=U64,
    nslabs=U64,
    can_grow=st.booleans(),
    dynamic=st.just(True),
    default_nslabs=U64,
    default_nareas=st.integers(0, MAX_CPUS),
    phys_limit=U64,
    pools=st.integers(0, 3).flatmap(lambda count: st.tuples(*map(pools, range(count)))),
    total_used=U64_OR_NONE,
    used_hiwater=U64_OR_NONE,
    transient_nslabs=U64_OR_NONE,
    settled=st.booleans(),
    force_bounce=st.integers(-1, 1),
    cc_shared=st.integers(-1, 1),
)
# Slots and addresses from a small range, so that releases do meet their maps.
likely_records = st.builds(
    lambda exit_ns, kind, pool, place, size: RECORD.pack(
        exit_ns, 0, 0, kind, 0, 1, pool, place << 11 if kind == Kind.UNMAP else place, size, place, 0, 0
    ),
    exit_ns=MINUTE_NS,
    kind=st.sampled_from([Kind.FIND, Kind.MAP, Kind.UNMAP, Kind.FREE]),
    pool=st.integers(0, 2),
    place=st.integers(0, 5),
    size=U64,
)
pool_records = st.builds(
    lambda exit_ns, kind, pool, page: RECORD.pack(exit_ns, 0, 0, kind, 0, 1, pool, page << 12, 128, 0, 1, 128),
    exit_ns=MINUTE_NS,
    kind=st.sampled_from([Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW, Kind.POOL_FREE]),
    pool=st.integers(0, 2),
    page=st.integers(0, 5),
)
records = st.lists(likely_records | pool_records, max_size=12).map(b"".join)
any_records = st.lists(likely_records | st.binary(min_size=64, max_size=64), max_size=12).map(b"".join)
items = st.lists(
    records.filter(bool).map(Records)
    | states
    | st.builds(DeviceName, dev=U64, name=TEXT, driver=TEXT, known_as=TEXT, queue_requests=st.integers(0, 2**31 - 1))
    | st.builds(Gap, begin_ns=st.just(0), exit_ns=TIME_NS, lost=U64, cause=TEXT),
    max_size=5,
)
ends = st.builds(End, counters=st.dictionaries(TEXT, U64_OR_NONE), duration_ns=TIME_NS, lost=U64)


def write(path: Path, body: Sequence[Item], end: End) -> None:
    with TraceWriter(path, HEADER) as writer:
        for item in body:
            match item:
                case Records(data):
                    writer.records(data)
                case MemState():
                    writer.state(item)
                case DeviceName():
                    writer.device_name(item)
                case Gap():
                    writer.gap(item)
        writer.end(end.counters, end.duration_ns, end.lost)


@given(body=items, end=ends)
@settings(deadline=None, max_examples=60)
def test_every_item_comes_back_in_file_order(body: list[Item], end: End) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "any.swtrace"
        write(path, body, end)
        assert list(TraceReader(path)) == [HEADER, *body, end]


@given(packed=any_records)
@settings(deadline=None, max_examples=300)
def test_packing_gives_back_every_bit(packed: bytes) -> None:
    assert read_records(records_payload(packed)) == packed


def test_more_records_than_a_block_holds_become_several_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.swtrace"
    packed = b"".join(RECORD.pack(n, 0, 0, Kind.FIND, 0, 0, 0, n, 1, 0, 0, 0) for n in range(MAX_BLOCK_RECORDS + 3))
    with TraceWriter(path, HEADER) as writer:
        writer.records(packed)
        writer.end({}, 1, 0)

    blocks = [item for item in TraceReader(path) if isinstance(item, Records)]

    assert [block.count for block in blocks] == [MAX_BLOCK_RECORDS, 3]
    assert b"".join(block.data for block in blocks) == packed


def test_a_reader_can_be_iterated_again(tmp_path: Path) -> None:
    path = tmp_path / "twice.swtrace"
    write(path, [STATE], End({}, 1, 0))
    reader = TraceReader(path)

    assert list(reader) == list(reader) == [HEADER, STATE, End({}, 1, 0)]


def test_bytes_that_are_no_whole_records_are_refused(tmp_path: Path) -> None:
    with (
        TraceWriter(tmp_path / "odd.swtrace", HEADER) as writer,
        pytest.raises(ValueError, match="65 bytes are no whole number of 64-byte records"),
    ):
        writer.records(bytes(65))


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "ended.swtrace", HEADER) as writer:
        writer.end({}, 1, 0)
        with pytest.raises(ValueError, match="has ended"):
            writer.state(STATE)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (replace(STATE, pools=(replace(STATE.pools[0], list_=(1, 2)),)), "has 2 list_ where 8 belong"),
        (replace(STATE, pools=(replace(STATE.pools[0], areas=()),)), "has 0 used where 2 belong"),
        (replace(STATE, pools=(replace(STATE.pools[0], pad_slots=(-1,) * 8),)), "cannot record the state"),
        (replace(STATE, pools=(replace(STATE.pools[0], nslabs=4_194_305),)), "nslabs 4194305 is more than the 4194304"),
    ],
    ids=["slots missing", "areas missing", "a value below 0", "too many slots"],
)
def test_a_state_that_a_trace_cannot_hold_is_said_when_recording(tmp_path: Path, state: MemState, says: str) -> None:
    with TraceWriter(tmp_path / "a.swtrace", HEADER) as writer, pytest.raises(CannotError, match=says):
        writer.state(state)


def test_a_state_written_before_settled_was_recorded_is_believed_to_be_settled() -> None:
    payload = state_payload(replace(STATE, settled=False))
    assert read_state(payload) == replace(STATE, settled=False)
    meta, arrays = split_state(payload)
    del meta["settled"]
    assert read_state(joined_state(meta, arrays)) == replace(STATE, settled=True)


def test_every_number_and_truth_value_of_a_state_is_recorded() -> None:
    meta, _ = split_state(state_payload(STATE))
    arrays = {"areas", "list_", "orig_addr", "alloc_size", "pad_slots"}
    assert meta.keys() == {field.name for field in fields(MemState)}
    assert meta["pools"][0].keys() == {field.name for field in fields(PoolState)} - arrays


def split_state(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """A STATE payload's JSON, and what follows it."""
    end = 4 + int.from_bytes(payload[:4], "little")
    return json.loads(payload[4:end]), payload[end:]


def joined_state(meta: dict[str, Any], arrays: bytes) -> bytes:
    """Undo :func:`split_state`."""
    packed = dump_json(meta)
    return len(packed).to_bytes(4, "little") + packed + arrays
