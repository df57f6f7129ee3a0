"""What charts have of two hours: few readings, of which none is lower than what was read."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.readings import KEPT_NS, MOST, Reading, readings_of, with_reading
from tests.support.snapshots import QUIET, SECOND_NS, STALLED

FIRST = Past(0, 0, 0, 0, 0, {})


def later(past: Past, seconds: int, used_slots: int = 0, maps: int = 0) -> Past:
    """Totals some seconds later, with so many more maps."""
    return replace(past, time_ns=past.time_ns + seconds * SECOND_NS, used_slots=used_slots, maps=past.maps + maps)


def test_a_reading_has_the_rates_between_two_totals() -> None:
    (reading,) = readings_of(map(Past.of, (QUIET, STALLED)))
    assert (reading.begin_ns, reading.end_ns, reading.used_slots) == (QUIET.time_ns, STALLED.time_ns, 415)
    assert reading.map_failures_per_second == 230


def test_over_no_time_nothing_is_read() -> None:
    assert with_reading((), FIRST, FIRST) == ()


def test_what_is_not_known_is_0() -> None:
    (reading,) = readings_of([FIRST, replace(later(FIRST, 1), used_slots=-1, maps=-1, mapped_bytes=-1)])
    assert reading == Reading(0, SECOND_NS, 0, 0.0, 0.0, 0.0)


def test_a_quiet_time_is_one_reading_however_often_it_is_read() -> None:
    often, past = [FIRST], FIRST
    for _ in range(100):
        often.append(past := later(past, 1))
    assert readings_of(often) == readings_of([FIRST, past])
    assert len(readings_of([*often, later(past, 1, used_slots=1)])) == 2


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=60))
def test_readings_follow_each_other_and_keep_the_highest(steps: list[tuple[int, int, int]]) -> None:
    totals = [FIRST]
    for seconds, used_slots, maps in steps:
        totals.append(later(totals[-1], seconds, used_slots, maps))
    readings = readings_of(totals)
    assert readings[-1].end_ns == totals[-1].time_ns
    assert all(before.end_ns == after.begin_ns for before, after in pairwise(readings))
    since_ns = totals[-1].time_ns - KEPT_NS
    assert max(r.used_slots for r in readings) >= max(past.used_slots for past in totals[1:] if past.time_ns > since_ns)


def test_of_two_hours_there_are_few_the_latest_apart_and_what_is_older_is_gone() -> None:
    past = FIRST
    readings: tuple[Reading, ...] = ()
    for second in range(3 * 3600):
        now = later(past, 1, used_slots=second % 7, maps=1 + (second == 9000))
        readings = with_reading(readings, past, now)
        past = now
    assert len(readings) <= MOST
    assert {r.end_ns - r.begin_ns for r in readings[-100:]} == {SECOND_NS}
    assert max(r.end_ns - r.begin_ns for r in readings) <= 16 * SECOND_NS
    assert past.time_ns - KEPT_NS - 16 * SECOND_NS < readings[0].begin_ns <= past.time_ns - KEPT_NS
    assert max(r.maps_per_second for r in readings) == 2
