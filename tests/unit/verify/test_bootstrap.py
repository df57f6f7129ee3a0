"""Arriving late: a state that was copied while it changed begins a stream, and is no part of a false alarm.

The histories are of a small kernel that runs here (small_kernel.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Pool, Request
from swiotlb_top.constants import INVALID_PHYS_ADDR
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Unmap
from swiotlb_top.state import PoolState
from swiotlb_top.verify import Doubt, Findings, Judge
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS
from tests.support.histories import DEV, LIMITS, POOL, SLOT_BYTES, START, device, found, machine, released, state_of
from tests.support.small_kernel import ALIGN_MASK, MAP_GOES_ON_NS, NAREAS, NSLABS, PADDED, Kernel, Live

STEP_NS: Final = 100
FIRST_NS: Final = 10 * ASSUMED_DURATION_NS
AREA_SLOTS: Final = NSLABS // NAREAS


@st.composite
def kernels(draw: st.DrawFn, steps: int = 24) -> Kernel:
    """Some twenty operations, a step apart, each known only to have happened in an interval around its moment."""
    kernel = Kernel()
    long = st.integers(0, 2 * STEP_NS)
    for moment_ns in range(1000, 1000 + steps * STEP_NS, STEP_NS):
        entry_ns, exit_ns = moment_ns - draw(long), moment_ns + draw(long)
        over = [live for live in kernel.live if live.mapped_ns < entry_ns]
        unmaps = draw(st.booleans())
        if over and unmaps:
            kernel.unmap(moment_ns, entry_ns, exit_ns, draw(st.sampled_from(over)))
        else:
            cpu, nslots = draw(st.integers(0, 1)), draw(st.sampled_from([1, 2, 5, 40, 100]))
            dev, pad_slots = draw(st.sampled_from([(DEV, 0), (DEV, 0), (PADDED, 0), (PADDED, 1), (PADDED, 7)]))
            kernel.map(moment_ns, entry_ns, exit_ns, cpu, nslots, dev, pad_slots)
    return kernel


@dataclass(repr=False)
class Arrived:
    """Such a kernel, and a copy of its pool that was under way for up to eight steps."""

    kernel: Kernel
    copy: PoolState

    def __repr__(self) -> str:
        """All that is needed to do it again, and not the slots."""
        return f"{self.kernel.events} copied in {self.copy.begin_ns}..{self.copy.end_ns}"


@st.composite
def arrivals(draw: st.DrawFn) -> Arrived:
    kernel = draw(kernels())
    begin_ns = draw(st.integers(900, 2600))
    moments = sorted(draw(st.lists(st.integers(0, 8 * STEP_NS), min_size=4, max_size=4)))
    turns = draw(st.lists(st.integers(0, NSLABS), min_size=3, max_size=3))
    delays = [moments[sum(slot > turn for turn in turns)] for slot in range(NSLABS)]
    (copy,) = kernel.copied([begin_ns, *(begin_ns + delay for delay in delays)])
    return Arrived(kernel, copy)


@st.composite
def handovers(draw: st.DrawFn) -> Arrived:
    """Each area is given out and released in turns, whole; of some releases it was not seen when they began, and of
    what was over before the copy began nothing is told."""
    long = st.integers(0, ASSUMED_DURATION_NS // 2)
    calls: list[tuple[int, int, int, int, bool]] = []
    for cpu in range(NAREAS):
        last_ns = FIRST_NS
        for turn in range(draw(st.integers(2, 8))):
            if turn % 2:
                entry_ns = calls[-1][2] + MAP_GOES_ON_NS + 1 + draw(long)
                moment_ns = entry_ns + draw(long)
            else:
                moment_ns = last_ns + 1 + draw(st.sampled_from([0, 0, 0, 4])) * ASSUMED_DURATION_NS + draw(long)
                entry_ns = moment_ns - draw(long)
            last_ns = moment_ns
            calls.append((moment_ns, entry_ns, moment_ns + draw(long), cpu, bool(turn % 2)))
    kernel = Kernel()
    for moment_ns, entry_ns, exit_ns, cpu, unmaps in sorted(calls):
        if unmaps:
            (gone,) = (live for live in kernel.live if live.slot == cpu * AREA_SLOTS)
            kernel.unmap(moment_ns, entry_ns, exit_ns, gone)
            release = kernel.events[-1]
            if isinstance(release, Unmap) and draw(st.booleans()):
                kernel.events[-1] = release._replace(entry_ns=ENTRY_UNKNOWN)
        else:
            kernel.map(moment_ns, entry_ns, exit_ns, cpu, AREA_SLOTS)
    begin_ns = draw(st.sampled_from(calls))[0] + draw(st.integers(-1, 1)) * draw(long)
    delays = sorted(draw(st.lists(long, min_size=NAREAS, max_size=NAREAS)))
    (copy,) = kernel.copied([begin_ns, *(begin_ns + delays[slot // AREA_SLOTS] for slot in range(NSLABS))])
    return Arrived(kernel, copy)


def judged(state: PoolState, events: Sequence[Event], *later: PoolState) -> Findings:
    """What the recorder writes: a state, then what was over after it began, by its end."""
    judge = Judge(REVISIONS["6.10"])
    judge.state(machine(state))
    devices = [device(), device(PADDED, min_align_mask=ALIGN_MASK)]
    judge.feed([*devices, *sorted((e for e in events if e.exit_ns >= state.begin_ns), key=lambda e: e.exit_ns)])
    for read in later:
        judge.state(machine(read))
    return judge.finish()


def _was_begun(event: Event, copy: PoolState) -> bool:
    """Whether it is a release under way when the copy began: of what it was nobody knows for a while."""
    return isinstance(event, Unmap) and event.entry_ns < copy.begin_ns <= event.exit_ns


def last_state(kernel: Kernel) -> PoolState:
    return replace(kernel.states[-1][1][0], begin_ns=10_000, end_ns=10_010)


@settings(max_examples=150, deadline=None)
@given(arrivals())
def test_a_copy_of_slots_in_use_is_never_part_of_a_false_alarm(arrived: Arrived) -> None:
    kernel, copy = arrived.kernel, arrived.copy
    findings = judged(copy, kernel.events, last_state(kernel))
    assert findings.first is None
    assert findings.disagree == findings.safety_violations == 0
    assert findings.doubts.keys() <= {Doubt.DURING_STATE}
    assert findings.compared + findings.inconclusive == sum(event.exit_ns >= copy.begin_ns for event in kernel.events)


@settings(max_examples=150, deadline=None)
@given(arrivals())
def test_once_nothing_overlaps_any_more_all_is_known(arrived: Arrived) -> None:
    kernel, copy = arrived.kernel, arrived.copy
    assume(not any(_was_begun(event, copy) for event in kernel.events))
    before = judged(copy, kernel.events)
    for cpu in (0, 1):
        at = 9000 + 100 * cpu
        kernel.map(at, at, at, cpu, 1)
    assert judged(copy, kernel.events).agree == before.agree + 2


@settings(max_examples=100, deadline=None)
@given(arrivals(), st.integers(-1, NSLABS - 1))
def test_what_is_wrong_after_it_is_found_as_ever(arrived: Arrived, slot: int) -> None:
    """Once a search in each area has shown where it goes on, every slot but one is wrong, and nothing else is."""
    kernel, copy = arrived.kernel, arrived.copy
    assume(not any(_was_begun(event, copy) for event in kernel.events))
    for cpu in (0, 1):
        at = 8000 + 100 * cpu
        kernel.map(at, at, at, cpu, 1)
    right = kernel.place(0, 1)
    assume(slot != (right.slot if right else -1))
    wrong = found(9000, 9010, slot, cpu=0)
    findings = judged(copy, [*kernel.events, wrong])
    assert findings.first is not None
    assert findings.first.event == wrong
    assert findings.disagree == 1


@settings(deadline=None)
@given(kernels(steps=6))
def test_a_state_read_in_the_middle_is_compared_where_nothing_touched_it(kernel: Kernel) -> None:
    first = replace(kernel.states[0][1][0], begin_ns=0, end_ns=10)
    (in_the_middle,) = kernel.copied([1150, *range(1200, 1200 + NSLABS)])
    findings = judged(first, kernel.events, in_the_middle, last_state(kernel))
    assert (findings.disagree, findings.inconclusive) == (0, 0)
    assert NAREAS <= findings.equal_areas <= 2 * NAREAS


@settings(max_examples=250, deadline=None)
@given(handovers())
def test_whether_a_mapping_was_there_before_a_release_or_after_it_is_not_guessed(arrived: Arrived) -> None:
    """And once all was given back and out again, it is known."""
    kernel, copy = arrived.kernel, arrived.copy
    at = max(event.exit_ns for event in kernel.events) + 2 * ASSUMED_DURATION_NS
    released_and_found = []
    for _ in range(2):
        for live in list(kernel.live):
            kernel.unmap(at, at, at, live)
        for cpu in range(NAREAS):
            kernel.map(at + 10, at + 10, at + 10, cpu, AREA_SLOTS)
        released_and_found.append(judged(copy, kernel.events))
        at += 20
    before, findings = released_and_found
    assert (findings.first, findings.disagree, findings.safety_violations) == (None, 0, 0)
    assert findings.agree == before.agree + 2 * NAREAS


# ---- by hand ----------------------------------------------------------------


def pool_with(*slots: int) -> Pool:
    pool = Pool(POOL, START, NSLABS, NAREAS)
    for slot in slots:
        pool.take(slot, Request(0x20_0000, SLOT_BYTES, 0, LIMITS), DEV)
    return pool


def test_only_the_area_that_was_touched_has_to_be_waited_for() -> None:
    findings = judged(
        state_of(pool_with(0), 1000, 1100),
        [released(1050, 1060, 0), found(1200, 1210, 1), found(1020, 1030, 128, cpu=1), found(1200, 1210, 129, cpu=1)],
    )
    assert findings.doubts == {Doubt.DURING_STATE: 2}
    assert (findings.agree, findings.disagree) == (2, 0)


@pytest.mark.parametrize("last", [1, 2])
def test_where_the_next_search_goes_on_is_uncertain_while_two_may_have_been_the_last(last: int) -> None:
    copy = state_of(pool_with(0, 1), 1000, 1100)
    overlapping = [found(1010, 1050, 0), found(1020, 1060, 1)]
    findings = judged(
        copy, [*overlapping, released(1150, 1160, 1), found(1200, 1210, last), found(1300, 1310, last + 1)]
    )
    assert findings.doubts == {Doubt.DURING_STATE: 2}
    assert (findings.agree, findings.disagree) == (3, 0)


def test_it_is_not_so_uncertain_that_anything_would_do() -> None:
    copy = state_of(pool_with(0, 1), 1000, 1100)
    overlapping = [found(1010, 1050, 0), found(1020, 1060, 1)]
    assert judged(copy, [*overlapping, found(1200, 1210, 3)]).disagree == 1


def test_what_was_over_before_the_copy_is_in_it() -> None:
    findings = judged(state_of(pool_with(0), 1000, 1100), [found(800, 900, 0), released(1200, 1210, 0)])
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, 0, 0)


def test_a_mapping_that_was_caught_before_its_padding_was_to_be_seen_is_released_without_harm() -> None:
    """The buffer begins two slots on; the slots say nothing of it until the map is over."""
    pool = Pool(POOL, START, NSLABS, NAREAS)
    limits = LIMITS._replace(min_align_mask=0x1FFF)
    request = Request(0x20_1000, 4 * SLOT_BYTES, 0x1FFF, limits)
    mapping = pool.take(0, request, DEV).mapping
    assert mapping.pad_slots == 2
    state = state_of(pool, 1000, 1010)
    unseen = replace(state, orig_addr=(0xFFFF_FFFF_FFFF_FFFF,) * NSLABS, pad_slots=(0,) * NSLABS)
    judge = Judge(REVISIONS["6.10"])
    judge.state(machine(unseen))
    judge.feed([device()._replace(min_align_mask=0x1FFF), released(1200, 1210, 2, 2), found(1300, 1310, 4)])
    findings = judge.finish()
    assert (findings.first, findings.safety_violations) == (None, 0)
    assert findings.agree == 2


AMID: Final = FIRST_NS + 10
LATER: Final = FIRST_NS + 10 * ASSUMED_DURATION_NS
DOUBTS: Final[dict[str, list[Event]]] = {
    "it overlaps what ended before the copy": [released(FIRST_NS - 9, AMID, 0)],
    "it was not seen to begin": [released(ENTRY_UNKNOWN, AMID, 0)],
    "it was not seen to begin, nor which search came first": [
        found(AMID - 5, AMID - 2, 0),
        released(ENTRY_UNKNOWN, AMID, 0),
    ],
    "two were not seen to begin": [
        found(AMID - 5, AMID - 2, 0),
        released(ENTRY_UNKNOWN, AMID, 0),
        released(ENTRY_UNKNOWN, AMID + 1, 0),
    ],
}


def doubtful(overlapping: list[Event], *later: Event | PoolState) -> Findings:
    """A copy in which slot 0 is in use and released meanwhile, or another mapping's by then; and what came later."""
    copy = state_of(pool_with(0), FIRST_NS, FIRST_NS + 100)
    events = [event for event in later if not isinstance(event, PoolState)]
    return judged(copy, [*overlapping, *events], *(state for state in later if isinstance(state, PoolState)))


