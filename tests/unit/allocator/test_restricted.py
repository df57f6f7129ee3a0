"""Restricted pools: whole pages out of reserved memory, one area, and no growth."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import REVISIONS, Allocator, Hazard, Ledger, Limits, Pool, Request
from swiotlb_top.allocator.revision import MAINLINE

START = 1 << 28
DEV = 7
ANY = Limits()


def restricted(revision: str = "6.10", nslabs: int = 512, start: int = START, dynamic: bool = True) -> Allocator:
    pool = Pool(1, start, nslabs, 1, rule=REVISIONS[revision].rule)
    return Allocator.restricted(REVISIONS[revision], pool, dynamic=dynamic)


@pytest.mark.parametrize("revision", MAINLINE)
@pytest.mark.parametrize("dynamic", [False, True])
def test_pages_are_handed_out_and_taken_back(revision: str, dynamic: bool) -> None:
    swiotlb = restricted(revision, dynamic=dynamic and revision != "6.1")
    assert swiotlb.alloc(0, DEV, 4096, ANY) == START
    assert swiotlb.alloc(3, DEV, 4096, ANY) == START + 4096
    mapping = swiotlb.free(DEV, START)
    assert mapping is not None
    assert (mapping.slot, mapping.nslots, mapping.orig_addr) == (0, 2, 0)
    assert swiotlb.free(DEV, START) is None
    assert swiotlb.total_used == 2


@pytest.mark.parametrize("nslabs", [1, 3, 100, 300, 1000])
def test_reserved_memory_may_have_any_size_and_its_last_slot_set_be_short(nslabs: int) -> None:
    swiotlb = restricted(nslabs=nslabs)
    mapped = 0
    while swiotlb.map(5, DEV, 0x5000, 2048, 0, ANY) < 1 << 40:
        mapped += 1
    assert mapped == nslabs


# ---- a free list that runs on past the pool's end (up to 6.6.2, and 6.1 to this day) --------


def past_the_end() -> Allocator:
    """Of 140 slots, 136 to 143 are given out."""
    swiotlb = restricted("6.1", 140, dynamic=False)
    assert swiotlb.map(0, DEV, 0x5000, 256 << 10, 0, ANY) == START
    assert swiotlb.map(0, DEV, 0x5000, 16 << 10, 0, ANY) == START + (128 << 11)
    assert swiotlb.unmap(DEV, START, 0)
    assert swiotlb.map(0, DEV, 0x5000, 16 << 10, 0, ANY) == START + (136 << 11)
    return swiotlb


def test_slots_are_given_out_that_the_pool_has_not_and_the_ledger_says_so() -> None:
    pool = past_the_end().pools[0]
    mapping = pool.mappings()[-1]
    assert (mapping.slot, mapping.nslots, pool.nslabs, pool.list_end) == (136, 8, 140, 256)
    ledger = Ledger(pads_slots=False)
    ledger.add_pool(1, START, 140)
    found = ledger.mapped(1, 136, Request(0x5000, 16 << 10, 0, ANY))
    assert [violation.hazard for violation in found] == [Hazard.OUT_OF_BOUNDS]
    assert pool.free_list()[136:] == [0] * 4


def test_once_they_are_given_back_no_more_than_they_are_free_there() -> None:
    swiotlb = past_the_end()
    assert swiotlb.pools[0].free_list()[:1] == [128]
    assert swiotlb.unmap(DEV, START + (136 << 11), 0)
    assert swiotlb.pools[0].free_list()[136:] == [8, 7, 6, 5]
    assert swiotlb.map(0, DEV, 0x5000, 18 << 10, 0, ANY) == START  # nine slots: no more from 136 on


def test_slots_that_end_with_the_pool_are_given_back_to_its_end() -> None:
    swiotlb = restricted("6.1", 140, dynamic=False)
    pool = swiotlb.pools[0]
    assert pool.free_run(139) == 117
    assert swiotlb.map(0, DEV, 0x5000, 256 << 10, 0, ANY) == START
    assert swiotlb.map(0, DEV, 0x5000, 24 << 10, 0, ANY) == START + (128 << 11)
    assert swiotlb.unmap(DEV, START + (128 << 11), 0)
    assert pool.free_run(139) == 1


def test_what_was_given_back_behind_the_pool_stays_free_there() -> None:
    swiotlb = past_the_end()
    pool = swiotlb.pools[0]
    assert swiotlb.unmap(DEV, START + (136 << 11), 0)
    in_pool = pool.take(136, Request(0x5000, 8 << 10, 0, ANY), DEV)
    assert pool.free_list()[132:] == [0] * 8
    pool.release(in_pool.mapping)
    assert pool.free_list()[136:] == [8, 7, 6, 5]
    pool.undo(pool.take(136, Request(0x5000, 10 << 10, 0, ANY), DEV))
    across = pool.take(136, Request(0x5000, 10 << 10, 0, ANY), DEV)
    pool.release(across.mapping)
    assert pool.free_list()[136:] == [8, 7, 6, 5]


def test_undone_it_is_as_it_was() -> None:
    pool = restricted("6.1", 140, dynamic=False).pools[0]
    before = pool.free_list()
    taken = pool.take(132, Request(0x5000, 16 << 10, 0, ANY), DEV)
    given_back = pool.release(taken.mapping)
    assert pool.free_list() != before
    pool.undo(given_back)
    pool.undo(taken)
    assert pool.free_list() == before


def test_what_the_kernel_took_past_the_end_is_forced_whole() -> None:
    request = Request(0x5000, 16 << 10, 0, ANY)
    for revision, nslots in (("6.1", 8), ("6.10", 4)):
        pool = restricted(revision, 140, dynamic=False).pools[0]
        assert pool.force(136, request, DEV) == ()
        assert [mapping.nslots for mapping in pool.mappings()] == [nslots]


def test_what_another_state_of_it_has_past_the_end_is_taken_over() -> None:
    pool, other = restricted("6.1", 140, dynamic=False).pools[0], past_the_end().pools[0]
    pool.take_over(other, 0, range(140))
    assert pool.free_masks() == other.free_masks()
    assert pool.mappings() == other.mappings()


def test_a_restricted_pool_maps_as_well_and_does_not_grow() -> None:
    swiotlb = restricted(nslabs=4)
    assert swiotlb.map(0, DEV, 0x5000, 8192, 0, ANY) == START
    assert swiotlb.alloc(0, DEV, 4096, ANY) is None
    assert not swiotlb.growth_pending


def test_it_has_one_area() -> None:
    with pytest.raises(ValueError, match="one area"):
        Allocator.restricted(REVISIONS["6.10"], Pool(1, START, 512, 2), dynamic=True)


def test_no_pages_are_handed_out_by_what_can_grow() -> None:
    default = Allocator(REVISIONS["6.10"], [Pool(1, START, 512, 1)], 512, 1, can_grow=True, dynamic=True)
    with pytest.raises(ValueError, match="do not grow"):
        default.alloc(0, DEV, 4096, ANY)


def test_since_6_9_pages_are_aligned_to_their_number_rounded_up_to_a_power_of_two() -> None:
    swiotlb = restricted()
    assert swiotlb.alloc(0, DEV, 100, ANY) == START
    assert swiotlb.alloc(0, DEV, 3 * 4096, ANY) == START + 4 * 4096
    assert swiotlb.alloc(0, DEV, 4096, ANY) == START + 7 * 4096


@pytest.mark.parametrize("revision", ["seed-v4", "6.6", "6.8"])
def test_until_6_8_half_a_page_could_be_handed_out_twice(revision: str) -> None:
    """CVE-2024-35814: the search begins at an odd slot, and nothing aligns where there is no buffer."""
    swiotlb = restricted(revision)
    small = swiotlb.map(0, DEV, 0x5000, 2048, 0, ANY)
    page = swiotlb.alloc(0, DEV, 4096, ANY)
    assert small == page == START
    assert [(m.slot, m.nslots) for m in swiotlb.pools[0].mappings()] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("revision", ["6.1", "6.9", "6.10", "7.3"])
def test_before_and_after_a_whole_page_is_found(revision: str) -> None:
    swiotlb = restricted(revision)
    swiotlb.map(0, DEV, 0x5000, 2048, 0, ANY)
    assert swiotlb.alloc(0, DEV, 4096, ANY) == START + 4096


def test_slots_that_do_not_begin_a_page_are_given_back() -> None:
    """A boundary mask below a page hides that the pool begins in the middle of one."""
    swiotlb = restricted(start=START + 2048)
    assert swiotlb.alloc(0, DEV, 2048, Limits(seg_boundary_mask=0x7FF)) is None
    assert (swiotlb.total_used, swiotlb.used_hiwater) == (0, 1)
    assert swiotlb.pools[0].mappings() == ()


@pytest.mark.parametrize(("tracks", "hiwater"), [(False, 0), (True, 2)])
def test_the_high_water_mark_is_kept_in_reserved_memory_too_where_it_is_kept_at_all(tracks: bool, hiwater: int) -> None:
    revision = REVISIONS["7.3"]
    pool = Pool(1, START, 512, 1, rule=revision.rule)
    swiotlb = Allocator.restricted(revision, pool, dynamic=True, track_hiwater=tracks)
    swiotlb.alloc(0, DEV, 4096, ANY)
    assert swiotlb.used_hiwater == hiwater
