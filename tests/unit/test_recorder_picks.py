"""What the recorder picks out of packed records without decoding them: as if it had decoded them all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.events import Device, Find, Grow, Map, Unmap
from swiotlb_top.probes.session import _grew, _split, _touched
from swiotlb_top.recorder import _tally
from swiotlb_top.records import RECORD, decode
from swiotlb_top.state import MemState
from swiotlb_top.trace import Records, TraceReader
from tests.doctoring import FOUR_AREAS, FOUR_CPUS, STALL

RECORDINGS = [FOUR_AREAS, FOUR_CPUS, STALL]


def contents(path: Path) -> tuple[MemState, bytes]:
    """The first state, and all records."""
    items = list(TraceReader(path))
    state = next(item for item in items if isinstance(item, MemState))
    return state, b"".join(item.data for item in items if isinstance(item, Records))


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def recording(request: pytest.FixtureRequest) -> tuple[MemState, bytes]:
    return contents(request.param)


def test_maps_failures_and_unmaps_are_counted(recording: tuple[MemState, bytes]) -> None:
    _, records = recording
    counted: Counter[str] = Counter(maps=0, map_failures=0, unmaps=0)
    for event in decode(records):
        if isinstance(event, Find | Map):
            counted["map_failures" if event.failed else "maps"] += 1
        counted["unmaps"] += isinstance(event, Unmap)
    assert _tally(records) == counted


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_records_are_split_where_the_state_begins_and_devices_are_introduced_after_it(
    recording: tuple[MemState, bytes], share: float
) -> None:
    _, records = recording
    events = list(decode(records))
    begin_ns = sorted(event.exit_ns for event in events)[int(share * (len(events) - 1))] + (share == 1.0)
    earlier, later = _split(records, begin_ns)
    assert list(decode(earlier)) == [e for e in events if e.exit_ns < begin_ns and not isinstance(e, Device)]
    assert list(decode(later)) == [e for e in events if e.exit_ns >= begin_ns or isinstance(e, Device)]


def test_a_pool_is_touched_where_a_call_on_it_overlaps_its_copy() -> None:
    state, records = contents(FOUR_CPUS)
    (pool,) = state.pools
    calls = [event for event in decode(records) if isinstance(event, Find | Unmap) and event.pool == pool.address]
    one = calls[len(calls) // 2]
    during = replace(pool, begin_ns=one.entry_ns, end_ns=one.entry_ns)
    assert _touched((during,), records) == {pool.address}
    before = replace(pool, begin_ns=1, end_ns=min(call.entry_ns for call in calls) - 1)
    assert _touched((before,), records) == set()
    assert _touched((replace(during, address=1, start=1 << 50),), records) == set()


def test_the_list_has_grown_where_a_pool_was_added_that_is_not_on_it() -> None:
    state, records = contents(FOUR_CPUS)
    assert _grew(state, records)
    grown = {event.pool for event in decode(records) if isinstance(event, Grow)}
    pools = tuple(replace(state.pools[0], address=address) for address in grown)
    assert not _grew(replace(state, pools=pools), records)
    assert not _grew(state, records[: 8 * RECORD.size])