@pytest.mark.parametrize("overlapping", DOUBTS.values(), ids=DOUBTS)
def test_a_mapping_that_may_have_been_released_is_in_use_if_it_is_released_then(overlapping: list[Event]) -> None:
    findings = doubtful(overlapping, released(LATER, LATER + 10, 0), found(LATER + 20, LATER + 30, 1))
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, len(overlapping) + 1, 0)


@pytest.mark.parametrize("overlapping", DOUBTS.values(), ids=DOUBTS)
def test_it_is_not_if_its_slots_are_found(overlapping: list[Event]) -> None:
    findings = doubtful(overlapping, found(LATER, LATER + 10, 0), found(LATER + 20, LATER + 30, 1))
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, len(overlapping) + 1, 0)


@pytest.mark.parametrize("overlapping", DOUBTS.values(), ids=DOUBTS)
@pytest.mark.parametrize("left", [[], [0]], ids=["free", "in use"])
def test_it_is_as_a_state_says_that_is_read_while_nothing_goes_on(overlapping: list[Event], left: list[int]) -> None:
    pool = pool_with(*left)
    pool.area_index[0] = 0
    findings = doubtful(overlapping, found(LATER + 20, LATER + 30, len(left)), state_of(pool, LATER, LATER + 10))
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, len(overlapping), 0)


