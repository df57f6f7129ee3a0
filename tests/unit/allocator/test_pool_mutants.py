"""What mutants of a pool showed that nobody looked at (docs/mutants.md)."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import (
    REVISIONS,
    Limits,
    Mapping,
    Pool,
    Request,
)
from tests.unit.allocator.test_pool import ANY, DEV, KIB, START, one_area, release, slots, take

# ---- what mutants showed that nobody looked at (docs/mutants.md) ---------------

PADDED = REVISIONS["6.10"].request(3000, 0x40_1A00, 0x3FFF, Limits(min_align_mask=0x3FFF))
"""Eight slots, three of which precede the buffer."""


def test_undoing_takes_and_releases_of_a_padded_mapping_finds_it_by_its_buffer() -> None:
    pool = one_area()
    pool.take(0, slots(1), DEV)
    taken = pool.take(8, PADDED, DEV)
    address = REVISIONS["6.10"].tlb_addr(START, 8, PADDED)
    released = pool.release(taken.mapping)
    assert pool.find_mapping(address, 0x3FFF) is None
    pool.undo(released)
    assert pool.find_mapping(address, 0x3FFF) is taken.mapping
    pool.undo(taken)
    assert pool.find_mapping(address, 0x3FFF) is None
    assert [mapping.slot for mapping in pool.mappings()] == [0]


def test_force_leaves_its_neighbours_alone() -> None:
    pool = one_area()
    for slot in (4, 5, 6, 7, 300):
        pool.take(slot, slots(1), DEV)
    in_the_way = pool.force(5, Request(0, (1 << 11) + 1, 0, ANY), DEV)
    assert [mapping.slot for mapping in in_the_way] == [5, 6]
    assert [(m.slot, m.nslots) for m in pool.mappings()] == [(4, 1), (5, 2), (7, 1), (300, 1)]


def test_a_full_slot_set_does_not_hide_the_runs_behind_it() -> None:
    pool = one_area(384)
    take(pool, slots(128))
    take(pool, slots(100))
    release(pool, 128)
    pool.take(130, slots(1), DEV)
    assert [pool.longest_free_slots() for _ in range(3)] == [128, 128, 128]
    pool.take(256, slots(1), DEV)
    assert [pool.longest_free_slots() for _ in range(3)] == [127, 127, 127]


def test_a_full_pool_has_no_run_at_all() -> None:
    pool = one_area(128)
    take(pool, slots(128))
    assert [pool.longest_free_slots() for _ in range(2)] == [0, 0]


def test_looking_at_one_areas_runs_does_not_forget_the_next_areas_in_the_same_slot_set() -> None:
    pool = Pool(1, START, 100, 2)
    pool.take(49, slots(1), DEV)
    assert pool.longest_free_slots(0) == 49
    assert pool.search(1, slots(50)) == 50


def test_what_cannot_be_taken_is_said_in_slots() -> None:
    pool = Pool(1, START, 131, 2)
    pool.take(4, slots(1), DEV)
    with pytest.raises(ValueError, match=r"^slots 2\.\.5 are not free$"):
        pool.take(2, slots(4), DEV)
    with pytest.raises(ValueError, match=r"^1 slots cannot be taken from slot 130$"):
        pool.take(130, slots(1), DEV)


@pytest.mark.parametrize("revision", ["6.1", "6.6"])
def test_up_to_6_8_a_pool_that_begins_at_an_odd_address_is_searched_all_the_same(revision: str) -> None:
    pool = Pool(1, START + 1, 128, 1, rule=REVISIONS[revision].rule)
    assert pool.search(0, slots(1)) == 0


def test_what_is_longer_than_a_segment_is_never_had() -> None:
    limits = Limits(seg_boundary_mask=(4 * KIB) - 1)
    assert one_area().search(0, slots(2, limits=limits)) == 0
    assert one_area().search(0, slots(3, limits=limits)) == -1


def test_a_run_that_spans_a_segment_boundary_is_passed_over_for_the_next_run() -> None:
    pool = one_area(128)
    two_slots = Request(0, 3000, 0, Limits(seg_boundary_mask=0xFFFF))
    pool.restore([sum(1 << slot for slot in (31, 32, 40, 41))], [124], [0], [])
    assert pool.search(0, two_slots) == 40


def test_a_pool_is_who_it_was_told_to_be() -> None:
    assert (Pool(9, START, 8, 1).address, Pool(9, START, 8, 1).transient) == (9, False)
    assert Pool(9, START, 8, 1, transient=True).transient is True


def test_a_pool_whose_first_slot_ends_a_segment_is_not_mapped_across_its_end() -> None:
    pool = Pool(1, START + 0xF800, 32, 1)
    assert pool.search(0, Request(0, 3000, 0, Limits(seg_boundary_mask=0xFFFF))) == 1


def test_a_pool_that_begins_anywhere_is_aligned_by_address_and_not_by_slot() -> None:
    pool = Pool(1, START + 3 * 2048, 32, 1)
    assert pool.search(0, Request(0x7800, 512, 0, Limits(min_align_mask=0x1FFF))) == 0
    assert pool.search(0, Request(0x6800, 512, 0, Limits(min_align_mask=0x1FFF))) == 2


def test_mappings_of_a_slot_set_are_found_whether_or_not_it_is_known_where_their_buffer_begins() -> None:
    pool = one_area(256)
    known, unknown, elsewhere = (Mapping(slot, 4, 0, 4 << 11, 0, DEV) for slot in (8, 20, 130))
    all_free = (1 << 128) - 1
    taken = [all_free & ~sum(0b1111 << m.slot for m in (known, unknown)), all_free & ~(0b1111 << 2)]
    pool.restore(taken, [12], [0], [(known, True), (unknown, False), (elsewhere, True)])
    assert pool.mappings_near(23) == (known, unknown)
    assert pool.mappings_near(255) == (elsewhere,)
