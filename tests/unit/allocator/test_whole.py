"""The allocator as a whole: mapping, growth and transient pools."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import DMA_MAPPING_ERROR, REVISIONS, Allocator, Limits, Pages, Pool, Request
from swiotlb_top.allocator.geometry import slot_addr

START, NEW, SPARE = 1 << 28, 2 << 28, 3 << 28
DEV, OTHER = 7, 8
ANY = Limits()
V6_10 = REVISIONS["6.10"]


def dynamic(nslabs: int = 128, can_grow: bool = True) -> Allocator:
    return Allocator(V6_10, [Pool(1, START, nslabs, 1)], nslabs, 1, can_grow=can_grow, dynamic=True)


def static(nslabs: int = 128) -> Allocator:
    return Allocator(V6_10, [Pool(1, START, nslabs, 1)], nslabs, 1, can_grow=False, dynamic=False)


def fill(allocator: Allocator) -> None:
    while allocator.map(0, DEV, 0x5000, 2048, 0, ANY) != DMA_MAPPING_ERROR:
        pass


def test_what_is_mapped_is_used_until_it_is_unmapped() -> None:
    swiotlb = static()
    address = swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY)
    assert (address, swiotlb.total_used) == (START, 3)
    mapping = swiotlb.unmap(DEV, address, 0)
    assert mapping is not None
    assert (mapping.nslots, mapping.orig_addr, mapping.dev) == (3, 0x5000, DEV)
    assert swiotlb.total_used == 0


def test_the_high_water_stays_where_no_more_is_used_than_once_was() -> None:
    swiotlb = static()
    swiotlb.unmap(DEV, swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY), 0)
    swiotlb.map(0, DEV, 0x5000, 2048, 0, ANY)
    assert (swiotlb.total_used, swiotlb.used_hiwater) == (1, 3)


@pytest.mark.parametrize("address", [START, START - 1, SPARE])
def test_what_is_not_mapped_cannot_be_unmapped(address: int) -> None:
    assert static().unmap(DEV, address, 0) is None


@pytest.mark.parametrize("allocator", [static(512), dynamic(512)])
def test_more_than_256_kib_is_refused_static_or_dynamic(allocator: Allocator) -> None:
    assert allocator.map(0, DEV, 0x5000, 256 << 10, 0, ANY) == START
    assert allocator.map(0, DEV, 0x5000, (256 << 10) + 1, 0, ANY, Pages(9, SPARE)) == DMA_MAPPING_ERROR


def test_an_allocator_without_a_pool_maps_nothing() -> None:
    empty = Allocator(V6_10, [], 512, 1, can_grow=False, dynamic=False)
    assert empty.nslabs == 0
    assert empty.map(0, DEV, 0x5000, 1, 0, ANY) == DMA_MAPPING_ERROR


def test_the_newest_pool_is_searched_first() -> None:
    swiotlb = dynamic()
    swiotlb.add_pool(Pool(2, NEW, 512, 1))
    assert swiotlb.nslabs == 640
    assert swiotlb.map(0, DEV, 0x5000, 100, 0, ANY) == NEW


def test_a_full_allocator_that_may_grow_gives_one_mapping_a_pool_of_its_own() -> None:
    swiotlb = dynamic()
    fill(swiotlb)
    address = swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE))
    assert address == SPARE
    assert [(p.address, p.nslabs, p.nareas) for p in swiotlb.transient[DEV]] == [(9, 3, 1)]
    assert (swiotlb.nslabs, swiotlb.transient_nslabs, swiotlb.total_used) == (128, 3, 131)


def test_a_transient_pool_goes_with_its_mapping() -> None:
    swiotlb = dynamic()
    fill(swiotlb)
    addresses = [swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9 + i, SPARE + (i << 16))) for i in range(2)]
    assert [pool.start for pool in swiotlb.transient[DEV]] == addresses[::-1]
    for address, left in zip(addresses, (3, 0), strict=True):
        mapping = swiotlb.unmap(DEV, address, 0)
        assert mapping is not None
        assert mapping.nslots == 3
        assert (swiotlb.transient_nslabs, swiotlb.total_used) == (left, 128 + left)
    assert swiotlb.transient == {}


def test_a_transient_pool_is_its_own_devices_only() -> None:
    swiotlb = dynamic()
    fill(swiotlb)
    swiotlb.map(0, DEV, 0x5000, 5000, 0, ANY, Pages(9, SPARE))
    assert swiotlb.find_pool(OTHER, SPARE) is None
    pool = swiotlb.find_pool(DEV, SPARE)
    assert pool is not None
    assert pool.transient
    swiotlb.add_transient(OTHER, Pool(10, NEW, 1, 1, transient=True))
    with pytest.raises(KeyError, match="no such transient pool"):
        swiotlb.delete_transient(OTHER, pool)


def test_memory_that_does_not_align_makes_no_transient_pool() -> None:
    swiotlb = dynamic()
    fill(swiotlb)
    limits = Limits(min_align_mask=0xFFFF)
    assert swiotlb.map(0, DEV, 0x15000, 2048, 0, limits, Pages(9, SPARE)) == DMA_MAPPING_ERROR
    assert swiotlb.map(0, DEV, 0x15000, 2048, 0, limits, Pages(9, SPARE + 0x5000)) == SPARE + 0x5000


def test_no_transient_pool_where_swiotlb_may_not_grow() -> None:
    swiotlb = dynamic(can_grow=False)
    fill(swiotlb)
    assert swiotlb.map(0, DEV, 0x5000, 2048, 0, ANY, Pages(9, SPARE)) == DMA_MAPPING_ERROR


def test_a_search_takes_nothing() -> None:
    swiotlb = static()
    request = Request(0x5000, 2048, 0, ANY)
    assert swiotlb.find_slots(0, request) == swiotlb.find_slots(0, request) == (swiotlb.pools[0], 0)
    assert swiotlb.total_used == 0


def test_another_cpu_searches_another_area() -> None:
    swiotlb = Allocator(V6_10, [Pool(1, START, 512, 4)], 512, 4, can_grow=False, dynamic=False)
    assert [swiotlb.map(cpu, DEV, 0x5000, 1, 0, ANY) for cpu in range(5)] == [
        slot_addr(START, slot) for slot in (0, 128, 256, 384, 1)
    ]


def test_a_static_allocator_has_one_pool_and_stays_so() -> None:
    with pytest.raises(ValueError, match="one pool"):
        Allocator(V6_10, [Pool(1, START, 128, 1)], 128, 1, can_grow=True, dynamic=False)
    with pytest.raises(ValueError, match="one pool"):
        static().add_pool(Pool(2, NEW, 128, 1))
    late = Allocator(V6_10, [], 128, 1, can_grow=False, dynamic=False)
    late.add_pool(Pool(1, START, 128, 1))
    assert late.nslabs == 128
