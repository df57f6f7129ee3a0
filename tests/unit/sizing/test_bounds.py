"""The two bounds of docs/sizing.md: held against the reference allocator, which knows nothing of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import cycle, islice

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Allocator, Limits, Pool, Request, Revision
from swiotlb_top.allocator.walk import candidates, walk_of
from swiotlb_top.constants import IO_TLB_SEGSIZE, PAGE_SIZE
from swiotlb_top.sizing.bounds import ceiling_of, floor_of
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.starts import NEVER, starts_of
from tests.support.made_recordings import BUFFER, DISK, SLOT_BYTES, need

ODD = BUFFER + SLOT_BYTES
"""A buffer in the second half of its page."""
NVME = Limits(0xFFFF_FFFF, 0xFFF)


def ceiling(needs: list[Need], nareas: int = 1) -> int:
    return ceiling_of(sorted(needs), nareas).slot_sets


# ---- below the floor it fails ---------------------------------------------------


def test_what_is_held_at_once_must_fit() -> None:
    assert floor_of([need(0, 10, 100), need(5, 15, 30), need(12, 20, 128)]).slots == 158


def test_the_need_that_comes_last_is_named() -> None:
    last = need(6, 9, 3)
    assert floor_of([need(0, 10, 100), need(5, 15, 30), last, need(20, 30, 1)]).at == last


def test_two_of_more_than_half_a_slot_set_do_not_share_one() -> None:
    assert floor_of([need(at, 10, 65) for at in range(3)]).slots == 2 * IO_TLB_SEGSIZE + 65
    assert floor_of([need(at, 10, 64) for at in range(3)]).slots == 3 * 64


def test_what_may_have_been_given_back_in_time_does_not_count() -> None:
    slow = need(5, 20, 7)._replace(had_ns=12)
    assert floor_of([need(0, 10, 100), slow]).slots == 100
    assert floor_of([need(0, 13, 100), slow]).slots == 107


@pytest.mark.parametrize(
    "hopeless",
    [
        need(0, 1, 129),
        need(0, 1, 64, limits=Limits((32 << 11) - 1)),
        need(0, 1, 128, orig_addr=ODD, limits=NVME),
    ],
    ids=["more than a slot set", "longer than a segment", "a whole slot set from an odd slot on"],
)
def test_what_no_pool_can_serve_fails_in_each(hopeless: Need) -> None:
    floor = floor_of([hopeless])
    assert floor.hopeless == hopeless
    assert floor.fails(1 << 30)
    assert not ceiling_of([hopeless], 1).holds(1 << 30)


# ---- from the ceiling on it holds -------------------------------------------------


@pytest.mark.parametrize(("others", "slot_sets"), [(0, 1), (1, 2), (3, 4)])
def test_one_slot_in_each_slot_set_is_in_the_way_of_a_whole_one(others: int, slot_sets: int) -> None:
    assert ceiling([*(need(0, 10, 1) for _ in range(others)), need(5, 10, 128)]) == slot_sets


def test_pages_lie_side_by_side() -> None:
    """The alignment that both have is known, so that a page is in the way of one page and not of two."""
    assert ceiling([need(0, 10, 2) for _ in range(64)]) == 1
    assert ceiling([need(0, 10, 2) for _ in range(65)]) == 2


def test_a_slot_between_pages_is_in_the_way_of_one() -> None:
    assert ceiling([*(need(0, 10, 1) for _ in range(63)), need(5, 10, 2)]) == 1


def test_a_segment_boundary_is_in_the_way_as_a_mapping_of_no_slots() -> None:
    assert ceiling([need(0, 10, 128, limits=Limits(0xFFFF_FFFF))]) == 2
    assert ceiling([need(0, 10, 1, limits=Limits(0xFFFF_FFFF))]) == 1


def test_the_search_of_each_area_may_leave_out_one_start() -> None:
    """Its last step before the area's end overshoots, and counts: docs/sizing.md has the example below."""
    alone = need(0, 10, 127, orig_addr=ODD, limits=Limits(min_align_mask=0xFFF))
    assert [ceiling([alone], nareas) for nareas in (1, 2, 4)] == [2, 3, 5]


