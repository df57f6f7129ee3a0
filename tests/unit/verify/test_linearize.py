"""Finding an order of overlapping operations: against brute force, and where a search is no single step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import NO_BOUNDARY, REVISIONS, Allocator, Limits, Pool, Request
from swiotlb_top.verify.linearize.strategy import linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch
from tests.support.histories import DEV, POOL, SLOT_BYTES, START, found, grown, released

AREA_SLOTS: Final = 2


def model_of(*pools: Pool, nareas: int = 1, can_grow: bool = False) -> Allocator:
    return Allocator(REVISIONS["6.10"], pools, pools[-1].nslabs, nareas, can_grow=can_grow, dynamic=True)


def take(entry_ns: int, exit_ns: int, pool: Pool | None, slot: int, nslots: int = 1, cpu: int = 0) -> SlotSearch:
    request = Request(0, nslots * SLOT_BYTES, 2047, Limits(NO_BOUNDARY))
    event = found(entry_ns, exit_ns, slot, nslots, cpu=cpu)
    return SlotSearch(event, entry_ns, exit_ns, cpu, DEV, request, pool, slot)


def release(entry_ns: int, exit_ns: int, pool: Pool, slot: int) -> Release:
    address = pool.start + slot * SLOT_BYTES
    return Release(released(entry_ns, exit_ns, slot), entry_ns, exit_ns, DEV, pool, address, 0, SLOT_BYTES)


def everything(model: Allocator) -> object:
    """All that an order may change, as plain data."""
    return (
        [(pool.address, pool.free_list(), pool.area_used, pool.area_index, pool.mappings()) for pool in model.pools],
        {dev: [pool.address for pool in pools] for dev, pools in model.transient.items()},
    )


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


def small_model(taken: Sequence[int]) -> tuple[Allocator, Pool]:
    pool = Pool(POOL, START, NSLABS, 1)
    for slot in taken:
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    return model_of(pool), pool


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[int], list[Plan]]:
    """A little of what could have been: operations in some true order, times that contain it, and perhaps a lie."""
    taken = draw(st.lists(st.integers(0, NSLABS - 1), unique=True, max_size=4))
    model, pool = small_model(taken)
    drawn: list[Plan] = []
    for moment in range(10, 10 * (draw(st.integers(1, 5)) + 1), 10):
        times = (moment - draw(st.integers(0, 25)), moment + draw(st.integers(0, 25)))
        live = [mapping.slot for mapping in pool.mappings()]
        if draw(st.booleans()) and live:
            slot = draw(st.sampled_from(live))
            release(*times, pool, slot).apply_if_legal(model)
            drawn.append(("release", slot, 0, *times))
            continue
        nslots = draw(st.integers(1, 3))
        place = model.find_slots(0, take(*times, pool, 0, nslots).request)
        slot = place.slot if place else -1
        if draw(st.integers(0, 9)) == 0:
            slot = draw(st.integers(-1, NSLABS - nslots))
        take(*times, pool if slot >= 0 else None, slot, nslots).adopt_as_is(model)
        drawn.append(("take", nslots, slot, *times))
    return taken, sorted(drawn, key=lambda plan: plan[4])


def in_real_time(order: Sequence[Operation]) -> bool:
    """Nothing comes before what had ended when it was entered."""
    return all(earlier.entry_ns <= later.exit_ns for at, earlier in enumerate(order) for later in order[at + 1 :])


def some_order_does(taken: Sequence[int], drawn: Sequence[Plan]) -> bool:
    for order in permutations(range(len(drawn))):
        model, pool = small_model(taken)
        all_of_them = operations(drawn, pool)
        chosen = [all_of_them[at] for at in order]
        if in_real_time(chosen) and all(operation.apply_if_legal(model) is not None for operation in chosen):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(plans())
def test_an_order_is_found_exactly_where_brute_force_finds_one(plan: tuple[list[int], list[Plan]]) -> None:
    taken, drawn = plan
    model, pool = small_model(taken)
    before = everything(model)
    asked = operations(drawn, pool)
    outcome = linearize(model, asked)
    assert bool(outcome.order) == some_order_does(taken, drawn)
    assert not outcome.exhausted
    if not outcome.order:
        assert everything(model) == before
        return
    assert in_real_time(outcome.order)
    assert len(outcome.order) == len(drawn)
    again, other = small_model(taken)
    anew = operations(drawn, other)
    assert all(anew[asked.index(operation)].apply_if_legal(again) is not None for operation in outcome.order)
    assert everything(again) == everything(model)


# ---- one area after another -------------------------------------------------

History = Callable[[Pool], list[Operation]]


def two_areas(*full: int) -> tuple[Allocator, Pool]:
    """A pool of two areas of two slots, some of them taken whole."""
    pool = Pool(POOL, START, 2 * AREA_SLOTS, 2)
    for area in full:
        pool.take(area * AREA_SLOTS, Request(0, AREA_SLOTS * SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    return model_of(pool, nareas=2), pool


def area(pool: Pool, entry_ns: int, exit_ns: int, index: int, cpu: int = 0) -> SlotSearch:
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
    model, pool = two_areas(*full)
    outcome = linearize(model, history(pool))
    assert len(outcome.order) == len(history(pool))
    assert pool.used_slots == AREA_SLOTS * len(pool.mappings())


@pytest.mark.parametrize(("full", "history"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_order_of_asking_explains_is_proved_wrong(full: tuple[int, ...], history: History) -> None:
    model, pool = two_areas(*full)
    before = everything(model)
    outcome = linearize(model, history(pool))
    assert not outcome.order
    assert not outcome.exhausted
    assert everything(model) == before


def test_how_far_a_search_had_come_is_remembered_beside_what_was_done() -> None:
    """Area 0 was full only if the search found its last slot before the release, which ended first. What is done then
    is the same; and there is room in area 1 only later."""
    pool = Pool(POOL, START, 2 * AREA_SLOTS, 2)
    for slot in (0, 2, 3):
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    model = model_of(pool, nareas=2)
    last_slot, gone = take(0, 50, pool, 1), release(10, 20, pool, 0)
    outcome = linearize(model, [gone, release(30, 40, pool, 2), last_slot, take(0, 100, pool, 2)])
    assert outcome.order[:2] == [last_slot, gone]


def test_what_is_full_when_a_search_begins_is_passed_at_once() -> None:
    """All that comes before its own area in one round: area 0 of both pools, of which each has room soon after."""
    pools = [Pool(POOL + at, START + at * 2 * AREA_SLOTS * SLOT_BYTES, 2 * AREA_SLOTS, 2) for at in range(2)]
    for pool in pools:
        for slot in (0, AREA_SLOTS):
            pool.take(slot, Request(0, AREA_SLOTS * SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    first, second = pools
    turns: list[Operation] = [freed(first, 10, 20, 0), freed(second, 30, 40, 0), freed(first, 50, 60, 1)]
    search = area(first, 0, 100, 1)
    assert linearize(model_of(*pools, nareas=2), [*turns, search]).order == [*turns, search]


def test_a_search_that_was_moved_asks_on_from_where_it_may_have_begun() -> None:
    """On CPU 2 it would have had room at once; on CPU 3 area 3 was full, and has room by the time area 0 has."""
    pool = Pool(POOL, START, 4 * AREA_SLOTS, 4)
    for slot in (0, 3 * AREA_SLOTS):
        pool.take(slot, Request(0, AREA_SLOTS * SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    turns: list[Operation] = [freed(pool, 10, 20, 3), freed(pool, 30, 40, 0)]
    stayed = area(pool, 0, 100, 0, cpu=2)
    moved = replace(stayed, other_cpus=(3,))
    assert linearize(model_of(pool, nareas=4), [*turns, stayed]).order == []
    assert linearize(model_of(pool, nareas=4), [*turns, moved]).order == [*turns, moved]


def test_searches_that_share_an_area_with_one_that_shares_another_are_interleaved() -> None:
    """The third filled area 1, so that the second went on to area 0, and the first came after that."""
    pool = Pool(POOL, START, 256, 2)
    pool.take(128, Request(0, 127 * SLOT_BYTES, 0, Limits(NO_BOUNDARY)), DEV)
    first, second, third = take(0, 10, pool, 1), take(0, 20, pool, 0, cpu=1), take(0, 30, pool, 255, cpu=1)
    assert linearize(model_of(pool, nareas=2), [first, second, third]).order == [third, second, first]


def test_what_is_yet_to_be_entered_may_come_first_in_an_area_of_its_own() -> None:
    """Until the release is over; and the last two came in turn, not as they ended."""
    pool = Pool(POOL, START, 512, 4)
    pool.take(384, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    gone, first = release(0, 10, pool, 384), take(20, 90, pool, 0)
    after = take(0, 100, pool, 1)
    turned = [take(0, 110, pool, 129, cpu=1), take(0, 120, pool, 128, cpu=1)]
    outcome = linearize(model_of(pool, nareas=4), [gone, first, after, *turned])
    assert outcome.order.index(first) < outcome.order.index(after)


def test_what_was_over_before_another_was_entered_comes_before_it_however_long_a_third_goes_on() -> None:
    pool = Pool(POOL, START, 256, 2)
    short, lasting = take(0, 5, pool, 128, cpu=1), take(0, 100, pool, 129, cpu=1)
    outcome = linearize(model_of(pool, nareas=2), [short, take(10, 20, pool, 1), take(30, 40, pool, 0), lasting])
    assert (outcome.order, outcome.exhausted) == ([], False)


def test_of_two_pools_that_were_added_at_once_a_search_shows_which_came_last() -> None:
    old, first, last = (Pool(POOL + 8 * nth, START + (nth << 30), 512, 2) for nth in range(3))
    model = Allocator(REVISIONS["6.10"], [old], 512, 2, can_grow=True, dynamic=True)
    old.take(0, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    gone = release(0, 40, old, 0)
    outcome = linearize(model, [adding(0, 20, last), adding(0, 30, first), gone, take(45, 50, last, 0)])
    assert len(outcome.order) == 4
    assert model.pools == (last, first, old)


def test_a_search_that_saw_the_old_list_of_pools_goes_beyond_a_pool_being_added() -> None:
    """It found room in the old pool while a new, empty one went to the head of the list."""
    old, new = Pool(POOL, START, 512, 1), Pool(POOL + 8, START + (1 << 30), 512, 1)
    model = model_of(old, can_grow=True)
    added = AddPool(grown(0, 20, new.address, new.start, 512), 0, 20, new)
    outcome = linearize(model, [added, take(10, 30, old, 0)])
    assert len(outcome.order) == 2
    assert model.pools == (new, old)


# ---- a longer list in the next round ----------------------------------------


def grown_pools() -> tuple[Pool, Pool]:
    """An old pool of two areas, which are full but for one slot of the second, and a new one."""
    old, new = Pool(POOL, START, 2 * AREA_SLOTS, 2), Pool(POOL + 8, START + (1 << 30), 512, 2)
    for slot in range(2 * AREA_SLOTS - 1):
        old.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    return old, new


def adding(entry_ns: int, exit_ns: int, pool: Pool) -> AddPool:
    """The pool goes to the head of the list."""
    return AddPool(grown(entry_ns, exit_ns, pool.address, pool.start, 512, 2), entry_ns, exit_ns, pool)


SECOND_AREA: Final = 256
"""The first slot of the new pool's second area."""
LONGER_LISTS: Final[dict[str, tuple[Callable[[Pool, Pool], SlotSearch], bool]]] = {
    "the first round went by the old list, the second by the new": (
        lambda _, new: take(10, 30, new, SECOND_AREA),
        True,
    ),
    "both rounds went by the old list": (lambda old, _: take(10, 30, old, 3), True),
    "both rounds went by the new list": (lambda _, new: take(10, 30, new, 0), True),
    "no round of any list leads there": (lambda _, new: take(10, 30, new, 100), False),
    "the old pool's turn comes after the new one's": (lambda old, _: take(25, 30, old, 3), False),
    "the second round went by a list that the first did not have yet": (
        lambda _, new: take(25, 30, new, SECOND_AREA),
        False,
    ),
}


