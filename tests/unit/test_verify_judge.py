"""The judge says inconclusive where it cannot know, and takes up again where it can."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import REVISIONS, Cause, Hazard, Pool, Request
from swiotlb_top.events import DURATION_UNKNOWN, ENTRY_UNKNOWN, RECORD, Event, Gap, Kind, PoolFree, decode
from swiotlb_top.state import MemState
from swiotlb_top.verify import Judge, Verdict
from tests.unit.histories import (
    DEV,
    LIMITS,
    POOL,
    SLOT_BYTES,
    START,
    allocated,
    device,
    empty_pool,
    found,
    grown,
    machine,
    mapped,
    released,
    searched_in_vain,
    state_of,
)

OLDER, OLDER_START = POOL + 0x100, START + (1 << 30)
SECOND = 1_000_000_000


def pool_with(*slots: int, nslabs: int = 512, address: int = POOL, start: int = START) -> Pool:
    """A pool with one-slot mappings."""
    pool = Pool(address, start, nslabs, 1)
    for slot in slots:
        pool.take(slot, Request(0x20_0000, SLOT_BYTES, 0, LIMITS), DEV)
    return pool


def judging(mem: MemState | None = None, *, pools_announced: bool = True, cpus: int = 1) -> Judge:
    """A judge that has a state and knows the device."""
    judge = Judge(REVISIONS["6.10"], pools_announced=pools_announced, cpus=cpus)
    judge.state(mem or machine())
    judge.feed([device()])
    return judge


# ---- nothing is known -------------------------------------------------------


def test_silence_is_no_agreement() -> None:
    assert judging().finish().verdict is Verdict.INCONCLUSIVE


def test_before_any_state_nothing_can_be_said() -> None:
    judge = Judge(REVISIONS["6.10"])
    judge.feed([device(), found(1000, 1100, 0), released(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {"before the first state": 2}
    assert (findings.compared, findings.disagree, findings.verdict) == (0, 0, Verdict.INCONCLUSIVE)


def test_what_ended_before_the_state_was_read_is_in_it_and_not_counted() -> None:
    judge = judging(machine(state_of(pool_with(0), 2000, 2010)))
    judge.feed([found(1000, 1100, 0), released(3000, 3100, 0)])
    findings = judge.finish()
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, 0, 0)


STRANGER = DEV + 1


@pytest.mark.parametrize("find_is_seen", [True, False], ids=["find", "map"])
def test_what_a_device_did_that_never_introduced_itself_is_taken_as_it_was(find_is_seen: bool) -> None:
    """Nobody knows what it asked for; so any slots that are free may be right, and are in use from then on."""
    judge = judging()
    slots = found(1000, 1100, 40, 3, dev=STRANGER) if find_is_seen else mapped(1000, 1100, 40, 3)._replace(dev=STRANGER)
    judge.feed([slots, found(1200, 1300, 43), released(1400, 1500, 40, 3, dev=STRANGER), found(1600, 1700, 44)])
    findings = judge.finish()
    assert findings.doubts == {"device never introduced": 2}
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
    assert findings.doubts == {"device never introduced": 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_a_release_in_a_pool_never_seen_cannot_be_judged() -> None:
    judge = judging()
    judge.feed([released(1000, 1100, 0, pool=POOL + 8)])
    findings = judge.finish()
    assert findings.doubts == {"pool from before the recording": 1}
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
    assert findings.doubts == {"after lost events": 2}
    assert (findings.agree, findings.disagree, findings.verdict) == (3, 0, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(("exit_ns", "disagree"), [(SECOND - 100, 0), (SECOND - 100_000_000, 1)])
def test_what_was_lost_may_have_been_under_way_when_what_came_last_disagrees(exit_ns: int, disagree: int) -> None:
    """A lost search got slot 0 first, and returned later."""
    judge = judging()
    judge.feed([found(exit_ns - 10, exit_ns, 1)])
    judge.gap(Gap(SECOND, SECOND + 100, 1, "ring buffer full"))
    findings = judge.finish()
    assert (findings.disagree, findings.inconclusive) == (disagree, 1 - disagree)


def test_a_gap_among_the_events_is_as_one_told_of() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0), Gap(1100, 1200, 1, "ring buffer full"), found(2000, 2100, 99)])
    judge.state(machine(state_of(pool_with(0, 99), 3000, 3010)))
    judge.feed([found(4000, 4100, 100)])
    findings = judge.finish()
    assert findings.doubts == {"after lost events": 1}
    assert (findings.agree, findings.disagree) == (2, 0)


# ---- while the state was read -----------------------------------------------


def two_copies() -> MemState:
    """A new pool copied in 0..10, an old one in 20..30."""
    return machine(
        state_of(pool_with(0), 0, 10),
        state_of(pool_with(0, address=OLDER, start=OLDER_START), 20, 30),
        can_grow=True,
    )


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
    assert findings.doubts == {"while the state was read": 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_what_came_before_its_pools_copy_is_in_that_copy() -> None:
    judge = judging(two_copies())
    judge.feed([found(12, 15, 0, pool=OLDER), released(1000, 1100, 0, pool=OLDER, start=OLDER_START)])
    findings = judge.finish()
    assert findings.doubts == {"while the state was read": 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_a_pool_added_while_the_state_was_read_is_on_the_list() -> None:
    judge = judging(two_copies())
    new, new_start = POOL + 0x200, START + (2 << 30)
    judge.feed([allocated(12, new, new_start, 512), grown(11, 14, new, new_start, 512)])
    judge.feed([found(1000, 1100, 0, pool=new)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (1, 0, 0)


# ---- entries, order, time ---------------------------------------------------


def test_an_operation_whose_entry_was_not_seen_may_have_begun_long_before() -> None:
    packed = RECORD.pack(SECOND, DURATION_UNKNOWN, 0, Kind.FIND, 0, DEV, POOL, 0x20_0000, SLOT_BYTES, 0, 0, 0)
    (unseen,) = decode(packed)
    assert unseen == found(ENTRY_UNKNOWN, SECOND, 0)._replace(orig_addr=0x20_0000)
    judge = judging()
    judge.feed([found(SECOND - 2_000_000, SECOND - 1_000_000, 1), unseen, found(SECOND + 10, SECOND + 20, 2)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (3, 0, 0)


def test_it_may_not_have_begun_before_any_call_could_last() -> None:
    judge = judging()
    judge.feed([found(SECOND - 60_000_000, SECOND - 50_000_000, 1), found(ENTRY_UNKNOWN, SECOND, 0)])
    assert judge.finish().verdict is Verdict.DISAGREE


def test_events_may_come_out_of_order() -> None:
    judge = judging()
    judge.feed([found(1200, 1300, 1)])
    judge.feed([found(1000, 1100, 0)])
    assert judge.finish().agree == 2


def test_only_what_is_over_by_then_is_judged_and_the_rest_dropped() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0), found(2000, 2100, 1), found(2050, 3000, 99)])
    findings = judge.finish(2500)
    assert (findings.agree, findings.disagree, findings.inconclusive) == (1, 0, 0)
    assert judge.finish().agree == 1


def test_a_long_stream_is_judged_on_the_way() -> None:
    judge = judging()
    for second in range(1, 6):
        begin_ns = second * SECOND
        judge.feed([searched_in_vain(at, at + 50, 129) for at in range(begin_ns, begin_ns + 200_000, 100)])
        judge.keep_up()
    assert 0 < judge.findings.agree < 5 * 2000
    assert judge.finish().agree == 5 * 2000


# ---- what is found ----------------------------------------------------------


def strangers() -> list[Event]:
    """Twenty searches at once, of which nobody knows what they asked for: after them any may have been the last."""
    return [found(1000, 1100 + at, 100 + 2 * at, dev=STRANGER) for at in range(20)]


def test_overlapping_operations_that_cannot_be_sorted_out_are_inconclusive_and_judging_goes_on() -> None:
    judge = judging()
    judge.feed([*strangers(), found(1000, 1200, 300), found(2000, 2100, 301), released(2200, 2300, 300)])
    findings = judge.finish()
    assert findings.doubts == {"device never introduced": 20, "too many orders to try": 1}
    assert (findings.agree, findings.disagree, findings.verdict) == (2, 0, Verdict.INCONCLUSIVE)


def test_what_only_an_order_explains_that_was_too_much_to_look_for_is_inconclusive() -> None:
    """The first two can only have come first. That neither came last takes too many orders to prove."""
    judge = judging()
    judge.feed([found(1000, 1010, 0), found(1000, 1020, 1), *strangers()])
    judge.feed([released(2000, 2100, 1), found(2200, 2300, 1), found(2400, 2500, 2)])
    findings = judge.finish()
    assert findings.doubts == {"device never introduced": 20, "too many orders to try": 1}
    assert (findings.agree, findings.disagree) == (4, 0)


def test_many_overlapping_releases_do_not_hide_a_wrong_search() -> None:
    judge = judging(machine(state_of(pool_with(*range(30)))))
    wrong = found(1000, 1200, 300)
    judge.feed([*(released(1000, 1100 + slot, slot) for slot in range(30)), wrong])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (30, 1, 0)
    assert findings.first is not None
    assert findings.first.event == wrong


def test_of_searches_and_releases_in_one_place_those_belong_together_that_are_of_one_size() -> None:
    """The second release ended first, but what it released was mapped after the first."""
    judge = judging(machine(state_of(pool_with(0, 1, nslabs=128))))
    judge.feed([found(SECOND, SECOND + 10, 2, 3), found(SECOND + 20, SECOND + 30, 6, 122)])
    later = 2 * SECOND
    judge.feed(
        [found(later, later + 30, 2), released(ENTRY_UNKNOWN, later + 50, 2), released(later, later + 100, 2, 3)]
    )
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.safety_violations) == (5, 0, 0)


def test_of_overlapping_operations_the_one_is_named_without_which_an_order_would_do() -> None:
    """As they ended, the search would have come before the release that made room for it."""
    judge = judging(machine(state_of(pool_with(0, nslabs=128))))
    wrong = released(1000, 1060, 127)
    judge.feed([found(1000, 1050, 0, 127), wrong, released(1000, 1100, 0)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree) == (2, 1)
    assert findings.first is not None
    assert findings.first.event == wrong
    assert len(findings.first.ordered_with) == 2
    assert findings.first.orders_tried > 0


def test_more_bytes_released_than_were_mapped_are_harm() -> None:
    judge = judging()
    gone = released(1200, 1300, 0)
    judge.feed([found(1000, 1100, 0), gone._replace(mapping_size_bytes=SLOT_BYTES + 1)])
    findings = judge.finish()
    assert findings.first is not None
    assert findings.first.violations[0].sentence == "release of 2049 bytes at 0x10000000, mapped were 2048"


def test_fewer_bytes_released_than_were_mapped_are_harm_unless_the_rest_is_padding() -> None:
    judge = judging()
    gone = released(1200, 1300, 0, 1)
    judge.feed([found(1000, 1100, 0, 3), gone, found(2000, 2100, 4, 2), released(2200, 2300, 4, 1)])
    findings = judge.finish()
    assert findings.first is not None
    assert findings.first.event == gone
    assert findings.disagree == 1


def test_the_devices_of_another_allocator_are_counted_apart() -> None:
    judge = judging()
    judge.feed([device(DEV + 1)._replace(mem=POOL + 0x800)])
    judge.feed([found(1000, 1100, 99, dev=DEV + 1), found(1200, 1300, 0), released(1400, 1500, 99, dev=DEV + 1)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive, findings.elsewhere) == (1, 0, 0, 2)


def test_from_where_the_next_search_goes_on_may_stay_uncertain_for_long() -> None:
    """Twice a short search comes before a long one, which goes round. But each time it may have come after it."""
    judge = judging(machine(state_of(empty_pool(128))))
    judge.feed([found(1000, 1010, 0, 100), released(1020, 1030, 0, 100)])
    judge.feed([found(2000, 2010, 0, 100), found(2000, 2020, 100)])
    judge.feed([released(2100, 2110, 0, 100), released(2120, 2130, 100)])
    judge.feed([found(3000, 3010, 100), found(3000, 3020, 0, 100)])
    judge.feed([released(3100, 3110, 0, 100), released(3120, 3130, 100)])
    judge.feed([found(4000, 4010, 100)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (11, 0, 0)


# ---- on which CPU a search began --------------------------------------------


def four_areas() -> MemState:
    return machine(state_of(Pool(POOL, START, 512, 4)))


@pytest.mark.parametrize("slot", [0, 128, 256, 384])
def test_a_search_that_was_not_seen_to_begin_may_have_begun_on_any_cpu(slot: int) -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 1100, slot, cpu=1)._replace(migrated=True)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (1, 0, 0)


def test_so_may_one_that_took_long_enough_to_move_there_and_back() -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 2_000_000, 384, cpu=1)])
    assert judge.finish().agree == 1


def test_a_slot_that_no_cpu_explains_is_wrong_wherever_the_search_began() -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 1100, 129, cpu=1)._replace(migrated=True)])
    assert judge.finish().disagree == 1


def test_a_search_that_was_seen_to_begin_began_there() -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 1100, 0, cpu=1)])
    assert judge.finish().disagree == 1


# ---- the list of pools ------------------------------------------------------


def test_a_list_of_pools_that_is_not_the_references_is_named_and_taken_over() -> None:
    judge = judging(two_copies())
    one_missing = machine(state_of(pool_with(0), 2_000_000_000, 2_000_000_010), can_grow=True)
    judge.state(one_missing)
    findings = judge.finish()
    assert findings.disagree == 1
    assert findings.first is not None
    assert findings.first.observed == f"the list of pools was read: {POOL:#x}"
    assert findings.first.expected == f"the list {POOL:#x}, {OLDER:#x}"


def test_a_list_that_was_read_while_a_pool_was_added_proves_nothing() -> None:
    judge = judging(machine(can_grow=True))
    at = 2_000_000_000
    judge.feed([allocated(at - 10, OLDER, OLDER_START, 512), grown(at - 20, at + 5, OLDER, OLDER_START, 512)])
    judge.state(machine(state_of(empty_pool(), at, at + 10), can_grow=True))
    findings = judge.finish()
    assert (findings.disagree, findings.inconclusive) == (0, 0)


def test_a_failure_the_reference_understands_is_explained() -> None:
    judge = judging(machine(state_of(empty_pool(128))))
    judge.feed([found(1000, 1100, 0, 100), searched_in_vain(1200, 1300, 29)])
    (failure,) = judge.finish().take_failures()
    assert (failure.dev, failure.explanation.cause) == (DEV, Cause.CANNOT_GROW)
    assert failure.explanation.pools_cause is Cause.EXHAUSTED
    assert judge.findings.take_failures() == []


def test_a_disagreement_is_told_in_full() -> None:
    judge = judging()
    wrong = found(1200, 1300, 2, 4)
    judge.feed([found(1000, 1100, 0, 4), wrong])
    first = judge.finish().first
    assert first is not None
    assert (first.operation, first.time_ns, first.event) == (2, 1300, wrong)
    assert first.observed == "4 slots (8192 bytes) on CPU 0: slot 2 of pool 0x10000000"
    assert first.expected == "slot 4 of pool 0x10000000 (area 0)"
    assert [violation.hazard for violation in first.violations] == [Hazard.OVERLAP]
    assert "[---" in first.picture


def test_only_the_first_disagreement_is_kept() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 40), found(1200, 1300, 90)])
    findings = judge.finish()
    assert findings.disagree == 2
    assert findings.first is not None
    assert findings.first.operation == 1


def test_harm_is_a_disagreement_though_the_reference_would_have_done_the_same() -> None:
    """A release of another address in the same slot frees the right slots, and should not have been."""
    judge = judging()
    taken = found(1000, 1100, 0)
    gone = released(1200, 1300, 0)
    judge.feed([taken, gone._replace(tlb_addr=gone.tlb_addr + 16)])
    findings = judge.finish()
    assert (findings.safety_violations, findings.verdict) == (1, Verdict.DISAGREE)
    assert findings.first is not None
    assert findings.first.expected == "no harm"


def test_after_a_state_that_disagrees_the_kernels_is_taken_over() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0)])
    judge.state(machine(state_of(pool_with(0, 1, 2), 2000, 2010)))
    judge.feed([released(3000, 3100, 2), found(3200, 3300, 3)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.safety_violations) == (3, 1, 0)
    assert findings.first is not None
    assert findings.first.observed == "the slots of pool 0x10000000 were read"


def test_a_pools_address_is_used_again_by_another() -> None:
    """Two transient pools, one after the other, in the same struct and in other memory."""
    judge = judging(machine(state_of(pool_with(*range(128), nslabs=128)), can_grow=True))
    here, there = START + (1 << 30), START + (2 << 30)
    for at, start in ((1000, here), (2000, there)):
        judge.feed(
            [
                allocated(at + 50, OLDER, start, 4),
                found(at, at + 100, 0, 4, pool=OLDER),
                released(at + 200, at + 300, 0, 4, pool=OLDER, start=start),
                PoolFree(at + 400, OLDER),
            ]
        )
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (4, 0, 0)


def test_a_transient_pool_of_another_size_than_was_asked_is_wrong() -> None:
    judge = judging(machine(state_of(pool_with(*range(128), nslabs=128)), can_grow=True))
    judge.feed([allocated(1050, OLDER, OLDER_START, 8), found(1000, 1100, 0, 4, pool=OLDER)])
    findings = judge.finish()
    assert findings.verdict is Verdict.DISAGREE
    assert findings.first is not None
    assert findings.first.expected == "no pool has room: a transient pool, or failure"


def test_a_pool_that_may_not_grow_and_does_is_wrong() -> None:
    judge = judging()
    judge.feed([allocated(1050, OLDER, OLDER_START, 512), grown(1000, 1100, OLDER, OLDER_START, 512)])
    findings = judge.finish()
    assert findings.first is not None
    assert findings.first.expected == "no growth"


def test_a_bounce_buffer_that_lost_its_low_bits_is_harm() -> None:
    judge = judging()
    judge.feed([device()._replace(min_align_mask=0xFFF), found(1000, 1100, 0)._replace(orig_addr=0x20_0800)])
    findings = judge.finish()
    assert findings.first is not None
    assert findings.first.expected == "slot 1 of pool 0x10000000 (area 0)"
    assert [violation.hazard for violation in findings.first.violations] == [Hazard.MISALIGNED_ADDRESS]


# ---- records that cannot be -------------------------------------------------


@pytest.mark.parametrize(("nslabs", "nareas"), [(512, 0), (2, 4), (1 << 40, 1)])
def test_a_pool_that_cannot_be_is_told_and_costs_no_memory(nslabs: int, nareas: int) -> None:
    judge = judging(machine(can_grow=True))
    judge.feed([allocated(1050, OLDER, OLDER_START, nslabs, nareas), searched_in_vain(1000, 1100, 129)])
    findings = judge.finish()
    assert findings.doubts == {"pool that cannot be": 1}
    assert (findings.agree, findings.disagree) == (1, 0)


@pytest.mark.parametrize("nothing", [found(1000, 1100, 0, 0), mapped(1000, 1100, 0, 0)], ids=["find", "map"])
def test_a_request_for_no_bytes_cannot_be_judged(nothing: Event) -> None:
    judge = judging()
    judge.feed([nothing, found(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {"request for no bytes": 1}
    assert findings.agree == 1
