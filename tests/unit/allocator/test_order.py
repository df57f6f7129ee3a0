"""Which area of which pool is asked first, and what a revision changes about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from swiotlb_top.allocator import REVISIONS, Allocator, Limits, Pool, Request, Revision, grow_sizes, limit_nareas
from swiotlb_top.allocator.order import Pools

NEWER, OLDER = 2, 1
V6_10 = REVISIONS["6.10"]
IN_66S_ORDER = REVISIONS["6.10 in 6.6's order"]


def two_pools(revision: Revision) -> Allocator:
    """A pool of 2 areas, added to one of 4."""
    pools = [Pool(NEWER, 2 << 28, 512, 2), Pool(OLDER, 1 << 28, 512, 4)]
    return Allocator(revision, pools, 512, 4, can_grow=True, dynamic=True)


def asked(allocator: Allocator, cpu: int) -> list[tuple[int, int]]:
    return [(pool.address, area) for pool, area in allocator.attempts(cpu)]


def test_since_6_8_the_cpus_area_is_asked_in_every_pool_before_the_next_area() -> None:
    assert asked(two_pools(V6_10), cpu=3) == [
        (NEWER, 1), (OLDER, 3), (NEWER, 0), (OLDER, 0), (OLDER, 1), (OLDER, 2),
    ]  # fmt: skip


def test_until_6_7_every_area_of_a_pool_is_asked_before_the_next_pool() -> None:
    assert asked(two_pools(IN_66S_ORDER), cpu=3) == [
        (NEWER, 1), (NEWER, 0), (OLDER, 3), (OLDER, 0), (OLDER, 1), (OLDER, 2),
    ]  # fmt: skip


def test_a_static_kernel_asks_each_area_of_its_pool_once_even_three_of_them() -> None:
    static = Allocator(V6_10, [Pool(OLDER, 1 << 28, 384, 3)], 384, 3, can_grow=False, dynamic=False)
    assert asked(static, cpu=1) == [(OLDER, 0), (OLDER, 1), (OLDER, 2)]
    assert asked(static, cpu=2) == [(OLDER, 2), (OLDER, 0), (OLDER, 1)]


def test_a_dynamic_pool_of_three_areas_has_one_that_is_never_asked() -> None:
    odd = Allocator(V6_10, [Pool(OLDER, 1 << 28, 384, 3)], 384, 3, can_grow=True, dynamic=True)
    assert {area for cpu in range(8) for _, area in odd.attempts(cpu)} == {0, 2}


def test_a_pool_added_during_a_round_is_asked_from_the_next_round_on() -> None:
    allocator = two_pools(V6_10)
    attempts = allocator.attempts(0)
    first = next(attempts)
    allocator.add_pool(Pool(3, 3 << 28, 512, 4))
    assert [first[0].address, *(pool.address for pool, _ in attempts)] == [
        NEWER, OLDER, 3, NEWER, OLDER, 3, OLDER, 3, OLDER,
    ]  # fmt: skip


def areas_backwards(allocator: Pools, cpu: int) -> Iterator[tuple[Pool, int]]:
    for cpu_offset in range(allocator.default_nareas):
        for pool in allocator.pools:
            if cpu_offset < pool.nareas:
                yield pool, (cpu - cpu_offset) & (pool.nareas - 1)


def test_another_order_is_another_revision_and_finds_another_slot() -> None:
    backwards = replace(V6_10, name="backwards", order=areas_backwards)
    request = Request(0x5000, 128 << 11, 0, Limits())
    found = {}
    for revision in (V6_10, backwards):
        allocator = Allocator(revision, [Pool(OLDER, 1 << 28, 512, 4)], 512, 4, can_grow=False, dynamic=True)
        allocator.map(1, 7, 0x5000, 128 << 11, 0, Limits())
        found[revision.name] = allocator.find_slots(1, request)
    assert [result and result.slot for result in found.values()] == [256, 0]


def test_every_revision_is_known_by_its_name() -> None:
    assert [revision.name for revision in REVISIONS.values()] == list(REVISIONS)


def test_growth_asks_for_the_default_size_and_halves_down_to_a_mebibyte() -> None:
    assert list(grow_sizes(2048, 4)) == [(2048, 4), (1024, 4), (512, 4)]
    assert list(grow_sizes(512, 4)) == [(512, 4)]


def test_growth_asks_for_no_more_than_the_page_allocators_largest_block() -> None:
    assert list(grow_sizes(32768, 32)) == [(2048, 16), (1024, 8), (512, 4)]


def test_a_half_is_rounded_up_to_whole_slot_sets_and_bounds_the_areas() -> None:
    assert list(grow_sizes(1152, 16)) == [(1152, 16), (640, 5), (384, 3)]


@pytest.mark.parametrize(("nareas", "nslabs", "limited"), [(4, 512, 4), (8, 512, 4), (1, 100, 0)])
def test_an_area_has_at_least_a_slot_set(nareas: int, nslabs: int, limited: int) -> None:
    assert limit_nareas(nareas, nslabs) == limited