@pytest.mark.parametrize(("history", "possible"), LONGER_LISTS.values(), ids=LONGER_LISTS)
def test_between_two_rounds_over_the_pools_the_list_may_have_grown(
    history: Callable[[Pool, Pool], SlotSearch], possible: bool
) -> None:
    old, new = grown_pools()
    model = Allocator(REVISIONS["6.10"], [old], 512, 2, can_grow=True, dynamic=True)
    operation = history(old, new)
    added = adding(0, 20, new)
    # What was entered after the pool was added comes after that; what was not may come before or after.
    outcome = linearize(model, [added, operation])
    assert bool(outcome.order) is possible
    assert not outcome.exhausted
    assert model.pools == ((new, old) if possible else (old,))


# ---- the example that the package's first page draws ------------------------


def drawn(pool: Pool, unmap_ns: int) -> list[Operation]:
    """Maps A, B and C and the unmap of X, by their responses."""
    first, second = take(0, 270, pool, 2), take(30, 200, pool, 0, cpu=1)
    return [second, first, release(unmap_ns, 320, pool, 0), take(0, 370, pool, 3, cpu=3)]


@pytest.mark.parametrize(("unmap_ns", "possible"), [(20, True), (210, False)])
def test_the_drawn_example_is_linearizable_only_if_the_unmap_may_come_before_what_found_its_slot(
    unmap_ns: int, possible: bool
) -> None:
    pool = Pool(POOL, START, 4, 1)
    model = model_of(pool)
    for slot in (0, 1):
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    assert pool.area_index == [2]
    outcome = linearize(model, drawn(pool, unmap_ns))
    assert bool(outcome.order) is possible
    assert not outcome.exhausted
    assert pool.used_slots == (4 if possible else 2)


def test_the_drawn_example_has_no_order_without_one_of_its_maps() -> None:
    pool = Pool(POOL, START, 4, 1)
    for slot in (0, 1):
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    assert not linearize(model_of(pool), drawn(pool, 20)[:-1]).order