@pytest.mark.parametrize("overlapping", DOUBTS.values(), ids=DOUBTS)
def test_until_then_nothing_in_its_area_is_judged_and_everything_beside_it(overlapping: list[Event]) -> None:
    apart = [found(LATER, LATER + 10, 128, cpu=1), found(LATER, LATER + 10, 99)]
    findings = doubtful(overlapping, *apart)
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, len(overlapping) + 1, 0)


def test_what_was_copied_free_may_have_been_given_out_after_that_release() -> None:
    """The release was over in fact before its slot was copied, and returned late."""
    overlapping: list[Event] = [found(AMID, AMID + 200, 0), released(ENTRY_UNKNOWN, AMID + 300, 0)]
    findings = judged(state_of(pool_with(), FIRST_NS, FIRST_NS + 100), [*overlapping, released(LATER, LATER + 10, 0)])
    assert (findings.inconclusive, findings.disagree) == (3, 0)


def padded() -> tuple[Kernel, Live]:
    """Slots 0..15, of which the first seven are padding; and what comes there once they are released."""
    kernel = Kernel()
    kernel.map(500, 490, 510, 0, 16, PADDED, 7)
    return kernel, kernel.live[0]


def test_padding_that_is_left_of_what_was_being_released_goes_with_it() -> None:
    kernel, gone = padded()
    kernel.unmap(1050, 1040, 1060, gone)
    (copy,) = kernel.copied([1000, *(1049 if slot < 5 else 1051 for slot in range(NSLABS))])
    assert [copy.list_[slot] > 0 for slot in (0, 4, 5, 7)] == [False, False, True, True]
    for at in (2000, 2100):
        kernel.map(at, at, at + 1, 0, 113)
    findings = judged(copy, kernel.events)
    assert (findings.agree, findings.inconclusive, findings.disagree) == (2, 1, 0)


