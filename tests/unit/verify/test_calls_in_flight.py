"""A call may last as long as it likes: what it did before it returned is never held against the others.

A vCPU that is not scheduled, or a task that is throttled, stays in a call for any time. A burst or a recording may end
meanwhile, and of some calls nobody saw the beginning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Pool, Request
from swiotlb_top.events import ENTRY_UNKNOWN, Find, Gap, Unmap
from swiotlb_top.state import PoolState
from swiotlb_top.verify import Doubt, Findings, Judge, Verdict
from tests.support.histories import (
    DEV,
    LIMITS,
    OLDER,
    OLDER_START,
    POOL,
    SECOND_NS,
    SLOT_BYTES,
    START,
    device,
    empty_pool,
    found,
    grown,
    judging,
    machine,
    pool_with,
    released,
    searched_in_vain,
    state_of,
)
from tests.support.small_kernel import GROWN_NSLABS, Kernel, Live

MS: Final = 1_000_000
BEGIN_NS: Final = 10 * SECOND_NS
LENGTHS_NS: Final = st.sampled_from([1_000, 1_000, 1_000, 5 * MS, 60 * MS, 300 * MS, 5 * SECOND_NS, 60 * SECOND_NS])
"""How long before it does its work, and how long after it, a call lasts."""


# ---- a kernel whose calls last, watched for a while ------------------------------


class Watched(NamedTuple):
    """A kernel that does as the reference, and how much of it is seen."""

    kernel: Kernel
    ends_ns: int
    """Nothing is seen of what returns later."""
    looks_ns: list[int]
    """When it is found out up to when all calls are known."""
    unseen: frozenset[int]
    """Which of the events are not seen to begin."""
    reads_the_last_state: bool

    def known_before(self, look_ns: int) -> int:
        """As the kernel side finds out: nothing before the oldest call that is under way then."""
        calls = [event for event in self.kernel.events if isinstance(event, Find | Unmap)]
        under_way = [call.entry_ns for call in calls if call.entry_ns <= look_ns < call.exit_ns]
        return min(under_way, default=look_ns)

    def judged(self, *, tells_what_is_known: bool) -> Findings:
        """A recording of it."""
        judge = Judge(REVISIONS["6.10"])
        judge.state(replace(machine(*_read(self.kernel, BEGIN_NS)), default_nslabs=GROWN_NSLABS))
        judge.feed([device()])
        fed_ns = BEGIN_NS
        for look_ns in [*self.looks_ns, self.ends_ns]:
            self._feed(judge, fed_ns, look_ns)
            if tells_what_is_known:
                judge.known_before(self.known_before(look_ns))
            fed_ns = look_ns
            judge.advance(look_ns)
        if self.reads_the_last_state:
            judge.state(replace(machine(*_read(self.kernel, self.ends_ns)), default_nslabs=GROWN_NSLABS))
        return judge.finish(whole=False)

    def judged_as_a_burst(self) -> Findings:
        judge = judging(replace(machine(*_read(self.kernel, BEGIN_NS)), default_nslabs=GROWN_NSLABS))
        self._feed(judge, BEGIN_NS, self.ends_ns)
        return judge.finish(self.known_before(self.ends_ns))

    def judged_with_the_rest_lost(self) -> Findings:
        judge = judging(replace(machine(*_read(self.kernel, BEGIN_NS)), default_nslabs=GROWN_NSLABS))
        self._feed(judge, BEGIN_NS, self.ends_ns)
        judge.gap(Gap(self.ends_ns, self.ends_ns + MS, 1, "ring buffer full"))
        return judge.finish()

    def _feed(self, judge: Judge, after_ns: int, until_ns: int) -> None:
        events = enumerate(self.kernel.events)
        told = [self._seen(at, event) for at, event in events if after_ns < event.exit_ns <= until_ns]
        judge.feed(sorted(told, key=lambda event: event.exit_ns))

    def _seen(self, at: int, event: object) -> Find | Unmap:
        assert isinstance(event, Find | Unmap)
        return event._replace(entry_ns=ENTRY_UNKNOWN) if at in self.unseen else event

    def __repr__(self) -> str:
        lines = [f"{'unseen' if at in self.unseen else ''} {event}" for at, event in enumerate(self.kernel.events)]
        return "\n".join([f"{self.ends_ns=} {self.looks_ns=} {self.reads_the_last_state=}", *lines])


def _read(kernel: Kernel, time_ns: int) -> tuple[PoolState, ...]:
    return tuple(replace(pool, begin_ns=time_ns, end_ns=time_ns) for pool in kernel.at(time_ns))


@st.composite
def watched(draw: st.DrawFn, *, unseen: bool) -> Watched:
    kernel = Kernel()
    moment_ns = BEGIN_NS
    sizes = draw(st.sampled_from([(1, 1, 2, 8), (40, 100, 128)]))  # of the large ones, an area holds one or two
    for _ in range(draw(st.integers(3, 25))):
        moment_ns += draw(st.sampled_from([5_000, 5_000, 40 * MS, SECOND_NS]))
        entry_ns = max(moment_ns - draw(LENGTHS_NS), BEGIN_NS + 1)
        exit_ns = moment_ns + draw(LENGTHS_NS)
        over = [live for live in kernel.live if live.mapped_ns < moment_ns]
        if draw(st.booleans()) and over:
            gone: Live = draw(st.sampled_from(over))
            kernel.unmap(moment_ns, max(entry_ns, gone.mapped_ns + 1), exit_ns, gone)
        else:
            kernel.map(moment_ns, entry_ns, exit_ns, draw(st.integers(0, 1)), draw(st.sampled_from(sizes)))
    times = st.integers(BEGIN_NS + 1, moment_ns + 10 * MS)
    places = st.integers(0, len(kernel.events) - 1)
    return Watched(
        kernel,
        draw(times),
        sorted(draw(st.lists(times, max_size=3))),
        draw(st.frozensets(places, max_size=3)) if unseen else frozenset(),
        draw(st.booleans()),
    )


def nothing_is_wrong(findings: Findings) -> bool:
    return (findings.disagree, findings.safety_violations, findings.first) == (0, 0, None)


@settings(max_examples=60, deadline=None)
@given(watched(unseen=True))
def test_a_recording_that_tells_what_is_known_never_blames_a_right_kernel(watched: Watched) -> None:
    watched = watched._replace(looks_ns=[ns for ns in watched.looks_ns if ns <= watched.ends_ns])
    assert nothing_is_wrong(watched.judged(tells_what_is_known=True))


@settings(max_examples=60, deadline=None)
@given(watched(unseen=True))
def test_nor_does_one_that_does_not_tell(watched: Watched) -> None:
    watched = watched._replace(looks_ns=[ns for ns in watched.looks_ns if ns <= watched.ends_ns])
    assert nothing_is_wrong(watched.judged(tells_what_is_known=False))


@settings(max_examples=60, deadline=None)
@given(watched(unseen=True))
def test_a_burst_that_is_cut_anywhere_never_blames_a_right_kernel(watched: Watched) -> None:
    assert nothing_is_wrong(watched.judged_as_a_burst())


@settings(max_examples=40, deadline=None)
@given(watched(unseen=True))
def test_events_that_are_lost_may_explain_what_came_before(watched: Watched) -> None:
    assert nothing_is_wrong(watched.judged_with_the_rest_lost())


@settings(max_examples=40, deadline=None)
@given(watched(unseen=False))
def test_where_every_call_is_seen_to_begin_and_to_end_all_agrees(watched: Watched) -> None:
    """However long they last: the judge waits for each."""
    judge = judging(replace(machine(*_read(watched.kernel, BEGIN_NS)), default_nslabs=GROWN_NSLABS))
    everything = watched._replace(ends_ns=max(event.exit_ns for event in watched.kernel.events))
    everything._feed(judge, BEGIN_NS, everything.ends_ns)
    findings = judge.finish()
    assert findings.agree == len(watched.kernel.events)
    assert findings.verdict is Verdict.AGREE


# ---- what is inconclusive, and what is not ----------------------------------------


def test_a_search_that_passed_over_a_slot_may_have_met_a_call_that_has_not_returned() -> None:
    judge = judging()
    judge.feed([found(150 * MS, 150 * MS + 2000, 1)])
    findings = judge.finish(whole=False)
    assert findings.doubts == {Doubt.NOT_RETURNED: 1}
    assert findings.verdict is Verdict.INCONCLUSIVE


def test_but_not_where_every_call_is_known_that_was_under_way_then() -> None:
    judge = judging()
    judge.feed([found(150 * MS, 150 * MS + 2000, 1)])
    judge.known_before(151 * MS)
    judge.feed([found(200 * MS, 200 * MS + 2000, 3)])
    findings = judge.finish(whole=False)
    assert (findings.disagree, findings.doubts) == (1, {Doubt.NOT_RETURNED: 1})
    assert findings.first is not None
    assert findings.first.time_ns == 150 * MS + 2000


@pytest.mark.parametrize(("in_use", "disagree"), [((1,), 1), ((0, 1), 0)], ids=["slot 0 is free", "slot 0 is in use"])
def test_a_state_read_later_shows_whether_a_call_that_has_not_returned_has_the_slot(
    in_use: tuple[int, ...], disagree: int
) -> None:
    judge = judging()
    judge.feed([found(150 * MS, 150 * MS + 2000, 1)])
    later = state_of(pool_with(*in_use), 300 * MS, 301 * MS)
    later = replace(later, areas=(replace(later.areas[0], index=2),))
    judge.state(machine(later))
    findings = judge.finish(whole=False)
    assert (findings.disagree, findings.verdict is Verdict.DISAGREE) == (disagree, bool(disagree))


def test_slots_found_while_they_were_in_use_may_have_been_freed_by_a_call_that_has_not_returned() -> None:
    judge = judging(machine(state_of(pool_with(*range(512)))))
    judge.feed([found(150 * MS, 150 * MS + 2000, 7)])
    later = state_of(pool_with(*range(512)), 300 * MS, 301 * MS)
    judge.state(machine(replace(later, areas=(replace(later.areas[0], index=8),))))
    findings = judge.finish(whole=False)
    assert (findings.disagree, findings.safety_violations) == (0, 0)
    assert findings.doubts == {Doubt.NOT_RETURNED: 1}


def test_that_call_may_also_be_why_others_disagree_that_they_were_put_in_order_with() -> None:
    """Two areas of 128 slots. Without the call that freed 40 of them, nothing kept a search for 100 out of area 1."""
    pool = Pool(POOL, START, 256, 2)
    judge = judging(machine(state_of(pool)))
    of_40_slots = Request(0x20_0000, 40 * SLOT_BYTES, 0, LIMITS)
    calls = []
    for at, slot in enumerate((0, 40, 80, 40, 128)):
        if pool.free_run(slot) < 40:
            pool.release(pool.mappings()[1])  # by a call that has not returned
        pool.take(slot, of_40_slots, DEV)
        calls.append(found(1000 * at + 1000, 1000 * at + 1010, slot, 40))
    judge.feed([*calls, searched_in_vain(900, 6000, 100)])
    judge.state(machine(state_of(pool, 300 * MS, 301 * MS)))
    findings = judge.finish(whole=False)
    assert (findings.disagree, findings.first) == (0, None)
    assert findings.doubts == {Doubt.NOT_RETURNED: 2}


def test_a_recording_that_tells_what_is_known_needs_no_state_for_it() -> None:
    """Slot 0 is free in the state, but one call that has not returned may have taken it, and another freed it."""
    judge = judging()
    judge.known_before(100 * MS)
    judge.feed([found(150 * MS, 150 * MS + 2000, 1)])
    later = state_of(pool_with(1), 300 * MS, 301 * MS)
    judge.state(machine(replace(later, areas=(replace(later.areas[0], index=2),))))
    assert judge.finish(whole=False).doubts == {Doubt.NOT_RETURNED: 1}


def given_up() -> tuple[Judge, int]:
    """A judge that gave a state up, since more than 20,000 calls were at work while a pool was copied.

    :returns: it, and when it did.
    """
    old = state_of(Pool(OLDER, OLDER_START, 256, 1), 0, 5 * SECOND_NS)
    judge = judging(machine(state_of(empty_pool()), old))
    for at in range(1000, 1000 + 10_001 * 100, 100):
        slot = at // 100 % 128
        judge.feed(
            [
                found(at, at + 10, slot, pool=OLDER),
                released(at + 20, at + 30, slot, pool=OLDER, start=OLDER_START),
            ]
        )
    return judge, 6 * SECOND_NS


def test_no_state_is_compared_that_waited_while_another_was_given_up() -> None:
    judge, given_up_ns = given_up()
    judge.feed([found(given_up_ns + SECOND_NS, given_up_ns + SECOND_NS + 10, 0)])
    taken = state_of(pool_with(0), given_up_ns + 2 * SECOND_NS, given_up_ns + 3 * SECOND_NS)
    judge.state(machine(taken, state_of(Pool(OLDER, OLDER_START, 256, 1), taken.end_ns, taken.end_ns + 1)))
    judge.advance(given_up_ns + SECOND_NS)
    assert judge.blind
    findings = judge.finish()
    assert (findings.disagree, set(findings.doubts)) == (0, {Doubt.DURING_STATE})


def test_a_call_that_turns_up_after_a_state_was_given_up_may_be_why_others_disagreed() -> None:
    judge, given_up_ns = given_up()
    judge.feed([found(SECOND_NS, SECOND_NS + 10, 1)])  # slot 0 was taken
    judge.advance(given_up_ns + SECOND_NS)
    assert judge.blind
    judge.feed([found(SECOND_NS - 10, given_up_ns + SECOND_NS, 0)])
    findings = judge.finish()
    assert (findings.disagree, set(findings.doubts)) == (0, {Doubt.DURING_STATE})


@pytest.mark.parametrize("took_ns", [1 * MS, 60 * MS, 3 * SECOND_NS])
def test_a_call_that_was_not_seen_to_begin_may_have_taken_any_time(took_ns: int) -> None:
    judge = judging()
    exit_ns = 5 * SECOND_NS
    judge.feed([found(exit_ns - took_ns, exit_ns - took_ns + 2000, 1), found(ENTRY_UNKNOWN, exit_ns, 0)])
    findings = judge.finish()
    assert findings.verdict is not Verdict.DISAGREE
    assert findings.doubts.keys() <= {Doubt.UNSEEN_ENTRY}


def test_one_that_turns_up_after_others_are_judged_is_what_they_met() -> None:
    judge = judging()
    judge.feed([found(SECOND_NS, SECOND_NS + 2000, 1)])
    judge.advance(4 * SECOND_NS)
    judge.feed([found(SECOND_NS - 10, 5 * SECOND_NS, 0)])
    findings = judge.finish()
    assert (findings.disagree, findings.doubts) == (0, {Doubt.LATE: 2})


@pytest.mark.parametrize("nslots", [40, 100])
@pytest.mark.parametrize("entry_ns", [ENTRY_UNKNOWN, SECOND_NS + MS])
@pytest.mark.parametrize("first", [0, 10])
def test_one_that_released_slots_which_were_found_again_does_not_release_what_has_them_now(
    nslots: int, entry_ns: int, first: int
) -> None:
    """It freed 40 or 100 slots long before it returned, and 40 of them were mapped anew, from the first on or not."""
    judge = judging(machine(state_of(Pool(POOL, START, 128, 1))))
    taken = [found(1000, 1010, 0, nslots), *([found(1020, 1030, nslots, 20)] if nslots == 100 else [])]
    again = [] if first == 0 else [found(SECOND_NS + 2 * MS, SECOND_NS + 3 * MS, 0, 10)]
    judge.feed([*taken, *again, found(SECOND_NS + 4 * MS, SECOND_NS + 5 * MS, first, 40)])
    judge.advance(6 * SECOND_NS)
    judge.feed([released(entry_ns, 7 * SECOND_NS, 0, nslots)])
    judge.advance(9 * SECOND_NS)
    at = 10 * SECOND_NS
    judge.feed([released(at, at + 10, first, 40)])
    judge.feed([found(at + 20, at + 30, first + 40, 40), released(at + 40, at + 50, first + 40, 40)])
    findings = judge.finish()
    assert (findings.disagree, findings.safety_violations, findings.inconclusive) == (0, 0, 2)


@given(st.integers(0, 511).filter(lambda slot: slot != 2), st.sampled_from([ENTRY_UNKNOWN, 9 * SECOND_NS]))
def test_what_is_certain_is_not_explained_by_a_call_that_turns_up_later(slot: int, entry_ns: int) -> None:
    judge = judging()
    wrong = found(3000, 3010, slot)
    judge.feed([found(1000, 1010, 0), found(2000, 2010, 1), wrong])
    judge.known_before(3020)
    judge.advance(10 * SECOND_NS)
    judge.feed([released(entry_ns, 20 * SECOND_NS, 1)])
    findings = judge.finish(whole=False)
    assert findings.first is not None
    assert findings.first.event == wrong


def test_a_list_of_pools_that_is_an_older_one_was_read_before_it_grew() -> None:
    """It is not told when the list was read: it may have taken long from there to the first pool's slots."""
    judge = judging(machine(can_grow=True))
    judge.feed([grown(1000, 2000, OLDER, OLDER_START, 512)])
    judge.state(machine(state_of(empty_pool(), SECOND_NS, SECOND_NS + 10), can_grow=True))
    assert judge.finish().disagree == 0


def test_a_list_of_pools_that_never_was_is_a_disagreement() -> None:
    judge = judging(machine(can_grow=True))
    judge.feed([grown(1000, 2000, OLDER, OLDER_START, 512)])
    strange = empty_pool(address=OLDER + 8, start=OLDER_START)
    pools = [state_of(pool, SECOND_NS, SECOND_NS + 10) for pool in (strange, empty_pool())]
    judge.state(machine(*pools, can_grow=True))
    assert judge.finish().disagree == 1
