"""Kernel addresses are used again: a pool is the one that was at its address when the call took place."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.events import ENTRY_UNKNOWN, Event, PoolFree
from swiotlb_top.verify import Doubt, Findings, Judge, Verdict
from swiotlb_top.verify.operations.pools_by_address import KEPT_NS, PoolsByAddress
from tests.support.histories import (
    POOL,
    SLOT_BYTES,
    START,
    allocated,
    device,
    empty_pool,
    found,
    machine,
    mapped,
    released,
    state_of,
)

A, B, C = 0xA000, 0xB000, 0xC000
P1, P2 = START + (1 << 30), START + (2 << 30)
FULL = empty_pool(128)
TWO_POOLS_ONE_AFTER_THE_OTHER: tuple[Event, ...] = (
    found(1000, 1100, 0, 128),
    allocated(1250, A, P1, 4),
    found(1200, 1300, 0, 4, pool=A),
    PoolFree(1500, A),
    allocated(1650, A, P1, 8),
    found(1600, 1700, 0, 8, pool=A),
)
"""Two transient pools, the second at both addresses of the first, which was freed before."""


def judged(revision: str, events: Sequence[Event]) -> Findings:
    """Of a dynamic kernel whose only listed pool is filled by the first event of these."""
    judge = Judge(REVISIONS[revision])
    judge.state(machine(state_of(FULL), can_grow=True))
    judge.feed([device(), *events])
    return judge.finish()


# ---- the judge ---------------------------------------------------------------


@pytest.mark.parametrize("revision", ["6.6", "6.10", "7.3"])
@pytest.mark.parametrize("third", [A, C], ids=["address-again", "another-address"])
@pytest.mark.parametrize("map_hook", [False, True], ids=["find", "map"])
def test_three_transient_pools_of_which_the_last_has_the_first_ones_struct_and_the_second_ones_pages(
    revision: str, third: int, map_hook: bool
) -> None:
    events: list[Event] = [mapped(1000, 1100, 0, 128) if map_hook else found(1000, 1100, 0, 128)]
    at_ns = 2000
    for pool, start in ((A, P1), (B, P2), (third, P2)):
        events += [
            allocated(at_ns + 50, pool, start, 4),
            mapped(at_ns, at_ns + 100, 0, 4, start=start) if map_hook else found(at_ns, at_ns + 100, 0, 4, pool=pool),
            released(at_ns + 200, at_ns + 300, 0, 4, pool=0 if revision == "6.6" else pool, start=start),
            PoolFree(at_ns + 400, pool),
        ]
        at_ns += 1000
    findings = judged(revision, events)
    assert (findings.verdict, findings.agree, findings.first) == (Verdict.AGREE, 7, None)


@pytest.mark.parametrize("told", [A, 0], ids=["pool-told", "pool-not-told"])
def test_an_unmap_that_returns_after_its_pool_is_another_is_of_the_pool_that_was_there_when_it_was_entered(
    told: int,
) -> None:
    findings = judged(
        "6.6",
        [
            *TWO_POOLS_ONE_AFTER_THE_OTHER,
            released(1400, 1800, 0, 4, pool=told, start=P1),
            released(1900, 2000, 0, 8, pool=told, start=P1),
        ],
    )
    assert (findings.verdict, findings.agree, findings.first) == (Verdict.AGREE, 5, None)


def test_of_two_pools_an_unmap_whose_entry_was_not_seen_may_be_of_nobody_can_tell() -> None:
    findings = judged(
        "6.6",
        [
            *TWO_POOLS_ONE_AFTER_THE_OTHER,
            released(1400, 1800, 0, 4, pool=A, start=P1)._replace(entry_ns=ENTRY_UNKNOWN),
        ],
    )
    assert findings.verdict is Verdict.INCONCLUSIVE
    assert findings.doubts == {Doubt.SEVERAL_POOLS: 1}


def test_a_second_release_of_a_transient_mapping_is_harm_even_after_its_pool_was_freed() -> None:
    findings = judged(
        "6.10",
        [
            found(1000, 1100, 0, 128),
            allocated(1250, A, P1, 4),
            found(1200, 1300, 0, 4, pool=A),
            released(1400, 1450, 0, 4, pool=A, start=P1),
            PoolFree(1500, A),
            released(1600, 1700, 0, 4, pool=A, start=P1),
        ],
    )
    assert (findings.verdict, findings.disagree, findings.safety_violations) == (Verdict.DISAGREE, 1, 1)


@pytest.mark.parametrize("again", [4, 8])
def test_a_pool_that_did_not_fit_is_the_searches_even_if_its_memory_is_another_pools_when_that_returns(
    again: int,
) -> None:
    """Up to 7.2 it is freed at once, of which nothing is seen. A page's second half has no place in it."""
    second_half = found(1200, 1400, -1, 4)._replace(orig_addr=0x20_0800)
    findings = judged(
        "6.10",
        [
            found(1000, 1100, 0, 128),
            device(exit_ns=1150, min_align_mask=0xFFF),
            allocated(1250, A, P1, 4),
            allocated(1350, A, P1, again, cpu=1),
            found(1300, 1370, 0, again, pool=A, cpu=1),
            second_half,
        ],
    )
    assert (findings.verdict, findings.agree, findings.first) == (Verdict.AGREE, 3, None)


