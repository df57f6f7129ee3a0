"""A pool can take over the areas of another state of it, and is its own again at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import Limits, Pool, Request
from swiotlb_top.allocator.geometry import slot_addr

START = 1 << 28
DEV = 7


def release(pool: Pool, slot: int) -> None:
    mapping = pool.find_mapping(slot_addr(START, slot), 0)
    assert mapping is not None
    pool.release(mapping)


def busy(sizes: list[int], released: set[int]) -> Pool:
    """A pool of 512 slots after mappings of so many slots each, some of them given back."""
    pool = Pool(1, START, 512, 1)
    for number, size in enumerate(sizes):
        request = Request(0, size << 11, 0, Limits())
        slot = pool.search(0, request)
        if slot < 0:
            continue
        pool.take(slot, request, DEV)
        if number in released:
            release(pool, slot)
    return pool


def facts(pool: Pool) -> tuple[object, ...]:
    return pool.area_used, pool.area_index, pool.free_list(), pool.mappings()


any_pool = st.builds(
    busy,
    st.lists(st.integers(1, 128), max_size=12),
    st.sets(st.integers(0, 11)),
)


def take_over(pool: Pool, other: Pool) -> None:
    """Every area."""
    for area in range(pool.nareas):
        pool.take_over(other, area, range(area * pool.area_nslabs, (area + 1) * pool.area_nslabs))


@given(any_pool, any_pool)
def test_it_has_the_other_s_slots_areas_and_mappings(pool: Pool, other: Pool) -> None:
    take_over(pool, other)
    assert facts(pool) == facts(other)
    assert pool.longest_free_slots() == other.longest_free_slots()


@given(any_pool, any_pool)
def test_what_happens_to_it_afterwards_does_not_happen_to_the_other(pool: Pool, other: Pool) -> None:
    before = facts(other)
    take_over(pool, other)
    for mapping in pool.mappings():
        release(pool, mapping.slot)
    assert pool.used_slots == 0
    assert facts(other) == before


def busy_areas(nareas: int, sizes: list[int], released: set[int]) -> Pool:
    """The same with several areas of 120 slots, which are no whole slot sets, filled in turn."""
    pool = Pool(1, START, 120 * nareas, nareas)
    for number, size in enumerate(sizes):
        request = Request(0, size << 11, 0, Limits())
        slot = pool.search(number % nareas, request)
        if slot >= 0:
            pool.take(slot, request, DEV)
            if number in released:
                release(pool, slot)
    return pool


several_areas = st.builds(
    busy_areas,
    st.just(4),
    st.lists(st.integers(1, 60), max_size=16),
    st.sets(st.integers(0, 15)),
)


@given(several_areas, several_areas)
def test_area_by_area_it_becomes_the_other_and_no_area_changes_another(pool: Pool, other: Pool) -> None:
    for area in range(pool.nareas):
        slots = range(area * pool.area_nslabs, (area + 1) * pool.area_nslabs)
        elsewhere = [mapping for mapping in pool.mappings() if mapping.slot not in slots]
        pool.take_over(other, area, slots)
        assert [mapping for mapping in pool.mappings() if mapping.slot not in slots] == elsewhere
        assert [m for m in pool.mappings() if m.slot in slots] == [m for m in other.mappings() if m.slot in slots]
    assert facts(pool) == facts(other)
