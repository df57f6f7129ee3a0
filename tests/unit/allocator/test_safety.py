"""What must never be, named when it is: no knowledge of the search needed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Hazard, Ledger, Limits, Pool, Request, Violation
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.safety import Entry

START = 1 << 28
POOL = 1
ANY = Limits()


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.add_pool(POOL, START, 256)
    return ledger


def slots(count: int) -> Request:
    return Request(0x5000, count << 11, 0, ANY)


def hazards(violations: tuple[Violation, ...]) -> list[Hazard]:
    return [violation.hazard for violation in violations]


def test_what_is_mapped_side_by_side_and_released_by_its_address_is_safe(ledger: Ledger) -> None:
    assert ledger.mapped(POOL, 0, slots(4)) == ()
    assert ledger.mapped(POOL, 4, slots(4)) == ()
    assert ledger.released(POOL, START, 0) == ()
    assert ledger.mapped(POOL, 0, slots(4)) == ()


def test_slots_given_out_twice_overlap(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(4))
    assert ledger.mapped(POOL, 2, slots(4)) == (
        Violation(Hazard.OVERLAP, "slots 2..5 were given out, 2 of them are in use"),
    )


def test_a_mapping_given_out_again_before_its_release_overlaps_once(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(4))
    assert hazards(ledger.mapped(POOL, 0, slots(2))) == [Hazard.OVERLAP]
    assert ledger.released(POOL, START, 0) == ()
    assert hazards(ledger.released(POOL, START, 0)) == [Hazard.NOT_MAPPED]


def test_slots_of_a_former_mapping_are_in_use_until_it_is_released_and_those_of_the_present_one_after_that(
    ledger: Ledger,
) -> None:
    ledger.mapped(POOL, 0, slots(8))
    ledger.mapped(POOL, 100, slots(8))
    assert hazards(ledger.mapped(POOL, 2, slots(2))) == [Hazard.OVERLAP]
    assert hazards(ledger.mapped(POOL, 6, slots(4))) == [Hazard.OVERLAP]
    ledger.former_released(POOL, 0, 0)
    assert ledger.mapped(POOL, 0, slots(2)) == ledger.mapped(POOL, 4, slots(2)) == ()
    assert [hazards(ledger.mapped(POOL, slot, slots(1))) for slot in (3, 6, 107)] == [[Hazard.OVERLAP]] * 3


def test_of_a_former_mapping_that_began_in_the_same_slot_nothing_is_left_to_release(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(8))
    assert hazards(ledger.mapped(POOL, 0, slots(2))) == [Hazard.OVERLAP]
    ledger.former_released(POOL, 0, 0)
    assert ledger.mapped(POOL, 2, slots(6)) == ()
    assert hazards(ledger.mapped(POOL, 1, slots(1))) == [Hazard.OVERLAP]


@pytest.mark.parametrize(("slot", "count"), [(250, 7), (-1, 2), (256, 1), (300, 4)])
def test_slots_outside_the_pool_are_out_of_bounds(ledger: Ledger, slot: int, count: int) -> None:
    assert hazards(ledger.mapped(POOL, slot, slots(count))) == [Hazard.OUT_OF_BOUNDS]


def test_slots_across_a_slot_sets_end_are_no_danger_in_themselves_but_overlap_there_too(ledger: Ledger) -> None:
    assert ledger.mapped(POOL, 120, slots(16)) == ()
    assert hazards(ledger.mapped(POOL, 130, slots(1))) == [Hazard.OVERLAP]
    assert ledger.released(POOL, slot_addr(START, 120), 0) == ()
    assert ledger.mapped(POOL, 124, slots(4)) == ()


def test_a_buffer_that_loses_the_bits_of_min_align_mask_is_misaligned(ledger: Ledger) -> None:
    request = REVISIONS["6.10"].request(512, 0x1A00, 0, Limits(min_align_mask=0xFFF))
    assert ledger.mapped(POOL, 1, request) == ()
    assert hazards(ledger.mapped(POOL, 2, request)) == [Hazard.MISALIGNED_ADDRESS]


def test_a_first_slot_that_is_not_at_alloc_align_mask_is_misaligned(ledger: Ledger) -> None:
    request = Request(0x5000, 4096, 0xFFF, ANY)
    assert ledger.mapped(POOL, 2, request) == ()
    assert hazards(ledger.mapped(POOL, 5, request)) == [Hazard.MISALIGNED_SLOT]


def test_a_mapping_across_a_segment_boundary_is_named(ledger: Ledger) -> None:
    request = slots(4)._replace(limits=Limits(seg_boundary_mask=0xFFFF))
    assert ledger.mapped(POOL, 28, request) == ()
    assert hazards(ledger.mapped(POOL, 62, request)) == [Hazard.SPANS_BOUNDARY]


def test_a_request_without_an_address_has_no_bits_to_keep(ledger: Ledger) -> None:
    assert ledger.mapped(POOL, 3, Request(0, 4096, 0, Limits(min_align_mask=0xFFFF))) == ()


def test_a_release_where_nothing_is_mapped_is_named(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(4))
    assert hazards(ledger.released(POOL, slot_addr(START, 1), 0)) == [Hazard.NOT_MAPPED]
    assert hazards(ledger.mapped(POOL, 1, slots(3))) == [Hazard.OVERLAP]


def test_a_release_by_another_address_in_the_first_slot_releases_and_is_named(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(4))
    assert ledger.released(POOL, START + 16, 0) == (
        Violation(Hazard.NOT_MAPPED, "release of 0x10000010, mapped was 0x10000000"),
    )
    assert ledger.mapped(POOL, 0, slots(4)) == ()


def test_a_second_release_is_named(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(4))
    assert ledger.released(POOL, START, 0) == ()
    assert hazards(ledger.released(POOL, START, 0)) == [Hazard.NOT_MAPPED]


def test_a_mapping_that_was_there_before_is_held_against_later_ones(ledger: Ledger) -> None:
    assert ledger.adopt(POOL, 8, 4, data_slot=9) == ()
    assert hazards(ledger.mapped(POOL, 11, slots(2))) == [Hazard.OVERLAP]
    assert ledger.released(POOL, slot_addr(START, 9) + 0x200, 0xFFF) == ()


def test_a_pool_nobody_told_of_is_named(ledger: Ledger) -> None:
    ledger.remove_pool(POOL)
    assert hazards(ledger.mapped(POOL, 0, slots(1))) == [Hazard.UNKNOWN_POOL]
    assert hazards(ledger.adopt(POOL, 0, 1, 0)) == [Hazard.UNKNOWN_POOL]
    assert hazards(ledger.released(POOL, START, 0)) == [Hazard.UNKNOWN_POOL]


def test_a_pool_at_a_known_address_is_a_new_pool(ledger: Ledger) -> None:
    ledger.mapped(POOL, 0, slots(1))
    ledger.add_pool(POOL, START, 128)
    assert ledger.mapped(POOL, 0, slots(1)) == ()


def test_what_was_entered_at_once_is_as_if_it_had_been_entered_one_by_one(ledger: Ledger) -> None:
    at_once = Ledger()
    at_once.add_pool(POOL, START, 256)
    for one in (ledger, at_once):
        one.mapped(POOL, 0, slots(2))
        one.mapped(POOL, 130, slots(3))
    ledger.released(POOL, START, 0)
    ledger.mapped(POOL, 1, slots(4))
    at_once.take_over(POOL, [0], {1: Entry(1, 4, slot_addr(START, 1))}, [0b11101, 0])
    assert [*at_once.entries(POOL)] == [*ledger.entries(POOL)]
    assert at_once.used_slots(POOL) == ledger.used_slots(POOL) == (0b11110, 0b11100)
    assert at_once.released(POOL, slot_addr(START, 1), 0) == ()


def test_of_a_pool_nobody_told_of_nothing_is_in_use(ledger: Ledger) -> None:
    assert ([*ledger.entries("other")], ledger.used_slots("other")) == ([], ())


def test_a_kernel_that_pads_no_slots_is_not_blamed_for_the_bits_it_cannot_keep_and_is_for_the_others() -> None:
    """Up to 6.8, where alloc_align_mask and min_align_mask both ask, one of them is given up."""
    ledger = Ledger(pads_slots=False)
    ledger.add_pool(POOL, START, 256)
    limits = Limits(min_align_mask=0x1FFF)
    assert ledger.mapped(POOL, 1, Request(0x5800, 4096, 0xFFF, limits._replace(min_align_mask=0xFFF))) == ()
    assert hazards(ledger.mapped(POOL, 8, Request(0x5800, 4096, 0xFFF, limits))) == [Hazard.MISALIGNED_ADDRESS]
    assert hazards(ledger.mapped(POOL, 16, Request(0x5800, 4096, 0, limits))) == [Hazard.MISALIGNED_ADDRESS]
    newer = Ledger()
    newer.add_pool(POOL, START, 256)
    assert Hazard.MISALIGNED_SLOT in hazards(newer.mapped(POOL, 1, Request(0x5800, 4096, 0xFFF, limits)))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 64 << 10),
            st.integers(1, 1 << 24),
            st.sampled_from([0, 0xFFF, 0x3FFF, 0xFFFF]),
            st.sampled_from([0, 0x1FF, 0xFFF, 0xFFFF]),
            st.sampled_from([0x3FFFF, 0xFFFFFFFF, (1 << 64) - 1]),
        ),
        max_size=60,
    ),
    st.integers(0, 255),
)
def test_what_the_reference_does_is_safe(asked: list[tuple[int, int, int, int, int]], page: int) -> None:
    start = START + (page << 12)
    pool, ledger = Pool(POOL, start, 512, 2), Ledger()
    ledger.add_pool(POOL, start, 512)
    live = []
    for i, (size, orig_addr, align_mask, min_align, boundary) in enumerate(asked):
        request = REVISIONS["6.10"].request(size, orig_addr, align_mask, Limits(boundary, min_align))
        slot = pool.search(i % 2, request)
        if slot >= 0:
            pool.take(slot, request, 7)
            assert ledger.mapped(POOL, slot, request) == ()
            live.append((REVISIONS["6.10"].tlb_addr(start, slot, request), min_align))
        elif live:
            address, min_align = live.pop(i % len(live))
            mapping = pool.find_mapping(address, min_align)
            assert mapping is not None
            pool.release(mapping)
            assert ledger.released(POOL, address, min_align) == ()
