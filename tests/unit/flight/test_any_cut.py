"""Wherever the flight recorder cuts, what it writes is a recording like any other, which begins early enough."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from swiotlb_top.events import Device, Event, Find, Gap, Unmap
from swiotlb_top.records import decode, tally
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import End, Item, Records
from tests.support.flight_session import GROWING, SECOND_NS, STATIC, FlightSession, asking, flown, plan

LOOKS = 60
"""So many take ten seconds, and the flights here hold one or two."""
SEEDS = st.integers(0, 999)
ASKED = st.integers(3, LOOKS)
WINDOWS_NS = st.sampled_from((SECOND_NS, 2 * SECOND_NS))


class Written(NamedTuple):
    """The file that was asked for."""

    session: FlightSession
    items: list[Item]
    report: ReplayReport
    asked_ns: int


def written(
    seed: int, look: int, window_ns: int, *, dynamic: bool = False, losing: frozenset[int] = frozenset()
) -> Written:
    asked_ns = 0

    def looked(number: int) -> None:
        nonlocal asked_ns
        asked_ns = session.now_ns() if number == look else asked_ns
        ask(number)

    ask = asking(look, stop=look + 40)
    session = FlightSession(seed, GROWING if dynamic else STATIC, losing=losing, looked=looked)
    with tempfile.TemporaryDirectory() as directory:
        flight = flown(session, plan(Path(directory), window_ns=window_ns))
        assert flight.complaints == []
        (file,) = flight.files
        return Written(session, flight.items(), replay(file, "6.10"), asked_ns)


@settings(max_examples=12, deadline=None)
@given(SEEDS, ASKED, WINDOWS_NS)
def test_it_begins_with_a_state_early_enough_and_not_much_earlier(seed: int, look: int, window_ns: int) -> None:
    session, items, report, asked_ns = written(seed, look, window_ns)
    assert isinstance(items[0], MemState)
    assert items[0].begin_ns <= max(session.states_ns[0], asked_ns - window_ns)
    assert items[0].begin_ns >= asked_ns - 2 * window_ns - SECOND_NS
    assert isinstance(items[-1], End)
    assert report.pipeline.length_ns >= asked_ns - items[0].begin_ns


@settings(max_examples=12, deadline=None)
@given(SEEDS, ASKED, WINDOWS_NS)
def test_a_sound_kernel_agrees_and_what_was_counted_is_what_is_in_it(seed: int, look: int, window_ns: int) -> None:
    _, items, report, _ = written(seed, look, window_ns)
    findings = report.findings
    assert (findings.disagree, findings.doubts, findings.safety_violations) == (0, {}, 0)
    assert (report.damage, report.miscounts, report.lost) == ("", (), 0)
    counted = sum((tally(item.data) for item in items if isinstance(item, Records)), start=tally(b""))
    assert isinstance(items[-1], End)
    assert {name: items[-1].counters[name] for name in ("maps", "map_failures", "unmaps")} == counted


@settings(max_examples=8, deadline=None)
@given(SEEDS, ASKED, WINDOWS_NS)
def test_one_that_grows_and_never_pauses_is_not_blamed(seed: int, look: int, window_ns: int) -> None:
    """Calls go on while its states are read, and no state tells of the mappings in transient pools."""
    _, _, report, _ = written(seed, look, window_ns, dynamic=True)
    assert (report.findings.disagree, report.findings.safety_violations) == (0, 0)
    assert (report.damage, report.miscounts) == ("", ())


@settings(max_examples=12, deadline=None)
@given(SEEDS, ASKED, WINDOWS_NS, st.frozensets(st.integers(0, LOOKS), min_size=1, max_size=8))
@example(seed=154, look=3, window_ns=SECOND_NS, losing=frozenset({2}))  # of a device, too, nothing was told at first
def test_events_that_are_lost_are_missed_where_they_are_missing(
    seed: int, look: int, window_ns: int, losing: frozenset[int]
) -> None:
    _, items, report, _ = written(seed, look, window_ns, losing=losing)
    assert isinstance(items[0], MemState)
    gaps = sum(item.lost for item in items if isinstance(item, Gap))
    assert isinstance(items[-1], End)
    assert items[-1].lost == gaps
    assert (report.damage, report.miscounts, report.findings.disagree) == ("", (), 0)


@settings(max_examples=8, deadline=None)
@given(SEEDS, ASKED, WINDOWS_NS)
def test_every_device_is_introduced_and_named_before_its_first_call(seed: int, look: int, window_ns: int) -> None:
    _, items, _, _ = written(seed, look, window_ns)
    named = {item.dev for item in items if isinstance(item, DeviceName)}
    introduced: set[int] = set()
    events: list[Event] = [event for item in items if isinstance(item, Records) for event in decode(item.data)]
    for event in events:
        if isinstance(event, Device):
            introduced.add(event.dev)
        elif isinstance(event, Find | Unmap):
            assert event.dev in introduced & named
    assert introduced
