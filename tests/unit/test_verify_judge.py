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


def judging(mem: MemState | None = None, *, pools_announced: bool = True) -> Judge:
    """A judge that has a state and knows the device."""
    judge = Judge(REVISIONS["6.12"], pools_announced=pools_announced)
    judge.state(mem or machine())
    judge.feed([device()])
    return judge


# ---- nothing is known -------------------------------------------------------


def test_silence_is_no_agreement() -> None:
    assert judging().finish().verdict is Verdict.INCONCLUSIVE


def test_before_any_state_nothing_can_be_said() -> None:
    judge = Judge(REVISIONS["6.12"])
    judge.feed([device(), found(1000, 1100, 0), released(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {"before the first state": 2}
    assert (findings.compared, findings.disagree, findings.verdict) == (0, 0, Verdict.INCONCLUSIVE)


def test_a_state_that_was_touched_while_it_was_read_is_no_state() -> None:
    judge = judging(machine(settled=False))
    judge.feed([found(1000, 1100, 0)])
    assert judge.blind
    assert judge.finish().doubts == {"before the first state": 1}


def test_what_ended_before_the_state_was_read_is_in_it_and_not_counted() -> None:
    judge = judging(machine(state_of(pool_with(0), 2000, 2010)))
    judge.feed([found(1000, 1100, 0), released(3000, 3100, 0)])
    findings = judge.finish()
    assert (findings.agree, findings.inconclusive, findings.disagree) == (1, 0, 0)


def test_a_device_that_never_introduced_itself_cannot_be_judged() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0, dev=DEV + 1), found(1200, 1300, 0)])
    findings = judge.finish()
    assert findings.doubts == {"device never introduced": 1}
    assert findings.agree == 1


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


def test_a_gap_among_the_events_is_as_one_told_of() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0), Gap(1100, 1200, 1, "ring buffer full"), found(2000, 2100, 99)])
    judge.state(machine(state_of(pool_with(0, 99), 3000, 3010)))
    judge.feed([found(4000, 4100, 100)])
    findings = judge.finish()
    assert findings.doubts == {"after lost events": 1}
    assert (findings.agree, findings.disagree) == (2, 0)


def test_a_state_that_was_touched_while_it_was_read_ends_no_gap() -> None:
    judge = judging()
    judge.gap(Gap(1100, 1200, 2, "ring buffer full"))
    judge.state(machine(state_of(pool_with(5), 3000, 3010), settled=False))
    judge.feed([released(4000, 4100, 5)])
    assert judge.finish().doubts == {"after lost events": 1}


# ---- while the state was read -----------------------------------------------


def two_copies() -> MemState:
    """A new pool copied in 0..10, an old one in 20..30."""
    return machine(
        state_of(pool_with(0), 0, 10),
        state_of(pool_with(0, address=OLDER, start=OLDER_START), 20, 30),
        can_grow=True,
    )


def test_what_came_after_its_pools_copy_but_before_anothers_is_taken_over_and_not_judged() -> None:
    judge = judging(two_copies())
    judge.feed([released(12, 15, 0), found(16, 18, 77), found(1000, 1100, 78), released(1200, 1300, 77)])
    findings = judge.finish()
    assert findings.doubts == {"while the state was read": 2}
    assert (findings.agree, findings.disagree) == (2, 0)


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
    judge.feed([found(SECOND - 20_000_000, SECOND - 15_000_000, 1), found(ENTRY_UNKNOWN, SECOND, 0)])
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


def test_overlapping_operations_that_cannot_be_sorted_out_in_time_are_inconclusive() -> None:
    judge = judging(machine(state_of(pool_with(*range(10)))))
    judge.feed([*(released(1000, 1100 + slot, slot) for slot in range(10)), found(1000, 1200, 300)])
    findings = judge.finish()
    assert findings.doubts == {"too many orders to try": 1}
    assert (findings.agree, findings.disagree, findings.verdict) == (10, 0, Verdict.INCONCLUSIVE)


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
