"""How long mappings are held, and which is open longest: from nothing but their maps and releases."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swiotlb_top
from swiotlb_top.accounting.account import Account
from swiotlb_top.accounting.snapshot import HOLD_BUCKETS_NS, UNKNOWN, DeviceView
from swiotlb_top.allocator import REVISIONS, Limits, Request
from swiotlb_top.events import Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.stream import deliver
from swiotlb_top.trace import TraceReader
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL
from tests.support.histories import DEV, SLOT_BYTES, device, empty_pool, found, machine, released, state_of

BUCKETS = len(HOLD_BUCKETS_NS) + 1


def account() -> Account:
    pool = empty_pool()
    pool.take(0, Request(0x20_0000, 4 * SLOT_BYTES, 0, Limits()), DEV)
    made = Account(REVISIONS["6.10"])
    made.state(machine(state_of(pool)))
    made.feed([device()])
    return made


def view(of: Account) -> DeviceView:
    return of.devices[DEV].view()


def test_a_mapping_is_held_from_the_return_of_its_map_to_that_of_its_release() -> None:
    of = account()
    of.feed([found(1000, 1100, 8), released(2000, 31_100, 8)])
    shown = view(of)
    assert (shown.hold_p50_ns, shown.hold_p99_ns, shown.hold_max_ns) == (30_000, 30_000, 30_000)
    assert shown.holds == tuple(int(bucket == 1) for bucket in range(BUCKETS))
    assert shown.oldest_ns == UNKNOWN


def test_the_oldest_open_mapping_is_the_first_that_was_not_released() -> None:
    of = account()
    of.feed([found(1000, 1100, 8), found(1200, 1300, 9), found(1400, 1500, 10)])
    assert view(of).oldest_ns == 1100
    of.feed([released(1600, 1700, 8)])
    assert view(of).oldest_ns == 1300
    of.feed([released(1800, 1900, 10), released(1800, 1900, 9)])
    assert view(of).oldest_ns == UNKNOWN


def test_of_what_was_mapped_before_nothing_is_known() -> None:
    of = account()
    assert view(of).oldest_ns == UNKNOWN
    of.feed([released(1600, 1700, 0, 4)])
    assert (view(of).hold_max_ns, view(of).holds) == (UNKNOWN, ())


def test_nor_of_what_was_open_when_events_were_lost() -> None:
    of = account()
    of.feed([found(1000, 1100, 8)])
    of.gap(Gap(1200, 1300, 5, "ring buffer full"))
    of.state(machine(state_of(empty_pool())))
    assert view(of).oldest_ns == UNKNOWN
    of.feed([released(1600, 1700, 8)])
    assert view(of).hold_max_ns == UNKNOWN


def test_a_release_that_returned_before_its_map_by_the_clocks_is_held_for_no_time() -> None:
    of = account()
    of.feed([found(1000, 1100, 8), released(1050, 1090, 8)])
    assert view(of).hold_max_ns == 0


@given(st.lists(st.tuples(st.integers(8, 40), st.integers(1, 10**7)), max_size=60))
def test_whatever_comes_and_goes(calls: list[tuple[int, int]]) -> None:
    """Each step maps the slot if it is free, and releases it if it is not."""
    of, now_ns = account(), 1000
    made_ns: dict[int, int] = {}
    holds_ns: list[int] = []
    for slot, passed_ns in calls:
        now_ns += passed_ns
        if slot in made_ns:
            holds_ns.append(now_ns - made_ns.pop(slot))
            of.feed([released(now_ns - 1, now_ns, slot)])
        else:
            made_ns[slot] = now_ns
            of.feed([found(now_ns - 1, now_ns, slot)])
    shown = view(of)
    assert shown.oldest_ns == min(made_ns.values(), default=UNKNOWN)
    assert shown.hold_max_ns == max(holds_ns, default=UNKNOWN)
    assert Counter(dict(enumerate(shown.holds))) == Counter(bisect_left(HOLD_BUCKETS_NS, held) for held in holds_ns)


@pytest.mark.parametrize("path", [STALL, GROWING, FOUR_CPUS], ids=lambda path: path.stem)
def test_a_recording_holds_what_its_rows_of_mappings_say(path: Path) -> None:
    trace = TraceReader(path)
    of = Pipeline(trace.header.kernel).account
    deliver(trace.stream(), of)
    counted: Counter[int] = Counter()
    for one in of.devices.values():
        counted.update(dict(enumerate(one.view().holds)))
    rows = list(swiotlb_top.open(path).mappings(judged=False))
    holds_ns = [row.hold_ns for row in rows if row.hold_ns is not None and not row.failed]
    assert holds_ns
    assert +counted == Counter(bisect_left(HOLD_BUCKETS_NS, held_ns) for held_ns in holds_ns)
    open_ns = [row.map_ns for row in rows if row.map_ns is not None and row.unmap_ns is None and not row.failed]
    oldest_ns = [one.view().oldest_ns for one in of.devices.values() if one.view().oldest_ns >= 0]
    assert min(oldest_ns, default=None) == min(open_ns, default=None)
