"""Packed records: what is picked out of them without decoding them is what one gets who decodes them all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top import records
from swiotlb_top.events import Device, Event, Find, Free, Map, Unmap
from swiotlb_top.records import DURATION_UNKNOWN, RECORD, RECORD_BYTES, Kind, RawRecord, decode, tally
from swiotlb_top.trace import Records, TraceReader
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, STALL
from tests.support.histories import found, released
from tests.support.packed import packed as packed_events

RECORDINGS = [FOUR_AREAS, FOUR_CPUS, STALL]


def uint(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


EARLIEST_NS = 1 << 32
ASSUMED_NS = 30
times = st.integers(EARLIEST_NS, EARLIEST_NS + 1000)
durations = st.one_of(st.integers(0, 400), st.just(DURATION_UNKNOWN))
results = st.one_of(st.integers(0, 1 << 20), st.just((1 << 64) - 1), uint(64))
raw_records = st.builds(
    RawRecord,
    *(times, durations, uint(16), st.sampled_from(Kind), uint(8)),
    *(uint(64), uint(64), uint(64), uint(64), results, uint(32), uint(32)),
)
rows = st.lists(raw_records, max_size=20)


def packed(row: list[RawRecord]) -> bytes:
    return b"".join(RECORD.pack(*record) for record in row)


def contents(path: Path) -> bytes:
    """All records of a recording."""
    return b"".join(item.data for item in TraceReader(path) if isinstance(item, Records))


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> bytes:
    return contents(request.param)


@pytest.mark.parametrize("as_stored", [True, False], ids=["little endian", "any machine"])
@given(rows)
def test_a_field_of_all_records_is_that_field_of_each(as_stored: bool, row: list[RawRecord]) -> None:
    data = packed(row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_AS_STORED", as_stored)
        assert records.exits_ns(data) == [record.exit_ns for record in row]
        assert records.durations_ns(data) == [record.duration_ns for record in row]
        assert records.cpus(data) == [record.cpu for record in row]
        assert records.objects(data) == [record.object for record in row]
        assert records.addresses(data) == [record.address for record in row]
        assert records.results(data) == [record.result for record in row]
        assert list(records.kinds(data)) == [record.kind for record in row]


@given(rows)
def test_a_record_is_found_at_its_place(row: list[RawRecord]) -> None:
    data = packed(row)
    assert records.count(data) == len(row)
    assert [records.raw(data, place) for place in range(len(row))] == row
    for kind in Kind:
        assert list(records.of_kind(data, kind)) == [at for at, record in enumerate(row) if record.kind == kind]


@given(rows, st.data())
def test_what_is_selected_is_whole_and_in_the_order_of_the_places(row: list[RawRecord], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(row) - 1))) if row else []
    assert records.select(packed(row), places) == packed([row[place] for place in places])


@given(rows, times, st.integers(0, 500))
def test_calls_overlap_a_time_that_begins_before_they_end_and_ends_after_they_begin(
    row: list[RawRecord], begin_ns: int, length_ns: int
) -> None:
    end_ns = begin_ns + length_ns
    found = set(records.overlapping(packed(row), begin_ns, end_ns))
    for place, record in enumerate(row):
        entry_ns = record.exit_ns - record.duration_ns
        assert (place in found) == (begin_ns <= record.exit_ns and entry_ns <= end_ns)


@given(rows, times)
def test_records_are_split_at_a_time_and_devices_are_introduced_after_it(row: list[RawRecord], begin_ns: int) -> None:
    is_earlier = [record.exit_ns < begin_ns and record.kind != Kind.DEVICE for record in row]
    assert records.split_at(packed(row), begin_ns) == (
        packed([record for record, earlier in zip(row, is_earlier, strict=True) if earlier]),
        packed([record for record, earlier in zip(row, is_earlier, strict=True) if not earlier]),
    )


@given(rows, times)
def test_records_are_split_after_the_first_call_that_was_over_later(row: list[RawRecord], time_ns: int) -> None:
    first, rest = records.split_after(packed(row), time_ns)
    assert first + rest == packed(row)
    *before, last = records.exits_ns(first) or [0]
    assert all(exit_ns <= time_ns for exit_ns in before)
    assert not rest or last > time_ns


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_recording_is_split_as_its_events_are(recorded: bytes, share: float) -> None:
    events = list(decode(recorded))
    begin_ns = sorted(event.exit_ns for event in events)[int(share * (len(events) - 1))] + (share == 1.0)
    earlier, later = records.split_at(recorded, begin_ns)
    assert list(decode(earlier)) == [e for e in events if e.exit_ns < begin_ns and not isinstance(e, Device)]
    assert list(decode(later)) == [e for e in events if e.exit_ns >= begin_ns or isinstance(e, Device)]


def counted(data: bytes) -> Counter[str]:
    count: Counter[str] = Counter(maps=0, map_failures=0, unmaps=0)
    for event in decode(data):
        if isinstance(event, Find | Map):
            count["map_failures" if event.failed else "maps"] += 1
        count["unmaps"] += isinstance(event, Unmap | Free)
        count["map_failures"] += isinstance(event, Unmap) and event.unreachable
    return count


@given(rows)
def test_maps_failures_and_unmaps_are_counted(row: list[RawRecord]) -> None:
    assert records.tally(packed(row)) == counted(packed(row))


def test_maps_failures_and_unmaps_of_a_recording_are_counted(recorded: bytes) -> None:
    assert records.tally(recorded) == counted(recorded)


@given(st.integers(1, 500).filter(lambda length: length % RECORD_BYTES))
def test_a_torn_record_is_not_counted(length: int) -> None:
    with pytest.raises(ValueError, match=f"^{length} bytes are no whole number of 64-byte records$"):
        records.count(bytes(length))


@given(rows, times)
def test_at_a_quiet_moment_no_call_is_under_way_and_later_there_is_none(row: list[RawRecord], time_ns: int) -> None:
    def under_way(moment_ns: int) -> bool:
        return any(call.exit_ns - lasted_ns(call) < moment_ns <= call.exit_ns for call in row)

    def lasted_ns(call: RawRecord) -> int:
        return ASSUMED_NS if call.duration_ns == DURATION_UNKNOWN else call.duration_ns

    quiet_ns = records.quiet_before(packed(row), time_ns, ASSUMED_NS)
    assert quiet_ns <= time_ns
    assert not under_way(quiet_ns)
    assert all(under_way(moment_ns) for moment_ns in range(quiet_ns + 1, time_ns + 1))


@given(rows, times)
def test_what_is_split_at_a_time_is_all_there_was_in_its_order(row: list[RawRecord], time_ns: int) -> None:
    assert records.split_before(packed(row), time_ns) == (
        packed([record for record in row if record.exit_ns < time_ns]),
        packed([record for record in row if record.exit_ns >= time_ns]),
    )


def test_an_unmap_of_what_the_device_cannot_reach_is_a_failed_map() -> None:
    back = released(1310, 1390, 1)._replace(unreachable=True)
    calls: list[Event] = [found(1000, 1100, 0), found(1200, 1300, 1), back, released(1400, 1500, 0)]
    assert tally(packed_events(calls)) == {"maps": 2, "unmaps": 2, "map_failures": 1}