def test_a_search_leaves_out_a_start_that_is_free() -> None:
    pool = Pool(1, 0x1000_0000, 128, 1)
    for slot in range(128):
        if slot != 3:
            pool.take(slot, Request(0, SLOT_BYTES, 0, Limits()), DISK)
    pool.area_index[0] = 4
    assert pool.search(0, Request(ODD, SLOT_BYTES, 0, NVME)) == -1
    pool.area_index[0] = 3
    assert pool.search(0, Request(ODD, SLOT_BYTES, 0, NVME)) == 3


def test_up_to_6_2_the_search_of_a_full_area_may_not_go_on_to_the_next() -> None:
    old = REVISIONS["6.1"]
    pair = [need(at, 10, 1, orig_addr=ODD, limits=NVME, revision=old) for at in range(2)]
    assert [ceiling(pair, nareas) for nareas in (1, 2, 4)] == [1, 2, 4]


def test_up_to_6_2_a_full_area_keeps_the_search_from_an_empty_one() -> None:
    old = REVISIONS["6.1"]
    pool = Pool(1, 0x1000_0000, 256, 2, rule=old.rule)
    for slot in range(128):
        pool.take(slot, Request(0, SLOT_BYTES, 0, Limits()), DISK)
    pool.area_used[0] = 127  # another free slot than those that are looked at
    swiotlb = Allocator(old, [pool], 256, 2, can_grow=False, dynamic=False)
    pool.area_index[0] = 2
    assert swiotlb.find_slots(0, Request(ODD, SLOT_BYTES, 0, NVME)) is None
    assert swiotlb.find_slots(1, Request(ODD, SLOT_BYTES, 0, NVME)) is not None


def test_what_is_mapped_while_the_search_goes_from_area_to_area_counts() -> None:
    slow = need(5, 100, 128)._replace(had_ns=50)
    assert ceiling([need(0, 6, 1), slow, need(40, 60, 1), need(51, 60, 1)]) == 3


def test_when_calls_overlap_too_much_the_bound_gets_looser_and_not_late() -> None:
    crowd = [need(at, 2000, 1)._replace(had_ns=1000) for at in range(100)]
    assert ceiling(crowd) == 1
    assert ceiling([*crowd, need(1500, 2000, 128)]) == 101


def test_of_a_request_that_nothing_can_be_said_of_nothing_is_said() -> None:
    """Without a buffer's address, 6.6's search steps two slots from wherever it begins."""
    unproven = need(0, 10, 2, orig_addr=0, revision=REVISIONS["6.6"])
    assert ceiling([unproven]) == NEVER


def test_spells_are_apart_where_nothing_is_mapped() -> None:
    needs = [need(0, 10, 1), need(5, 12, 128), need(20, 30, 64), need(40, 50, 1), need(41, 50, 128)]
    found = ceiling_of(needs, 1, from_slot_sets=1)
    others, *spells = found.spells
    assert [(one.begin, one.end, one.slot_sets, one.peak_slots) for one in spells] == [(0, 2, 2, 129), (3, 5, 2, 129)]
    assert others.peak_slots == 64
    assert found.peak_slots == 129


# ---- against the reference --------------------------------------------------------


masks = st.sampled_from([0, 0x7FF, 0xFFF, 0x1FFF, 0x3FFF, 0xFFFF])
boundaries = st.sampled_from([(1 << 64) - 1, 0xFFFF_FFFF, (1 << 20) - 1, (1 << 18) - 1, (1 << 16) - 1])
buffers = st.integers(1, 1 << 9).map(lambda slot: slot * SLOT_BYTES) | st.integers(1, 1 << 20)
sizes = st.sampled_from([1, 2, 3, 4, 8, 16, 32, 33, 64, 65, 127, 128]) | st.integers(1, 128)
requests = st.builds(
    lambda orig_addr, nslots, align, limits: Request(orig_addr, nslots * SLOT_BYTES, align, limits),
    buffers,
    sizes,
    masks,
    st.builds(Limits, boundaries, masks),
)
revisions = st.sampled_from(list(REVISIONS.values()))


