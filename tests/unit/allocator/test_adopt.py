"""A snapshot of the kernel's slots becomes a pool, and what cannot be in it is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swiotlb_top.allocator import REVISIONS, Flaw, Limits, Mapping, Request, adopt
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.state import AreaState, PoolState
from tests.support.slot_by_slot import INVALID, Slots
from tests.unit.allocator.test_matches_slot_by_slot import kernel_state

START = 1 << 28


def mapped(
    slots: Slots, size: int, orig_addr: int, align_mask: int = 0, min_align: int = 0, finish: bool = True
) -> int:
    """Map on the kernel's slots, all of the way or only through find_slots."""
    request = REVISIONS["6.10"].request(size, orig_addr, align_mask, Limits(min_align_mask=min_align))
    slot = slots.search(0, *request[:3], (1 << 64) - 1, min_align)
    slots.take(slot, orig_addr, request.alloc_size_bytes, min_align)
    return slots.map(slot, orig_addr, request.alloc_size_bytes, align_mask, min_align) if finish else slot


def changed(state: PoolState, column: str, slot: int, value: int) -> PoolState:
    values = list(getattr(state, column))
    values[slot] = value
    columns: dict[str, Any] = {column: tuple(values)}
    return replace(state, **columns)


@pytest.fixture
def state() -> PoolState:
    """Slots 0-2, 3 (two mappings side by side), and 8-15 with 3 slots of padding."""
    slots = Slots(START, 256, 2)
    mapped(slots, 5000, 0x9800, min_align=0x7FF)
    mapped(slots, 100, 0x5000)
    mapped(slots, 9000, 0x12_5800, 0x3FFF, 0xFFFF)
    return kernel_state(slots)


def flaws(state: PoolState) -> list[tuple[Flaw, int]]:
    return [problem[:2] for problem in adopt(state).problems]


def test_without_a_look_for_problems_the_pool_is_the_same_and_none_is_named(state: PoolState) -> None:
    torn = changed(state, "list_", 20, 7)
    looked, only_begun = adopt(torn), adopt(torn, check=False)
    assert looked.problems
    assert only_begun.problems == ()
    assert only_begun.pool.free_list() == looked.pool.free_list()
    assert only_begun.pool.mappings() == looked.pool.mappings()


def test_mappings_side_by_side_are_told_apart(state: PoolState) -> None:
    pool, problems = adopt(state)
    assert problems == ()
    assert pool.mappings() == (
        Mapping(0, 3, 0, 5000, 0x9800, 0),
        Mapping(3, 1, 0, 100, 0x5000, 0),
        Mapping(8, 8, 3, 16384, 0x12_5800, 0),
    )
    assert pool.settled
    assert (pool.area_used, pool.area_index) == ([12, 0], [16, 0])


def test_a_mapping_caught_before_its_end_is_found_by_any_of_its_slots_once() -> None:
    slots = Slots(START, 128, 1)
    mapped(slots, 5000, 0x9000, finish=False)
    pool, problems = adopt(kernel_state(slots))
    assert problems == ()
    assert pool.mappings_near(0) == pool.mappings()
    assert not pool.settled
    for slot in range(3):
        mapping = pool.find_mapping(slot_addr(START, slot), 0)
        assert mapping is not None
        undo = pool.release(mapping)
        assert pool.used_slots == 0
        assert pool.find_mapping(slot_addr(START, slot), 0) is None
        with pytest.raises(KeyError):
            pool.release(mapping)
        pool.undo(undo)
        assert pool.used_slots == 3


def test_a_mapping_of_another_pool_is_not_released_in_place_of_one_caught_before_its_end() -> None:
    slots = Slots(START, 128, 1)
    mapped(slots, 5000, 0x9000, finish=False)
    pool = adopt(kernel_state(slots)).pool
    with pytest.raises(KeyError, match="not live"):
        pool.release(Mapping(0, 3, 0, 5000, 0x9000, 7))
    assert pool.used_slots == 3


def test_a_last_slot_below_zero_bytes_belongs_to_its_mapping() -> None:
    # 2 KiB at offset 0x7f0 need two slots; alloc_size of the second is 0x10 - 0x7f0 - ... < 0.
    slots = Slots(START, 128, 1)
    address = mapped(slots, 0x10, 0x57F8, min_align=0x7FF)
    assert slots.alloc_size[1] == (0x10 - 0x800) % (1 << 64)
    pool = adopt(kernel_state(slots)).pool
    mapping = pool.find_mapping(address, 0x7FF)
    assert mapping is not None
    assert mapping.nslots == 2


@pytest.mark.parametrize(
    ("column", "slot", "value", "flaw"),
    [
        ("list_", 40, 3, (Flaw.FREE_LIST, 40)),
        ("alloc_size", 40, 1, (Flaw.FREE_SLOT_NOT_CLEAN, 40)),
        ("orig_addr", 40, 1, (Flaw.FREE_SLOT_NOT_CLEAN, 40)),
        ("pad_slots", 40, 1, (Flaw.FREE_SLOT_NOT_CLEAN, 40)),
        ("alloc_size", 3, 0, (Flaw.ALLOC_SIZE, 3)),
        ("alloc_size", 3, 9000, (Flaw.ALLOC_SIZE, 3)),
        ("orig_addr", 1, 0x9800, (Flaw.ORIG_ADDR, 0)),
        ("pad_slots", 11, 2, (Flaw.PAD_SLOTS, 11)),
        ("pad_slots", 12, 1, (Flaw.PAD_SLOTS, 11)),
    ],
)
def test_one_wrong_member_is_one_named_problem(
    state: PoolState, column: str, slot: int, value: int, flaw: tuple[Flaw, int]
) -> None:
    assert flaws(changed(state, column, slot, value)) == [flaw]


