"""A copy of the state is disturbed by the calls that changed it while it was made, and by no others."""

from __future__ import annotations

from dataclasses import replace

from swiotlb_top.events import Find, Grow, Unmap
from swiotlb_top.probes.read.disturbed import grew, touched
from swiotlb_top.records import decode, select
from swiotlb_top.state import MemState
from swiotlb_top.trace import Records, TraceReader
from tests.support.doctoring import FOUR_CPUS


def contents() -> tuple[MemState, bytes]:
    """The first state of a recording, and all its records."""
    items = list(TraceReader(FOUR_CPUS))
    state = next(item for item in items if isinstance(item, MemState))
    return state, b"".join(item.data for item in items if isinstance(item, Records))


def test_a_pool_is_touched_where_a_call_on_it_overlaps_its_copy() -> None:
    state, records = contents()
    (pool,) = state.pools
    calls = [event for event in decode(records) if isinstance(event, Find | Unmap) and event.pool == pool.address]
    one = calls[len(calls) // 2]
    during = replace(pool, begin_ns=one.entry_ns, end_ns=one.entry_ns)
    assert touched((during,), records) == {pool.address}
    before = replace(pool, begin_ns=1, end_ns=min(call.entry_ns for call in calls) - 1)
    assert touched((before,), records) == set()
    assert touched((replace(during, address=1, start=1 << 50),), records) == set()


def test_the_list_has_grown_where_a_pool_was_added_that_is_not_on_it() -> None:
    state, records = contents()
    assert grew(state, records)
    grown = {event.pool for event in decode(records) if isinstance(event, Grow)}
    pools = tuple(replace(state.pools[0], address=address) for address in grown)
    assert not grew(replace(state, pools=pools), records)
    assert not grew(state, select(records, range(8)))
