"""Each failed map on which the model agrees is explained, by what it met: not by what came behind it."""

from __future__ import annotations

from swiotlb_top.allocator import Cause, Pool, Request
from swiotlb_top.verify import Judge, Verdict
from tests.support.histories import (
    LIMITS,
    SLOT_BYTES,
    device,
    found,
    judging,
    machine,
    pool_with,
    released,
    searched_in_vain,
    state_of,
)


def full_pool(*free: int, nslabs: int = 128, nareas: int = 1) -> Pool:
    """All slots are in use but these."""
    pool = pool_with(*(slot for slot in range(nslabs) if slot not in free), nslabs=nslabs)
    in_areas = Pool(pool.address, pool.start, nslabs, nareas)
    for mapping in pool.mappings():
        in_areas.take(mapping.slot, Request(mapping.orig_addr, SLOT_BYTES, 0, LIMITS), mapping.dev)
    return in_areas


def judged(judge: Judge) -> list[tuple[Cause, Cause, str]]:
    """The causes of the failures, those of the pools, and the sentences."""
    findings = judge.finish()
    assert (findings.verdict, findings.inconclusive) == (Verdict.AGREE, 0)
    return [failure.explanation[:3] for failure in findings.failures]


def test_a_release_that_overlaps_a_failure_and_came_behind_it_does_not_hide_why_it_failed() -> None:
    judge = judging(machine(state_of(full_pool())))
    judge.feed([device(), searched_in_vain(1000, 1100), released(1050, 1200, 0)])
    sentence = "needs 1 slots, 0 of 128 are free, and swiotlb may not grow"
    assert judged(judge) == [(Cause.CANNOT_GROW, Cause.EXHAUSTED, sentence)]


def test_failures_that_overlap_the_same_release_are_told_by_how_it_stood_for_each() -> None:
    judge = judging(machine(state_of(full_pool(0))))
    judge.feed(
        [
            device(),
            searched_in_vain(1000, 1100, 2),
            released(1050, 1200, 1),
            searched_in_vain(1210, 1300, 3, cpu=1),
            released(1220, 1310, 2),
            searched_in_vain(1290, 1320, 4),
        ]
    )
    assert [sentence.partition(" are free")[0] for _, _, sentence in judged(judge)] == [
        "needs 2 slots, 1 of 128",
        "needs 3 slots, 2 of 128",
        "needs 4 slots, 3 of 128",
    ]


def test_a_search_that_was_overtaken_says_so() -> None:
    """It looked at area 0, which was full, before a slot was released there; and at area 1 when its last was taken."""
    judge = judging(machine(state_of(full_pool(128, nslabs=256, nareas=2))), cpus=2)
    judge.feed([device(), released(1010, 1020, 0), found(1030, 1040, 128, cpu=1), searched_in_vain(1000, 1100)])
    sentence = (
        "needs 1 slots, each area had no room when the search looked at it, and some came free behind it, "
        "and swiotlb may not grow"
    )
    assert judged(judge) == [(Cause.CANNOT_GROW, Cause.OVERTAKEN, sentence)]