def test_a_release_is_not_of_a_pool_whose_memory_became_anothers_though_its_end_was_not_seen() -> None:
    """The first pool did not fit, and was freed unseen; the second is freed before the unmap of it returns."""
    findings = judged(
        "6.6",
        [
            found(1000, 1100, 0, 128),
            device(exit_ns=1150, min_align_mask=0xFFF),
            allocated(1250, A, P1, 4),
            found(1200, 1400, -1, 4)._replace(orig_addr=0x20_0800),
            allocated(2050, B, P1, 8),
            found(2000, 2100, 0, 8, pool=B),
            PoolFree(2300, B),
            released(2200, 2400, 0, 8, pool=0, start=P1),
        ],
    )
    assert (findings.verdict, findings.agree, findings.first) == (Verdict.AGREE, 4, None)


def test_a_pool_that_another_search_used_is_not_the_one_that_did_not_fit() -> None:
    """The search that failed was moved, and returns on the CPU on which another had a pool allocated meanwhile."""
    findings = judged(
        "6.10",
        [
            found(1000, 1100, 0, 128),
            allocated(1250, 0, 0, 0),
            allocated(1350, A, P1, 4, cpu=1),
            found(1300, 1370, 0, 4, pool=A, cpu=1),
            released(1375, 1380, 0, 4, pool=A, start=P1),
            found(1200, 1400, -1, 4, cpu=1),
        ],
    )
    assert (findings.verdict, findings.first) == (Verdict.AGREE, None)


# ---- the table ---------------------------------------------------------------


def test_the_youngest_pool_that_had_an_address_is_meant_and_a_freed_one_no_more() -> None:
    first, second, third = (empty_pool(4, address=a, start=s) for a, s in ((A, P1), (B, P2), (A, P2)))
    pools = PoolsByAddress([empty_pool()])
    pools.add(first, 10)
    pools.add(second, 20)
    assert (pools.now(A), pools.now_around(P1), pools.now_around(P2 + SLOT_BYTES)) == (first, first, second)
    pools.add(third, 30)
    assert (pools.now(A), pools.now_around(P1), pools.now_around(P2)) == (third, None, third)
    pools.free(A, 40)
    pools.free(B, 41)
    assert (pools.now(A), pools.now_around(P2), pools.now(POOL)) == (None, None, pools.now_around(START))


def test_a_freed_pool_is_remembered_for_calls_that_were_entered_before_and_then_forgotten() -> None:
    first, second = (empty_pool(4, address=A, start=P1) for _ in range(2))
    pools = PoolsByAddress([first])
    pools.free(A, 100)
    assert pools.released_in(A, P1, 90, 90) == (first,)
    pools.add(second, 100 + KEPT_NS + 1)
    assert pools.released_in(A, P1, 90, 90) == (first,)
    pools.free(A, 100 + KEPT_NS + 2)
    assert pools.released_in(A, P1, 90, 90) == ()
