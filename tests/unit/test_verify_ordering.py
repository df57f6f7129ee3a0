"""Finding an order of overlapping operations: against brute force, and where a search is no single step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import NO_BOUNDARY, REVISIONS, Allocator, Limits, Pool, Request
from swiotlb_top.events import PoolFree
from swiotlb_top.verify.operations import AddPool, Operation, Release, Take
from swiotlb_top.verify.ordering import Span, arrange, clusters
from tests.unit.histories import DEV, POOL, SLOT_BYTES, START, found, grown, released

AREA_SLOTS: Final = 2
NEVER: Final = 10**9


def world_of(*pools: Pool, nareas: int = 1, can_grow: bool = False) -> Allocator:
    return Allocator(REVISIONS["6.12"], pools, pools[-1].nslabs, nareas, can_grow=can_grow, dynamic=True)


def take(entry_ns: int, exit_ns: int, pool: Pool | None, slot: int, nslots: int = 1, cpu: int = 0) -> Take:
    request = Request(0, nslots * SLOT_BYTES, 2047, Limits(NO_BOUNDARY))
    event = found(entry_ns, exit_ns, slot, nslots, cpu=cpu)
    return Take(event, entry_ns, exit_ns, cpu, DEV, request, pool, slot)


def release(entry_ns: int, exit_ns: int, pool: Pool, slot: int) -> Release:
    return Release(released(entry_ns, exit_ns, slot), entry_ns, exit_ns, DEV, pool, pool.start + slot * SLOT_BYTES, 0)


def everything(world: Allocator) -> object:
    """All that an order may change, as plain data."""
    return (
        [(pool.address, pool.free_list(), pool.area_used, pool.area_index, pool.mappings()) for pool in world.pools],
        {dev: [pool.address for pool in pools] for dev, pools in world.transient.items()},
    )


# ---- clusters ---------------------------------------------------------------


def spans_of(intervals: Sequence[tuple[int, int]]) -> list[Span]:
    return sorted(((exit_ns, entry_ns, PoolFree(exit_ns, at)) for at, (entry_ns, exit_ns) in enumerate(intervals)))


def components(spans: Sequence[Span]) -> list[set[int]]:
    """Which intervals are joined by overlaps, closed as they are; by what ends first."""
    groups: list[set[int]] = []
    for at, (exit_ns, entry_ns, _) in enumerate(spans):
        joined = [
            group
            for group in groups
            if any(entry_ns <= spans[other][0] and spans[other][1] <= exit_ns for other in group)
        ]
        groups = [group for group in groups if group not in joined] + [{at}.union(*joined)]
    return sorted(groups, key=max)


interval = st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))
intervals = st.lists(interval, max_size=14)


def as_numbers(spans: Sequence[Span], before_ns: int) -> list[set[int]]:
    place = {id(item): at for at, (_, _, item) in enumerate(spans)}
    return [{place[id(item)] for item in cluster} for cluster in clusters(spans, before_ns)]


@given(intervals)
def test_a_stream_is_cut_exactly_where_nothing_overlaps(drawn: list[tuple[int, int]]) -> None:
    spans = spans_of(drawn)
    assert as_numbers(spans, NEVER) == components(spans)


@given(intervals, st.integers(0, 70))
def test_only_what_is_over_is_given(drawn: list[tuple[int, int]], before_ns: int) -> None:
    spans = spans_of(drawn)
    over = [group for group in components(spans) if max(spans[at][0] for at in group) < before_ns]
    assert as_numbers(spans, before_ns) == over


def test_intervals_that_touch_overlap() -> None:
    assert as_numbers(spans_of([(1, 3), (3, 5), (6, 7)]), NEVER) == [{0, 1}, {2}]


# ---- one step a search: against brute force ---------------------------------

NSLABS: Final = 6
Plan = tuple[str, int, int, int, int]
"""take or release · slots or slot · what the kernel said · entry · exit"""


def operations(plans: Sequence[Plan], pool: Pool) -> list[Operation]:
    return [
        take(entry_ns, exit_ns, pool if slot >= 0 else None, slot, what)
        if kind == "take"
        else release(entry_ns, exit_ns, pool, what)
        for kind, what, slot, entry_ns, exit_ns in plans
    ]


def small_world(taken: Sequence[int]) -> tuple[Allocator, Pool]:
    pool = Pool(POOL, START, NSLABS, 1)
    for slot in taken:
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    return world_of(pool), pool


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[int], list[Plan]]:
    """A little of what could have been: operations in some true order, times that contain it, and perhaps a lie."""
    taken = draw(st.lists(st.integers(0, NSLABS - 1), unique=True, max_size=4))
    world, pool = small_world(taken)
    drawn: list[Plan] = []
    for moment in range(10, 10 * (draw(st.integers(1, 5)) + 1), 10):
        times = (moment - draw(st.integers(0, 25)), moment + draw(st.integers(0, 25)))
        live = [mapping.slot for mapping in pool.mappings()]
        if draw(st.booleans()) and live:
            slot = draw(st.sampled_from(live))
            release(*times, pool, slot).attempt(world)
            drawn.append(("release", slot, 0, *times))
            continue
        nslots = draw(st.integers(1, 3))
        place = world.find_slots(0, take(*times, pool, 0, nslots).request)
        slot = place.slot if place else -1
        if draw(st.integers(0, 9)) == 0:
            slot = draw(st.integers(-1, NSLABS - nslots))
        take(*times, pool if slot >= 0 else None, slot, nslots).adopt(world)
        drawn.append(("take", nslots, slot, *times))
    return taken, sorted(drawn, key=lambda plan: plan[4])


def in_real_time(order: Sequence[Operation]) -> bool:
    """Nothing comes before what had ended when it was entered."""
    return all(earlier.entry_ns <= later.exit_ns for at, earlier in enumerate(order) for later in order[at + 1 :])


def some_order_does(taken: Sequence[int], drawn: Sequence[Plan]) -> bool:
    for order in permutations(range(len(drawn))):
        world, pool = small_world(taken)
        all_of_them = operations(drawn, pool)
        chosen = [all_of_them[at] for at in order]
        if in_real_time(chosen) and all(operation.attempt(world) is not None for operation in chosen):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(plans())
def test_an_order_is_found_exactly_where_brute_force_finds_one(plan: tuple[list[int], list[Plan]]) -> None:
    taken, drawn = plan
    world, pool = small_world(taken)
    before = everything(world)
    asked = operations(drawn, pool)
    outcome = arrange(world, asked)
    assert bool(outcome.order) == some_order_does(taken, drawn)
    assert not outcome.exhausted
    if not outcome.order:
        assert everything(world) == before
        return
    assert in_real_time(outcome.order)
    assert len(outcome.order) == len(drawn)
    again, other = small_world(taken)
    anew = operations(drawn, other)
    assert all(anew[asked.index(operation)].attempt(again) is not None for operation in outcome.order)
    assert everything(again) == everything(world)


# ---- one area after another -------------------------------------------------

History = Callable[[Pool], list[Operation]]


def two_areas(*full: int) -> tuple[Allocator, Pool]:
    """A pool of two areas of two slots, some of them taken whole."""
    pool = Pool(POOL, START, 2 * AREA_SLOTS, 2)
    for area in full:
        pool.take(area * AREA_SLOTS, Request(0, AREA_SLOTS * SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    return world_of(pool, nareas=2), pool


def area(pool: Pool, entry_ns: int, exit_ns: int, index: int, cpu: int = 0) -> Take:
    """A search on a CPU that got the whole of an area; index -1 where it got none."""
    slot = index * AREA_SLOTS if index >= 0 else -1
    return take(entry_ns, exit_ns, pool if index >= 0 else None, slot, AREA_SLOTS, cpu)


def freed(pool: Pool, entry_ns: int, exit_ns: int, index: int) -> Release:
    return release(entry_ns, exit_ns, pool, index * AREA_SLOTS)


POSSIBLE: Final[dict[str, tuple[tuple[int, ...], History]]] = {
    "area 0 was full when it was asked, and had room when area 1 got some": (
        (0, 1),
        lambda pool: [freed(pool, 10, 20, 0), freed(pool, 30, 40, 1), area(pool, 0, 100, 1)],
    ),
    "area 0 had room when the search began, and was full when it was asked": (
        (1,),
        lambda pool: [area(pool, 10, 20, 0), freed(pool, 30, 40, 1), area(pool, 0, 100, 1)],
    ),
    "each area had room, but not when it was asked": (
        (0,),
        lambda pool: [freed(pool, 10, 20, 0), area(pool, 30, 40, 1, cpu=1), area(pool, 0, 100, -1)],
    ),
    "two searches met the same way": (
        (0, 1),
        lambda pool: [
            freed(pool, 10, 20, 0),
            freed(pool, 30, 40, 1),
            area(pool, 0, 100, 1),
            area(pool, 0, 110, 0, cpu=1),
        ],
    ),
}

IMPOSSIBLE: Final[dict[str, tuple[tuple[int, ...], History]]] = {
    "area 0 had room all the time": (
        (1,),
        lambda pool: [freed(pool, 10, 20, 1), area(pool, 0, 100, 1)],
    ),
    "area 0 was full only before the search began": (
        (0, 1),
        lambda pool: [freed(pool, 0, 5, 0), freed(pool, 5, 8, 1), area(pool, 6, 100, 1)],
    ),
    "area 0 was full only after area 1 was, which had room ever since": (
        (1,),
        lambda pool: [freed(pool, 10, 20, 1), area(pool, 30, 40, 0), area(pool, 0, 100, -1)],
    ),
    "area 1 was taken by another": (
        (0,),
        lambda pool: [area(pool, 0, 50, 1, cpu=1), area(pool, 0, 100, 1)],
    ),
}


@pytest.mark.parametrize(("full", "history"), POSSIBLE.values(), ids=POSSIBLE)
def test_a_search_that_asks_one_area_after_another_agrees(full: tuple[int, ...], history: History) -> None:
    world, pool = two_areas(*full)
    outcome = arrange(world, history(pool))
    assert len(outcome.order) == len(history(pool))
    assert pool.used_slots == AREA_SLOTS * len(pool.mappings())


@pytest.mark.parametrize(("full", "history"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_order_of_asking_explains_is_proved_wrong(full: tuple[int, ...], history: History) -> None:
    world, pool = two_areas(*full)
    before = everything(world)
    outcome = arrange(world, history(pool))
    assert not outcome.order
    assert not outcome.exhausted
    assert everything(world) == before


def test_a_search_that_saw_the_old_list_of_pools_goes_beyond_a_pool_being_added() -> None:
    """It found room in the old pool while a new, empty one went to the head of the list."""
    old, new = Pool(POOL, START, 512, 1), Pool(POOL + 8, START + (1 << 30), 512, 1)
    world = world_of(old, can_grow=True)
    added = AddPool(grown(0, 20, new.address, new.start, 512), 0, 20, new)
    outcome = arrange(world, [added, take(10, 30, old, 0)])
    assert len(outcome.order) == 2
    assert world.pools == (new, old)


def test_with_several_areas_a_pool_being_added_leaves_nothing_proved() -> None:
    old, new = Pool(POOL, START, 512, 2), Pool(POOL + 8, START + (1 << 30), 512, 2)
    world = world_of(old, nareas=2, can_grow=True)
    added = AddPool(grown(0, 20, new.address, new.start, 512, 2), 0, 20, new)
    outcome = arrange(world, [added, take(10, 30, old, 100)])
    assert not outcome.order
    assert outcome.exhausted
    assert world.pools == (old,)


# ---- running out ------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 10, 1000])
def test_a_search_that_runs_out_of_budget_has_proved_nothing(budget: int) -> None:
    """Eight releases at once, in any order they like, and one search that got what none could."""
    pool = Pool(POOL, START, 512, 1)
    world = world_of(pool)
    for slot in range(8):
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    before = everything(world)
    cluster: list[Operation] = [release(0, 100 + slot, pool, slot) for slot in range(8)]
    cluster.append(take(0, 200, pool, 300))
    outcome = arrange(world, cluster, budget)
    assert not outcome.order
    assert outcome.exhausted
    assert outcome.overlapping == 8
    assert everything(world) == before


def test_a_transient_pool_that_no_order_explains_is_taken_back() -> None:
    pool = Pool(POOL, START, 512, 1)
    only = Pool(POOL + 8, START + (1 << 30), 1, 1, transient=True)
    world = world_of(pool, can_grow=True)
    pool.take(0, Request(0, 128 * SLOT_BYTES, 0, Limits(NO_BOUNDARY)), DEV)
    for slot_set in range(1, 4):
        pool.take(slot_set * 128, Request(0, 128 * SLOT_BYTES, 0, Limits(NO_BOUNDARY)), DEV)
    before = everything(world)
    outcome = arrange(world, [take(0, 10, only, 0), take(5, 20, pool, 7)])
    assert not outcome.order
    assert everything(world) == before
    assert only.used_slots == 0
