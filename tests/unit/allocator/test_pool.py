"""One pool, by example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import (
    REVISIONS,
    Allocator,
    Limits,
    Mapping,
    Pool,
    Request,
    TooManyAreasError,
    explain,
)
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.runs import longest_run, run_length, run_starts

START = 1 << 28
KIB = 1024
ANY = Limits()
DEV = 7


def slots(count: int, orig_addr: int = 0, align_mask: int = 0, limits: Limits = ANY) -> Request:
    """A request for so many slots."""
    return Request(orig_addr, count << 11, align_mask, limits)


def one_area(nslabs: int = 512) -> Pool:
    return Pool(1, START, nslabs, 1)


def take(pool: Pool, request: Request, area: int = 0) -> int:
    slot = pool.search(area, request)
    pool.take(slot, request, DEV)
    return slot


def release(pool: Pool, slot: int) -> None:
    mapping = pool.find_mapping(slot_addr(pool.start, slot), 0)
    assert mapping is not None
    pool.release(mapping)


def test_a_search_goes_on_where_the_last_one_ended() -> None:
    pool = one_area()
    assert [take(pool, slots(1)) for _ in range(3)] == [0, 1, 2]
    release(pool, 0)
    assert pool.search(0, slots(1)) == 3


def test_a_search_comes_round_at_the_end_of_its_area() -> None:
    pool = Pool(1, START, 512, 2)
    for _ in range(2):
        take(pool, slots(128), area=1)
    assert pool.area_index == [0, 0]
    release(pool, 256)
    assert pool.search(1, slots(1)) == 256


def test_no_mapping_crosses_from_one_slot_set_to_the_next() -> None:
    pool = one_area()
    take(pool, slots(100))
    assert pool.search(0, slots(28)) == 100
    assert pool.search(0, slots(29)) == 128


def test_the_list_of_a_fresh_pool_counts_down_in_each_slot_set_and_ends_with_the_pool() -> None:
    assert one_area(200).free_list() == [*range(128, 0, -1), *range(72, 0, -1)]


def test_256_kib_is_the_most_a_mapping_can_have() -> None:
    assert one_area().search(0, slots(128)) == 0
    assert one_area().search(0, slots(129)) == -1


def test_an_area_is_refused_when_it_has_fewer_slots_left_than_asked_for() -> None:
    pool = Pool(1, START, 256, 2)
    take(pool, slots(127))
    assert pool.free_slots(0) == 1
    assert pool.search(0, slots(2)) == -1
    assert pool.search(0, slots(1)) == 127


def test_areas_that_are_no_whole_slot_sets_reach_into_each_other() -> None:
    pool = Pool(1, START, 200, 2)
    first = take(pool, slots(60))
    second = take(pool, slots(40))
    assert (first, second) == (0, 60)
    release(pool, second)
    assert take(pool, slots(40)) == 60
    release(pool, 0)
    pool.area_index[0] = 98
    release(pool, 60)
    assert take(pool, slots(20)) == 98
    assert pool.area_used == [20, 0]
    assert pool.area_index == [0, 0]
    assert pool.search(1, slots(1)) == 118


def test_a_page_or_more_is_page_aligned_where_nobody_asks_for_another_alignment() -> None:
    pool = one_area()
    take(pool, slots(1))
    assert pool.search(0, Request(0x1800, 4095, 0, ANY)) == 1
    assert pool.search(0, Request(0x1800, 4096, 0, ANY)) == 2
    assert pool.search(0, Request(0x1800, 4096, 0, Limits(min_align_mask=511))) == 1


def test_min_align_mask_keeps_the_bits_of_the_buffers_address() -> None:
    limits = Limits(min_align_mask=4095)
    request = REVISIONS["6.10"].request(512, 0x1A00, 0, limits)
    pool = one_area()
    slot = pool.search(0, request)
    assert request.alloc_size_bytes == 512 + 0x200
    assert slot == 1
    assert REVISIONS["6.10"].tlb_addr(pool.start, slot, request) == START + 0xA00


def test_alloc_align_mask_pads_before_the_buffer_and_fills_up_behind_it() -> None:
    limits = Limits(min_align_mask=0xFFFF)
    request = REVISIONS["6.10"].request(2048, 0x12_5800, 0x3FFF, limits)
    pool = one_area()
    slot = take(pool, request)
    assert request.alloc_size_bytes == 16 * KIB
    assert REVISIONS["6.10"].pad_slots(request) == 3
    assert slot == 8
    assert REVISIONS["6.10"].tlb_addr(pool.start, slot, request) == slot_addr(START, 11)
    assert REVISIONS["6.10"].tlb_addr(pool.start, slot, request) & 0xFFFF == 0x5800


def test_what_min_align_mask_and_alloc_align_mask_share_is_kept_by_padding() -> None:
    limits = Limits(min_align_mask=0xFFF)
    request = REVISIONS["6.10"].request(100, 0x1A10, 0xFFF, limits)
    pool = one_area()
    slot = take(pool, request)
    address = REVISIONS["6.10"].tlb_addr(pool.start, slot, request)
    assert address == START + 0xA10
    assert pool.find_mapping(address, 0xFFF) == Mapping(0, 2, 1, 4096, 0x1A10, DEV)


def test_a_segment_boundary_is_not_crossed() -> None:
    limits = Limits(seg_boundary_mask=(64 * KIB) - 1)
    pool = one_area()
    take(pool, slots(20))
    assert pool.search(0, slots(12, limits=limits)) == 20
    assert pool.search(0, slots(13, limits=limits)) == 32
    assert pool.search(0, slots(33, limits=limits)) == -1


def test_for_addresses_further_apart_than_a_slot_set_a_search_looks_at_each_slot() -> None:
    pool = Pool(1, 1 << 28, 1024, 1)
    anywhere, rare = Request(1 << 20, 2048, 0, Limits()), Request(1 << 20, 2048, (1 << 20) - 1, Limits())
    assert pool.search(0, anywhere) == 0
    assert pool.slots_looked_at == 0
    assert pool.search(0, rare) == 0
    assert pool.slots_looked_at == pool.nslabs


def test_what_a_search_looks_at_slot_by_slot_is_taken_off_the_patience() -> None:
    pool = Pool(1, 1 << 28, 1024, 1)
    allocator = Allocator.restricted(REVISIONS["6.10"], pool, dynamic=False)
    allocator.patience = 1024 // 4 + 1
    rare = Request(1 << 20, 2048, (1 << 20) - 1, Limits())
    assert allocator.find_slots(0, rare) == (pool, 0)
    assert (allocator.patience, pool.slots_looked_at) == (1, 0)
    with pytest.raises(TooManyAreasError):
        allocator.find_slots(0, rare)


def test_what_an_explanation_looks_at_is_not_taken_off_the_search_after_it() -> None:
    pool = Pool(1, 1 << 28, 1024, 1)
    allocator = Allocator.restricted(REVISIONS["6.10"], pool, dynamic=False)
    rare, small = Request(1 << 20, 2048, (1 << 20) - 1, Limits()), Request(1 << 20, 2048, 0, Limits())
    for slot in (512, 0):
        pool.take(slot, rare, DEV)
    allocator.patience = 100_000
    why = explain(allocator, 0, rare)
    assert why is not None
    explained_at = allocator.patience
    assert explained_at < 100_000
    assert allocator.find_slots(0, small) == (pool, 1)
    assert allocator.patience == explained_at


def test_a_stride_that_overshoots_the_areas_end_shortens_what_is_searched_after_it() -> None:
    # Free and aligned is only slot 32 of 100; the search starts at 40, strides 64 -> 96 -> 128.
    request = slots(1, align_mask=0xFFFF)
    pool = one_area(100)
    for slot in (0, 64, 96):
        pool.take(slot, slots(1), DEV)
    pool.area_index[0] = 60
    assert pool.search(0, request) == -1
    pool.area_index[0] = 61
    assert pool.search(0, request) == 32


def test_a_request_for_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match=r"^a request needs at least one slot$"):
        one_area().search(0, Request(0, 0, 0, ANY))


@pytest.mark.parametrize(("nslabs", "nareas"), [(0, 1), (4, 5), (128, 0)])
def test_a_pool_has_an_area_and_each_area_a_slot(nslabs: int, nareas: int) -> None:
    with pytest.raises(ValueError, match="areas"):
        Pool(1, START, nslabs, nareas)


@pytest.mark.parametrize(("slot", "count"), [(4, 1), (3, 2), (-1, 1), (127, 2), (200, 1), (199, 2), (128, 129), (5, 0)])
def test_slots_that_are_not_free_or_not_there_cannot_be_taken(slot: int, count: int) -> None:
    pool = one_area(200)
    pool.take(4, slots(1), DEV)
    with pytest.raises(ValueError, match="slot"):
        pool.take(slot, slots(count), DEV)


def test_force_takes_what_the_kernel_took_and_says_what_was_in_the_way() -> None:
    pool = one_area()
    kept, lost = take(pool, slots(4)), take(pool, slots(4))
    in_the_way = pool.force(6, slots(6), DEV)
    assert [m.slot for m in in_the_way] == [lost]
    assert [m.slot for m in pool.mappings()] == [kept, 6]
    assert pool.used_slots == 10
    assert pool.area_index == [12]


@pytest.mark.parametrize(("slot", "nslots"), [(120, 8), (190, 10)])
def test_force_cuts_a_run_at_the_end_of_its_slot_set_and_of_the_pool(slot: int, nslots: int) -> None:
    pool = one_area(200)
    pool.force(slot, slots(20), DEV)
    assert pool.mappings() == (Mapping(slot, nslots, 0, nslots << 11, 0, DEV),)


@pytest.mark.parametrize("forced", [False, True], ids=["a size without its padding", "a run that was cut"])
def test_a_buffer_begins_in_its_own_slots_and_not_in_its_neighbours(forced: bool) -> None:
    pool = one_area()
    padded = slots(2 if forced else 1, 0x1800, 0xFFF, Limits(min_align_mask=0xFFF))  # a slot of padding
    if forced:
        pool.force(127, padded, DEV)
    else:
        pool.take(127, padded, DEV)
    beside = pool.take(128, slots(1), DEV)
    assert [mapping.slot for mapping in pool.mappings()] == [127, 128]
    pool.undo(beside)
    release(pool, 127)
    assert not pool.used_slots


def test_only_what_is_live_can_be_released() -> None:
    pool = one_area()
    pool.take(0, slots(2), DEV)
    mapping = pool.mappings()[0]
    pool.release(mapping)
    with pytest.raises(KeyError):
        pool.release(mapping)


def test_an_address_inside_a_mapping_but_not_its_beginning_finds_none() -> None:
    pool = one_area()
    pool.take(8, slots(4), DEV)
    assert pool.find_mapping(slot_addr(START, 9), 0) is None
    assert pool.find_mapping(START - 1, 0) is None


def test_each_slot_of_a_mapping_is_its_own_and_a_free_one_is_nobodys() -> None:
    pool = one_area()
    mapping = pool.take(8, slots(4), DEV).mapping
    others = pool.take(12, slots(2), DEV).mapping
    assert [pool.mapping_over(slot) for slot in range(7, 15)] == [None, *[mapping] * 4, *[others] * 2, None]


def scattered() -> Pool:
    """Free are slots 0-9 and 15-24 of one slot set; 11 have been searched for in vain."""
    pool = one_area(128)
    for slot, count in ((25, 103), (10, 5)):
        pool.take(slot, slots(count), DEV)
    assert pool.search(0, slots(11)) == -1
    return pool


def test_a_run_that_a_release_joins_is_found_after_a_search_in_vain() -> None:
    pool = scattered()
    release(pool, 10)
    assert pool.search(0, slots(25)) == 0
    assert pool.search(0, slots(26)) == -1


def test_a_run_that_undoing_a_take_joins_is_found_after_a_search_in_vain() -> None:
    pool = one_area(128)
    pool.take(25, slots(103), DEV)
    undo = pool.take(10, slots(5), DEV)
    assert pool.search(0, slots(11)) == -1
    pool.undo(undo)
    assert pool.search(0, slots(25)) == 0


def test_undoing_a_release_takes_the_run_apart_again() -> None:
    pool = scattered()
    mapping = pool.find_mapping(slot_addr(START, 10), 0)
    assert mapping is not None
    undo = pool.release(mapping)
    assert pool.search(0, slots(25)) == 0
    pool.undo(undo)
    assert pool.search(0, slots(11)) == -1
    assert pool.find_mapping(slot_addr(START, 10), 0) is mapping


def test_the_longest_free_run_is_that_of_the_area_it_begins_in() -> None:
    pool = Pool(1, START, 384, 3)
    take(pool, slots(2))
    take(pool, slots(64), area=1)
    assert [pool.longest_free_slots(area) for area in range(3)] == [126, 64, 128]
    assert pool.longest_free_slots() == 128


@given(st.integers(20, 400), st.integers(1, 6), st.data())
def test_the_longest_free_run_is_the_largest_list_entry_of_the_area(
    nslabs: int, nareas: int, data: st.DataObject
) -> None:
    pool = Pool(1, START, nslabs, nareas)
    for slot in data.draw(st.sets(st.integers(0, nareas * pool.area_nslabs - 1), max_size=40)):
        pool.take(slot, slots(1), DEV)
    for area in range(nareas):
        begin = area * pool.area_nslabs
        assert pool.longest_free_slots(area) == max(pool.free_list()[begin : begin + pool.area_nslabs])


@given(st.integers(0, (1 << 128) - 1), st.integers(1, 128))
def test_runs_in_a_bit_mask_are_what_counting_says(free: int, nslots: int) -> None:
    length = [0] * 129
    for bit in range(127, -1, -1):
        length[bit] = length[bit + 1] + 1 if free >> bit & 1 else 0
    assert [run_length(free, bit) for bit in range(128)] == length[:128]
    assert longest_run(free) == max(length)
    assert run_starts(free, nslots) == sum(1 << bit for bit in range(128) if length[bit] >= nslots)


def test_the_size_asked_for_is_the_mappings_with_its_offset_rounded_up() -> None:
    assert REVISIONS["6.10"].request(1000, 0x1234, 0, ANY).alloc_size_bytes == 1000
    assert REVISIONS["6.10"].request(1000, 0x1234, 0, Limits(min_align_mask=0xFFF)).alloc_size_bytes == 1000 + 0x234
    assert REVISIONS["6.10"].request(1000, 0x1A34, 0xFFF, Limits(min_align_mask=0xFFF)).alloc_size_bytes == 4096


@pytest.mark.parametrize(
    ("dma_mask", "bus_limit", "limit"), [(0xFFFF, 0, 0xFFFF), (0xFFFF, 0xFF, 0xFF), (0, 0xFF, 0xFF)]
)
def test_a_transient_pool_lies_below_both_limits_that_are_set(dma_mask: int, bus_limit: int, limit: int) -> None:
    assert Limits(dma_mask=dma_mask, bus_dma_limit=bus_limit).phys_limit == limit


def test_free_slots_are_given_a_bit_mask_a_slot_set() -> None:
    pool = Pool(1, START, 130, 1)
    pool.take(1, Request(0, 3 << 11, 0, Limits()), 7)
    assert pool.free_masks() == ((1 << 128) - 1 - 0b1110, 0b11)


def test_so_many_mappings_are_told_or_none() -> None:
    pool = Pool(1, 1 << 28, 128, 1)
    for slot in range(3):
        pool.take(slot, Request(0, 1, 0, Limits()), 7)
    assert {mapping.slot for mapping in pool.held(3) or ()} == {0, 1, 2}
    assert pool.held(2) is None