def places(pool: Pool, revision: Revision, request: Request) -> list[int]:
    """Every slot that a search could end at, were the pool empty."""
    walk_class = (request.alloc_align_mask, request.limits, request.alloc_size_bytes >= PAGE_SIZE, False)
    walk = walk_of(revision.alignment, pool.start, pool.nslabs, walk_class)
    nslots = request.alloc_size_bytes // SLOT_BYTES
    found = []
    for area in range(pool.nareas):
        base = area * pool.area_nslabs
        found += [slot for slot in candidates(walk, base, pool.area_nslabs, 0, request.orig_addr) if slot >= 0]
    return [slot for slot in found if pool.free_run(slot) >= nslots]


def most_in_the_way(pool: Pool, revision: Revision, wanted: Request, having: Request) -> int | None:
    """Where a mapping takes away the most starts that are free."""
    nslots, own = wanted.alloc_size_bytes // SLOT_BYTES, having.alloc_size_bytes // SLOT_BYTES
    free = places(pool, revision, wanted)
    return max(
        places(pool, revision, having),
        key=lambda slot: bisect_left(free, slot + own) - bisect_right(free, slot - nslots),
        default=None,
    )


def crowd(pool: Pool, revision: Revision, wanted: Request, others: list[Request]) -> None:
    """Map others in turn, each where it harms most, until one more would be too many for the bound."""
    starts = starts_of(revision, wanted)
    weights = [0] * len(starts.distances)
    for having in islice(cycle(others), 2 * pool.nslabs):
        kind = starts_of(revision, having).kind
        heavier = [weight + distance.weights[kind] for weight, distance in zip(weights, starts.distances, strict=True)]
        slot = most_in_the_way(pool, revision, wanted, having)
        if slot is None or starts.slot_sets(heavier, pool.nareas) > pool.nslabs // IO_TLB_SEGSIZE:
            return
        pool.take(slot, having, DISK)
        weights = heavier


@given(
    revisions,
    st.sampled_from([(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)]),
    st.integers(0, 127),
    requests,
    st.lists(requests, min_size=1, max_size=2),
    st.integers(0, 3),
)
def test_as_long_as_the_bound_allows_a_request_is_served_whatever_lies_where(
    revision: Revision,
    areas: tuple[int, int],
    start_page: int,
    wanted: Request,
    others: list[Request],
    cpu: int,
) -> None:
    """Every mapping is where it takes away the most, and each area's search begins just behind a start that is free."""
    nareas, sets_of_area = areas
    nslabs = nareas * sets_of_area * IO_TLB_SEGSIZE
    pool = Pool(1, (1 << 30) + start_page * PAGE_SIZE, nslabs, nareas, rule=revision.rule)
    starts = starts_of(revision, wanted)
    assume(starts.distances)
    assume(starts.slot_sets([0] * len(starts.distances), nareas) * IO_TLB_SEGSIZE <= nslabs)
    crowd(pool, revision, wanted, others)
    swiotlb = Allocator(revision, [pool], nslabs, nareas, can_grow=False, dynamic=False)
    for behind in places(pool, revision, wanted):
        area = behind // pool.area_nslabs
        pool.area_index[area] = (behind + 1) % pool.area_nslabs
        assert swiotlb.find_slots(cpu, wanted) is not None
    assert swiotlb.find_slots(cpu, wanted) is not None


@pytest.mark.parametrize("nslots", [1, 2, 4, 16, 64, 100, 128])
@pytest.mark.parametrize("slot_sets", [1, 2, 5])
def test_one_mapping_more_than_the_bound_allows_and_a_request_can_fail(nslots: int, slot_sets: int) -> None:
    """Single slots, as far apart as the request is long: the bound cannot be bettered there."""
    asked = need(5, 10, nslots)
    fit = IO_TLB_SEGSIZE // nslots
    single = need(0, 10, 1)
    crowd = [single] * (fit * slot_sets - 1)
    assert ceiling([*crowd, asked]) == slot_sets
    pool = Pool(1, 0x1000_0000, slot_sets * IO_TLB_SEGSIZE, 1)
    for slot_set in range(slot_sets):
        for nth in range(1, fit + 1):
            pool.take(slot_set * IO_TLB_SEGSIZE + nth * nslots - 1, single.request, DISK)
    assert pool.search(0, asked.request) == -1


@given(st.integers(0, 6))
def test_a_hopeless_need_is_in_nobodys_way(others: int) -> None:
    needs = [need(0, 10, 129), *(need(at, 10, 2) for at in range(others))]
    assert floor_of(needs).slots == 2 * others
