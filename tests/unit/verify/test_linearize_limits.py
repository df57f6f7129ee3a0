"""The search for an order when there are many: what it remembers, what it leaves out, and when it gives up."""

from __future__ import annotations

from typing import Any

import pytest

from swiotlb_top.allocator import NO_BOUNDARY, Allocator, Limits, Pool, Request
from swiotlb_top.verify.linearize import checker, strategy
from swiotlb_top.verify.linearize.strategy import linearize
from swiotlb_top.verify.operations.base import Operation
from tests.support.histories import DEV, POOL, SLOT_BYTES, START
from tests.unit.verify.test_linearize import everything, model_of, release, take

# ---- running out ------------------------------------------------------------


def given_takes(count: int, pool: Pool) -> list[Operation]:
    """Searches of which nobody knows what they asked for: in any order they like, they leave any index they like."""
    takes = [take(0, 100 + at, pool, 100 + 2 * at) for at in range(count)]
    for each in takes:
        each.unchecked = True
    return [*takes]


@pytest.mark.parametrize("budget", [1, 10, 1000])
def test_a_search_that_runs_out_of_budget_has_proved_nothing(budget: int) -> None:
    """Sixteen at once, and one search that got what none could."""
    pool = Pool(POOL, START, 512, 1)
    model = model_of(pool)
    before = everything(model)
    outcome = linearize(model, [*given_takes(16, pool), take(0, 200, pool, 300)], budget)
    assert not outcome.order
    assert outcome.exhausted
    assert outcome.steps <= budget
    assert everything(model) == before


def test_no_search_is_begun_for_which_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks at all of the group before its first step, and there is one for each index that it may begin from."""
    begun: list[int] = []

    class Counted(checker.Checker):
        def __init__(self, model: Allocator, group: list[Operation], budget: int, **more: Any) -> None:
            begun.append(budget)
            super().__init__(model, group, budget, **more)

    monkeypatch.setattr(strategy, "Checker", Counted)
    pool = Pool(POOL, START, 512, 1)
    group = [*given_takes(16, pool), take(0, 200, pool, 300)]
    outcome = linearize(model_of(pool), group, 50, alternatives={(pool, 0): {0: True, 7: True, 9: True}})
    assert (outcome.order, outcome.exhausted) == ([], True)
    assert begun == [50]


def test_a_search_that_would_remember_too_much_has_proved_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state has as many operations as are under way at once: thousands of such states fill the memory."""
    monkeypatch.setattr(checker, "_MOST_REMEMBERED", 2000)
    pool = Pool(POOL, START, 512, 1)
    model = model_of(pool)
    before = everything(model)
    outcome = linearize(model, [*given_takes(16, pool), take(0, 200, pool, 300)])
    assert (outcome.order, outcome.exhausted) == ([], True)
    assert outcome.steps < 2000
    assert everything(model) == before


def test_what_was_done_is_remembered_so_that_no_set_of_operations_is_tried_twice() -> None:
    """Eight at once have 40,320 orders, but leave only 1,025 sets of what is done so far and what came last."""
    pool = Pool(POOL, START, 512, 1)
    outcome = linearize(model_of(pool), [*given_takes(8, pool), take(0, 200, pool, 300)])
    assert (outcome.order, outcome.exhausted) == ([], False)
    assert outcome.steps < 9 * 1025
    assert len(outcome.longest_prefix) == 8


def test_which_search_came_last_in_a_place_is_remembered_where_they_took_more_or_less() -> None:
    """Either of the first two may have been released. Both ways all is searched next from slot 14, but only where the
    smaller one is left the last search found room."""
    pool = Pool(POOL, START, 16, 1)
    model = model_of(pool)
    for slot in (8, 14, 15):
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    pool.area_index[0] = 0
    gone = release(0, 60, pool, 0)
    gone.size_bytes = 6 * SLOT_BYTES
    small, large = take(0, 50, pool, 0, 6), take(0, 70, pool, 0, 8)
    outcome = linearize(model, [small, gone, large, take(0, 80, pool, 9, 5), take(85, 90, pool, 6, 2)])
    assert outcome.order[:3] == [large, gone, small]


def test_releases_that_nothing_needs_are_not_tried_in_all_orders() -> None:
    pool = Pool(POOL, START, 512, 1)
    model = model_of(pool)
    for slot in range(32):
        pool.take(slot, Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY)), DEV)
    cluster: list[Operation] = [release(0, 100 + slot, pool, slot) for slot in range(32)]
    wrong = take(0, 200, pool, 300)
    outcome = linearize(model, [*cluster, wrong])
    assert (outcome.order, outcome.exhausted) == ([], False)
    assert outcome.steps < 8
    assert outcome.longest_prefix == cluster


def test_searches_of_areas_apart_are_not_interleaved() -> None:
    """Eight in each of four areas, none where it could have been as they ended: 6,561 sets of what is done."""
    pool = Pool(POOL, START, 512, 4)
    model = model_of(pool, nareas=4)
    cluster: list[Operation] = [
        take(0, 100 * nth + area, pool, 128 * area + 7 - nth, cpu=area) for nth in range(8) for area in range(4)
    ]
    outcome = linearize(model, cluster)
    assert len(outcome.order) == 32
    assert outcome.steps < 32 * 32
    assert not any(outcome.alternatives.values())


def test_what_begins_from_where_it_is_not_sure_that_an_area_was_searched_next_is_not_sure() -> None:
    pool = Pool(POOL, START, 512, 1)
    model = model_of(pool)
    assert linearize(model, [take(0, 10, pool, 7)], alternatives={(pool, 0): {7: False, 9: True}}).proved is False
    assert linearize(model, [take(20, 30, pool, 20)], alternatives={(pool, 0): {7: False, 20: True}}).proved is True


def test_an_operation_that_is_unconstrained_need_not_be_the_references() -> None:
    pool = Pool(POOL, START, 512, 1)
    model = model_of(pool)
    before = everything(model)
    wrong = take(0, 20, pool, 7)
    assert not linearize(model, [take(0, 10, pool, 0), wrong]).order
    outcome = linearize(model, [take(0, 10, pool, 0), wrong], unconstrained=[wrong])
    assert wrong in outcome.order
    assert everything(model) == before


def test_a_long_chain_of_overlaps_is_no_matter_of_depth() -> None:
    pool = Pool(POOL, START, 1 << 14, 1)
    model = model_of(pool)
    chain: list[Operation] = [take(10 * at, 10 * at + 15, pool, at) for at in range(5000)]
    assert len(linearize(model, chain).order) == 5000


def test_a_transient_pool_that_no_order_explains_is_taken_back() -> None:
    pool = Pool(POOL, START, 512, 1)
    only = Pool(POOL + 8, START + (1 << 30), 1, 1, transient=True)
    model = model_of(pool, can_grow=True)
    pool.take(0, Request(0, 128 * SLOT_BYTES, 0, Limits(NO_BOUNDARY)), DEV)
    for slot_set in range(1, 4):
        pool.take(slot_set * 128, Request(0, 128 * SLOT_BYTES, 0, Limits(NO_BOUNDARY)), DEV)
    before = everything(model)
    outcome = linearize(model, [take(0, 10, only, 0), take(5, 20, pool, 7)])
    assert not outcome.order
    assert everything(model) == before
    assert only.used_slots == 0