def test_an_areas_wrong_used_and_index_are_named_and_the_kernels_used_is_kept(state: PoolState) -> None:
    areas = (AreaState(11, 16), AreaState(0, 128))
    pool, problems = adopt(replace(state, areas=areas))
    assert [problem[:2] for problem in problems] == [(Flaw.AREA_USED, 0), (Flaw.AREA_INDEX, 1)]
    assert pool.area_used == [11, 0]
    assert pool.area_index == [16, 127]


def test_areas_of_another_size_than_nslabs_allows_are_named(state: PoolState) -> None:
    assert flaws(replace(state, area_nslabs=64)) == [(Flaw.GEOMETRY, 0)]


def test_slots_behind_the_last_area_that_are_in_use_are_named_and_stay_in_use() -> None:
    state = kernel_state(Slots(START, 101, 2))
    state = changed(changed(changed(state, "list_", 100, 0), "alloc_size", 100, 7), "orig_addr", 100, 0x5000)
    for slot in range(100):
        state = changed(state, "list_", slot, 100 - slot)
    pool, problems = adopt(state)
    assert [problem[:2] for problem in problems] == [(Flaw.OUTSIDE_AREAS, 100)]
    assert pool.free_run(100) == 0
    assert pool.mappings() == ()


def test_a_free_list_that_runs_past_the_pools_end_is_named() -> None:
    # As CVE-2023-52790 had it: a pool shorter than a slot set, initialised as if it were whole.
    state = kernel_state(Slots(START, 8, 1))
    assert flaws(replace(state, list_=tuple(range(128, 120, -1)))) == [(Flaw.FREE_LIST, slot) for slot in range(8)]


@pytest.mark.parametrize("taken_slots", [0, 3, 8])
def test_by_a_kernel_whose_list_runs_past_the_end_it_is_as_it_must_be(taken_slots: int) -> None:
    """Up to 6.6.2: a pool of 8 slots says that 128 are free."""
    slots = Slots(START, 8, 1, "6.1")
    if taken_slots:
        mapped(slots, taken_slots << 11, 0x5000)
    pool, problems = adopt(kernel_state(slots), rule=REVISIONS["6.1"].rule)
    assert problems == ()
    assert pool.free_list() == slots.list_
    assert pool.longest_free_slots() == (128 - taken_slots if taken_slots < 8 else 0)


def test_what_was_given_back_behind_the_pool_is_read_from_its_last_slot() -> None:
    """Of a pool of 8 slots, 6 to 11 were given out and taken back."""
    state = kernel_state(Slots(START, 8, 1, "6.1"))
    given_back = replace(state, list_=tuple(range(12, 4, -1)))
    pool, problems = adopt(given_back, rule=REVISIONS["6.1"].rule)
    assert problems == ()
    taken = pool.take(6, Request(0x5000, 4 << 10, 0, Limits()), 7)
    pool.release(taken.mapping)
    assert pool.free_list() == list(range(12, 4, -1))
    untouched = adopt(state, rule=REVISIONS["6.1"].rule).pool
    untouched.release(untouched.take(6, Request(0x5000, 4 << 10, 0, Limits()), 7).mapping)
    assert untouched.free_list() == list(range(8, 0, -1))


def test_by_such_a_kernel_too_a_list_that_is_wrong_is_named() -> None:
    state = changed(kernel_state(Slots(START, 8, 1, "6.1")), "list_", 7, 200)
    found = adopt(state, rule=REVISIONS["6.1"].rule).problems
    assert [(problem.flaw, problem.where) for problem in found] == [(Flaw.FREE_LIST, 7)]


def test_a_mapping_across_two_slot_sets_is_two_of_which_the_first_is_too_short() -> None:
    slots = Slots(START, 256, 1)
    slots.take(126, 0x5000, 5 << 11, 0)
    slots.map(126, 0x5000, 5 << 11, 0, 0)
    slots.list_[126:131] = [0] * 5
    assert flaws(kernel_state(slots)) == [(Flaw.ALLOC_SIZE, 126)]


def test_columns_of_the_wrong_length_are_refused(state: PoolState) -> None:
    with pytest.raises(ValueError, match="as long as"):
        adopt(replace(state, alloc_size=state.alloc_size[:-1]))


def test_a_mapping_whose_addresses_are_half_written_is_named() -> None:
    slots = Slots(START, 128, 1)
    mapped(slots, 5000, 0x9000)
    slots.orig_addr[2] = INVALID
    assert flaws(kernel_state(slots)) == [(Flaw.ORIG_ADDR, 0)]


def test_a_mapping_caught_before_its_end_is_found_by_none_but_its_slots_and_can_be_released() -> None:
    slots = Slots(START, 256, 1)
    for size in (2048, 2048, 5000):
        mapped(slots, size, 0x5000, finish=size < 4096)
    slots.release(START + 2048, 0)
    pool = adopt(kernel_state(slots)).pool
    assert pool.find_mapping(slot_addr(START, 1), 0) is None
    caught = pool.find_mapping(slot_addr(START, 2), 0)
    assert caught is not None
    assert (caught.slot, caught.nslots) == (2, 3)
    undo = pool.release(caught)
    assert [mapping.slot for mapping in pool.mappings()] == [0]
    pool.undo(undo)
    assert [mapping.slot for mapping in pool.mappings()] == [0, 2]
    assert pool.find_mapping(slot_addr(START, 1), 0) is None


def test_a_padded_mapping_is_found_by_its_buffer(state: PoolState) -> None:
    found = adopt(state).pool.find_mapping(slot_addr(START, 11), 0)
    assert found is not None
    assert (found.slot, found.pad_slots) == (8, 3)
