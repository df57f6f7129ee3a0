"""The judge says inconclusive where it cannot know, and takes up again where it can."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import REVISIONS, Hazard, Pool, Request
from swiotlb_top.events import Event, Gap
from swiotlb_top.verify import Doubt, Judge, Verdict
from tests.support.histories import (
    DEV,
    LIMITS,
    OLDER,
    OLDER_START,
    POOL,
    SECOND_NS,
    SLOT_BYTES,
    START,
    STRANGER,
    allocated,
    device,
    found,
    grown,
    judging,
    machine,
    mapped,
    pool_with,
    released,
    searched_in_vain,
    state_of,
    two_copies,
)

# ---- nothing is known -------------------------------------------------------


def test_silence_is_no_agreement() -> None:
    assert judging().finish().verdict is Verdict.INCONCLUSIVE


def test_before_any_state_nothing_can_be_said() -> None:
    judge = Judge(REVISIONS["6.10"])
    judge.feed([device(), found(1000, 1100, 0), released(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.BEFORE_STATE: 2}
    assert (findings.compared, findings.disagree, findings.verdict) == (0, 0, Verdict.INCONCLUSIVE)


def test_what_ended_before_the_state_was_read_is_in_it_and_not_counted() -> None:
    judge = judging(machine(state_of(pool_with(0), 2000, 2010)))
    judge.feed([found(1000, 1100, 0), released(3000, 3100, 0)])
    findings = judge.finish()
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, 0, 0)


@pytest.mark.parametrize("find_is_seen", [True, False], ids=["find", "map"])
def test_what_a_device_did_that_never_introduced_itself_is_taken_as_it_was(find_is_seen: bool) -> None:
    """Nobody knows what it asked for; so any slots that are free may be right, and are in use from then on."""
    judge = judging()
    slots = found(1000, 1100, 40, 3, dev=STRANGER) if find_is_seen else mapped(1000, 1100, 40, 3)._replace(dev=STRANGER)
    judge.feed([slots, found(1200, 1300, 43), released(1400, 1500, 40, 3, dev=STRANGER), found(1600, 1700, 44)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.NEVER_INTRODUCED: 2}
    assert (findings.agree, findings.disagree) == (2, 0)


def test_what_padding_a_device_asked_for_that_never_introduced_itself_shows_in_its_buffers_address() -> None:
    judge = judging()
    stranger = mapped(1000, 1100, 0, 2)._replace(dev=STRANGER, orig_addr=0x20_0600)
    at_the_same_offset = stranger._replace(tlb_addr=stranger.tlb_addr + 0x600)
    judge.feed([at_the_same_offset, found(1200, 1300, 3)])
    assert (judge.finish().agree, judge.findings.disagree) == (1, 0)


def test_slots_in_use_are_harm_whoever_gets_them() -> None:
    judge = judging(machine(state_of(pool_with(0))))
    judge.feed([found(1000, 1100, 0, dev=STRANGER)])
    findings = judge.finish()
    assert findings.first is not None
    assert findings.first.expected == "slots that are free"
    assert [violation.hazard for violation in findings.first.violations] == [Hazard.OVERLAP]


def test_a_failed_search_of_a_device_that_never_introduced_itself_cannot_be_judged() -> None:
    judge = judging()
    judge.feed([searched_in_vain(1000, 1100)._replace(dev=STRANGER), found(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.NEVER_INTRODUCED: 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_a_release_in_a_pool_never_seen_cannot_be_judged() -> None:
    judge = judging()
    judge.feed([released(1000, 1100, 0, pool=POOL + 8)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.OLDER_POOL: 1}
    assert findings.disagree == 0


def test_where_the_kernel_does_not_tell_of_transient_pools_what_is_in_them_cannot_be_judged() -> None:
    judge = judging(pools_announced=False)
    judge.feed([found(1000, 1100, 0, pool=POOL + 8), released(1200, 1300, 0, pool=POOL + 8)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.UNTOLD_POOL: 2}
    assert findings.disagree == 0


@pytest.mark.parametrize("find_is_seen", [True, False], ids=["find", "map"])
@pytest.mark.parametrize(("pools_announced", "verdict"), [(True, Verdict.DISAGREE), (False, Verdict.INCONCLUSIVE)])
def test_slots_of_a_pool_never_seen_are_a_fault_only_where_pools_announce_themselves(
    find_is_seen: bool, pools_announced: bool, verdict: Verdict
) -> None:
    judge = judging(pools_announced=pools_announced)
    unseen = found(1000, 1100, 3, pool=POOL + 8) if find_is_seen else mapped(1000, 1100, 3, start=OLDER_START)
    judge.feed([unseen])
    assert judge.finish().verdict is verdict


# ---- lost events ------------------------------------------------------------


def test_after_lost_events_nothing_can_be_said_until_the_next_state() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0)])
    judge.gap(Gap(1100, 1200, 2, "ring buffer full"))
    judge.feed([found(2000, 2100, 7), released(2200, 2300, 7)])
    judge.state(machine(state_of(pool_with(0, 1), 3000, 3010)))
    judge.feed([released(4000, 4100, 1), found(4200, 4300, 2)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.AFTER_GAP: 2}
    assert (findings.agree, findings.disagree, findings.verdict) == (3, 0, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(("known_ns", "disagree"), [(0, 0), (SECOND_NS - 5, 0), (SECOND_NS + 1, 1)])
def test_what_was_lost_may_have_been_under_way_when_what_came_last_disagrees(known_ns: int, disagree: int) -> None:
    """A lost search got slot 0 first, and returned later; unless all calls are known that were under way."""
    judge = judging()
    judge.feed([found(SECOND_NS - 10, SECOND_NS, 1)])
    judge.known_before(known_ns)
    judge.gap(Gap(SECOND_NS, SECOND_NS + 100, 1, "ring buffer full"))
    findings = judge.finish()
    assert (findings.disagree, findings.inconclusive) == (disagree, 1 - disagree)


def test_a_gap_among_the_events_is_as_one_told_of() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0), Gap(1100, 1200, 1, "ring buffer full"), found(2000, 2100, 99)])
    judge.state(machine(state_of(pool_with(0, 99), 3000, 3010)))
    judge.feed([found(4000, 4100, 100)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.AFTER_GAP: 1}
    assert (findings.agree, findings.disagree) == (2, 0)


# ---- while the state was read -----------------------------------------------


def test_a_pool_that_was_copied_is_known_while_others_still_are_copied() -> None:
    judge = judging(two_copies())
    judge.feed([released(12, 15, 0), found(16, 18, 1), found(1000, 1100, 2), released(1200, 1300, 1)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (4, 0, 0)


def test_a_search_that_asked_a_pool_not_copied_yet_is_taken_over_and_not_judged() -> None:
    full = Pool(POOL, START, 128, 1)
    full.take(0, Request(0x20_0000, 128 * SLOT_BYTES, 0, LIMITS), DEV)
    older = state_of(pool_with(0, address=OLDER, start=OLDER_START), 20, 30)
    judge = judging(machine(state_of(full, 0, 10), older, can_grow=True))
    judge.feed([found(16, 25, 77, pool=OLDER), found(1000, 1100, 78, pool=OLDER)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.DURING_STATE: 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_what_came_before_its_pools_copy_is_in_that_copy() -> None:
    judge = judging(two_copies())
    judge.feed([found(12, 15, 0, pool=OLDER), released(1000, 1100, 0, pool=OLDER, start=OLDER_START)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.DURING_STATE: 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_a_pool_added_while_the_state_was_read_is_on_the_list() -> None:
    judge = judging(two_copies())
    new, new_start = POOL + 0x200, START + (2 << 30)
    judge.feed([allocated(12, new, new_start, 512), grown(11, 14, new, new_start, 512)])
    judge.feed([found(1000, 1100, 0, pool=new)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (1, 0, 0)


# ---- records that cannot be -------------------------------------------------


@pytest.mark.parametrize(("nslabs", "nareas"), [(512, 0), (2, 4), (1 << 40, 1)])
def test_a_pool_that_cannot_be_is_told_and_costs_no_memory(nslabs: int, nareas: int) -> None:
    judge = judging(machine(can_grow=True))
    judge.feed([allocated(1050, OLDER, OLDER_START, nslabs, nareas), searched_in_vain(1000, 1100, 129)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.IMPOSSIBLE_POOL: 1}
    assert (findings.agree, findings.disagree) == (1, 0)


@pytest.mark.parametrize("nothing", [found(1000, 1100, 0, 0), mapped(1000, 1100, 0, 0)], ids=["find", "map"])
def test_a_request_for_no_bytes_cannot_be_judged(nothing: Event) -> None:
    judge = judging()
    judge.feed([nothing, found(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.NO_SIZE: 1}
    assert findings.agree == 1
