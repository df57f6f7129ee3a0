"""What the judge finds: the operation that is to blame, harm, and a state that is not the reference's."""

from __future__ import annotations

from itertools import product

import pytest

from swiotlb_top.allocator import REVISIONS, Cause, Hazard, Pool
from swiotlb_top.events import ENTRY_UNKNOWN, Event, PoolFree
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
    empty_pool,
    found,
    grown,
    judging,
    machine,
    pool_with,
    released,
    searched_in_vain,
    state_of,
    two_copies,
)

# ---- what is found ----------------------------------------------------------


def strangers() -> list[Event]:
    """Twenty searches at once, of which nobody knows what they asked for: after them any may have been the last."""
    return [found(1000, 1100 + at, 100 + 2 * at, dev=STRANGER) for at in range(20)]


def test_overlapping_operations_that_cannot_be_sorted_out_are_inconclusive_and_judging_goes_on() -> None:
    judge = judging()
    judge.feed([*strangers(), found(1000, 1200, 300), found(2000, 2100, 301), released(2200, 2300, 300)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.NEVER_INTRODUCED: 20, Doubt.TOO_MANY_ORDERS: 1}
    assert (findings.agree, findings.disagree, findings.verdict) == (2, 0, Verdict.INCONCLUSIVE)


def test_what_only_an_order_explains_that_was_too_much_to_look_for_is_inconclusive() -> None:
    """The first two can only have come first. That neither came last takes too many orders to prove."""
    judge = judging()
    judge.feed([found(1000, 1010, 0), found(1000, 1020, 1), *strangers()])
    judge.feed([released(2000, 2100, 1), found(2200, 2300, 1), found(2400, 2500, 2)])
    findings = judge.finish()
    assert findings.doubts == {Doubt.NEVER_INTRODUCED: 20, Doubt.TOO_MANY_ORDERS: 1}
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
    judge.feed([found(SECOND_NS, SECOND_NS + 10, 2, 3), found(SECOND_NS + 20, SECOND_NS + 30, 6, 122)])
    later = 2 * SECOND_NS
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
    assert findings.first.orders
    assert len(findings.first.orders.ordered_with) == 2
    assert findings.first.orders.tried > 0


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


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("align_mask", [0xFFF, 0x3FFF, 0xFFFF])
def test_a_buffer_anywhere_in_its_page_that_an_iommu_rounds_up_is_released_by_the_drivers_own_size(
    revision: str, align_mask: int
) -> None:
    """An NVMe disk keeps the place in its page; iommu-dma asks for whole pages, and unmaps what was mapped."""
    rule_of = REVISIONS[revision]
    limits = LIMITS._replace(min_align_mask=0xFFF)
    for offset, size_bytes in product(range(0, 4096, 256), (64, 1000, 2048, 5000)):
        pool = Pool(POOL, START, 512, 1, rule=rule_of.rule)
        request = rule_of.request(size_bytes, 0x40_0000 + offset, align_mask, limits)
        slot = pool.search(0, request)
        judge = Judge(rule_of)
        judge.state(machine(state_of(pool)))
        find = found(1000, 1100, slot)._replace(
            orig_addr=request.orig_addr, alloc_size_bytes=request.alloc_size_bytes, alloc_align_mask=align_mask
        )
        unmap = released(1200, 1300, 0)._replace(
            tlb_addr=rule_of.tlb_addr(START, slot, request), mapping_size_bytes=size_bytes
        )
        judge.feed([device(min_align_mask=0xFFF), find, unmap])
        assert judge.finish().verdict is Verdict.AGREE, (offset, size_bytes, judge.findings.first)


def test_a_release_of_more_bytes_than_were_mapped_is_harm_however_the_mapping_was_padded() -> None:
    judge = judging()
    padded = found(1000, 1100, 0, 4)._replace(orig_addr=0x40_0800, alloc_align_mask=0xFFF)
    judge.feed([device(min_align_mask=0xFFF), padded, released(1200, 1300, 1, 4)])
    findings = judge.finish()
    assert (findings.disagree, findings.safety_violations) == (1, 1)