def test_a_mapping_of_which_only_the_end_was_written_yet_is_found_by_where_it_begins() -> None:
    kernel, live = padded()
    (copy,) = kernel.copied([520, *(540 if slot < 10 else 541 for slot in range(NSLABS))])
    assert [copy.orig_addr[slot] == INVALID_PHYS_ADDR for slot in (7, 9, 10, 15)] == [True, True, False, False]
    kernel.unmap(1050, 1040, 1060, live)
    findings = judged(copy, kernel.events)
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, 0, 0)


def test_judged_again_it_is_judged_the_same() -> None:
    """An area after the other in an order of their own: in that of a set, which is of addresses, what is settled
    first differs from one time to the next."""
    copy = state_of(Pool(POOL, START, NSLABS, NAREAS), 285_000_402, 285_123_014)
    events: list[Event] = [
        found(285_000_402, 301_319_611, 0, AREA_SLOTS),
        released(ENTRY_UNKNOWN, 301_428_258, 0, AREA_SLOTS),
        found(300_005_350, 304_117_965, 128, AREA_SLOTS, cpu=1),
        found(314_634_587, 319_122_340, 128, AREA_SLOTS, cpu=1),
        released(ENTRY_UNKNOWN, 319_126_300, 128, AREA_SLOTS),
        released(ENTRY_UNKNOWN, 320_123_982, 128, AREA_SLOTS),
        found(431_723_098, 432_749_339, 0, AREA_SLOTS),
        released(432_749_974, 432_750_758, 0, AREA_SLOTS),
        found(429_738_620, 432_965_450, 0, AREA_SLOTS),
        released(432_965_854, 433_711_559, 0, AREA_SLOTS),
        found(500_000_000, 500_000_010, 0, AREA_SLOTS),
        found(500_000_000, 500_000_010, 128, AREA_SLOTS, cpu=1),
    ]
    again = [judged(copy, events) for _ in range(100)]
    assert {(findings.agree, findings.inconclusive, findings.disagree) for findings in again} == {(2, 10, 0)}
