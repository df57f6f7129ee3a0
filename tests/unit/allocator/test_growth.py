"""How an allocator grows: one work item, a transient pool for who could not wait, memory that may not be had."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import DMA_MAPPING_ERROR, REVISIONS, Allocator, Limits, Pages, Pool
from swiotlb_top.allocator.allocator import NO_LIMIT
from swiotlb_top.allocator.differences import SEED

START, NEW, SPARE = 1 << 28, 2 << 28, 3 << 28
DEV, OTHER = 7, 8
ANY = Limits()
GROWING = [SEED, "6.6", "6.8", "6.9", "6.10", "7.3"]


def full(revision: str = "6.10", phys_limit: int = NO_LIMIT) -> Allocator:
    """A pool of 512 slots, all in use, of a kernel booted with 2048 and four areas."""
    pool = Pool(1, START, 512, 1, rule=REVISIONS[revision].rule)
    swiotlb = Allocator(REVISIONS[revision], [pool], 2048, 4, can_grow=True, dynamic=True, phys_limit=phys_limit)
    for _ in range(4):
        swiotlb.map(0, DEV, 0x5000, 256 << 10, 0, ANY)
    assert not swiotlb.growth_pending
    return swiotlb


class Memory:
    """Has pages for pools of these sizes, and writes down what was asked for."""

    def __init__(self, *nslabs: int) -> None:
        self.nslabs = nslabs
        self.asked: list[int] = []

    def __call__(self, nslabs: int) -> Pages | None:
        self.asked.append(nslabs)
        return Pages(0x100 + nslabs, NEW) if nslabs in self.nslabs else None


@pytest.mark.parametrize("revision", GROWING)
def test_a_mapping_that_finds_no_room_schedules_growth_and_has_a_pool_of_its_own(revision: str) -> None:
    swiotlb = full(revision)
    assert swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE)) == SPARE
    assert swiotlb.growth_pending
    assert (swiotlb.nslabs, swiotlb.transient_nslabs) == (512, 3)


def test_without_memory_for_that_pool_the_mapping_fails_and_growth_is_scheduled_all_the_same() -> None:
    swiotlb = full()
    assert swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY) == DMA_MAPPING_ERROR
    assert swiotlb.growth_pending


def test_requests_while_growth_is_pending_coalesce() -> None:
    swiotlb = full()
    for _ in range(3):
        swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY)
    memory = Memory(2048)
    assert swiotlb.run_worker(memory) is swiotlb.pools[0]
    assert memory.asked == [2048]
    assert not swiotlb.growth_pending
    with pytest.raises(ValueError, match="no growth is pending"):
        swiotlb.run_worker(lambda nslabs: None)


def test_the_worker_adds_the_default_size_to_the_head_of_the_list() -> None:
    swiotlb = full()
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY)
    pool = swiotlb.run_worker(lambda nslabs: Pages(2, NEW))
    assert pool is not None
    assert (pool.address, pool.start, pool.nslabs, pool.nareas, pool.transient) == (2, NEW, 2048, 4, False)
    assert [p.address for p in swiotlb.pools] == [2, 1]
    assert swiotlb.nslabs == 512 + 2048
    assert swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY) == NEW


def test_the_worker_halves_until_memory_can_be_had() -> None:
    swiotlb = full()
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY)
    memory = Memory(512)
    pool = swiotlb.run_worker(memory)
    assert memory.asked == [2048, 1024, 512]
    assert pool is not None
    assert (pool.nslabs, pool.nareas) == (512, 4)
    assert swiotlb.growth_failures == 0


def test_a_worker_without_memory_fails_is_counted_and_may_be_asked_again() -> None:
    swiotlb = full()
    for failures in (1, 2):
        swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY)
        assert swiotlb.run_worker(lambda nslabs: None) is None
        assert (swiotlb.growth_failures, swiotlb.nslabs, swiotlb.growth_pending) == (failures, 512, False)


def test_memory_above_the_allocators_limit_is_not_had() -> None:
    swiotlb = full(phys_limit=NEW + (1024 << 11) - 1)
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY)
    pool = swiotlb.run_worker(lambda nslabs: Pages(2, NEW))
    assert pool is not None
    assert pool.nslabs == 1024


@pytest.mark.parametrize(("dma_mask", "had"), [(SPARE + 0x17FF, True), (SPARE + 0x17FE, False)])
def test_memory_the_device_cannot_reach_makes_no_transient_pool(dma_mask: int, had: bool) -> None:
    swiotlb = full()
    limits = Limits(dma_mask=dma_mask)
    assert (swiotlb.map(0, DEV, 0x5000, 5000, 0, limits, Pages(9, SPARE)) == SPARE) is had


@pytest.mark.parametrize(("revision", "pending"), [(SEED, True), ("6.6", True), ("6.8", False), ("6.10", False)])
def test_for_more_than_256_kib_swiotlb_grew_until_6_7_and_failed_all_the_same(revision: str, pending: bool) -> None:
    swiotlb = full(revision)
    assert swiotlb.map(0, DEV, 0x5000, (256 << 10) + 1, 0, ANY, Pages(9, SPARE)) == DMA_MAPPING_ERROR
    assert swiotlb.growth_pending is pending


def test_a_transient_pool_is_no_larger_than_the_page_allocators_largest_block() -> None:
    for revision, nslabs in ((SEED, 4096), ("6.6", 2048)):
        swiotlb = full(revision)
        request = swiotlb.revision.request(8 << 20, 0x5000, 0, ANY)
        assert swiotlb.transient_pool(request, Pages(9, SPARE)).nslabs == nslabs


def test_the_memory_of_a_transient_pool_is_free_after_a_grace_period() -> None:
    swiotlb = full()
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE))
    assert swiotlb.unmap(OTHER, SPARE, 0) is None
    assert swiotlb.unmap(DEV, SPARE, 0) is not None
    assert swiotlb.find_pool(DEV, SPARE) is None
    assert swiotlb.unmap(DEV, SPARE, 0) is None
    assert [pool.address for pool in swiotlb.awaiting_grace] == [9]
    assert [pool.start for pool in swiotlb.end_grace_period()] == [SPARE]
    assert swiotlb.end_grace_period() == ()


@pytest.mark.parametrize(("revision", "waiting"), [("6.6", 0), ("6.10", 0), ("7.3", 1)])
def test_a_transient_pool_that_does_not_align_was_freed_at_once_and_waits_in_7_3(revision: str, waiting: int) -> None:
    swiotlb = full(revision)
    limits = Limits(min_align_mask=0xFFFF)
    assert swiotlb.map(0, DEV, 0x15000, 2048, 0, limits, Pages(9, SPARE)) == DMA_MAPPING_ERROR
    assert swiotlb.transient == {}
    assert len(swiotlb.awaiting_grace) == waiting


@pytest.mark.parametrize(
    ("revision", "used"), [(SEED, 512), ("6.6", 515), ("6.8", 515), ("6.9", 515), ("6.10", 515), ("7.3", 512)]
)
def test_io_tlb_used_counts_transient_pools_or_not(revision: str, used: int) -> None:
    swiotlb = full(revision)
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE))
    assert swiotlb.total_used == used


def test_the_high_water_mark_is_the_most_there_was_until_it_is_reset() -> None:
    swiotlb = full()
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE))
    swiotlb.unmap(DEV, SPARE, 0)
    swiotlb.unmap(DEV, START, 0)
    assert (swiotlb.total_used, swiotlb.used_hiwater) == (384, 515)
    swiotlb.reset_hiwater()
    assert swiotlb.used_hiwater == 0
    swiotlb.map(0, DEV, 0x5000, 2048, 0, ANY)
    assert swiotlb.used_hiwater == 385


def test_the_high_water_mark_begins_with_what_was_mapped_before() -> None:
    pool = full().pools[0]
    swiotlb = Allocator(REVISIONS["6.10"], [pool], 512, 1, can_grow=False, dynamic=False)
    assert swiotlb.used_hiwater == 512


def test_7_3_keeps_a_high_water_mark_only_if_booted_so() -> None:
    assert full("7.3").used_hiwater == 0
    tracking = Allocator(
        REVISIONS["7.3"], [Pool(1, START, 8, 1)], 512, 1, can_grow=True, dynamic=True, track_hiwater=True
    )
    tracking.map(0, DEV, 0x5000, 16384, 0, ANY)
    tracking.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE))
    assert (tracking.used_hiwater, tracking.total_used) == (11, 11)


def test_6_1_keeps_none() -> None:
    old = Allocator(REVISIONS["6.1"], [Pool(1, START, 512, 1)], 512, 1, can_grow=False, dynamic=False)
    assert old.used_hiwater == -1
