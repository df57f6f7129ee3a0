"""An order for operations of which no linearization is known."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import Pool
from swiotlb_top.verify.linearize import plausible_order as module
from swiotlb_top.verify.linearize.plausible_order import plausible_order
from swiotlb_top.verify.operations.base import Operation
from tests.support.histories import POOL, START
from tests.unit.verify.test_linearize import model_of, release, take


def orderly(pool: Pool, group: list[Operation]) -> list[Operation]:
    """The group in its order; each operation is applied before the next is asked for."""
    model = model_of(pool)
    order = []
    for operation in plausible_order(group):
        operation.adopt_as_is(model)
        order.append(operation)
    return order


def one_slot_after_the_other(pool: Pool, slots: int) -> list[Operation]:
    """Slots that are taken, then all released, the last one first; then the first is taken again. All overlap."""
    taken = [take(0, 100 + slot, pool, slot) for slot in range(slots)]
    released = [release(0, 1000 - slot, pool, slot) for slot in range(slots)]
    again = take(0, 200 + slots, pool, 0)
    return sorted([*taken, *released, again], key=lambda operation: operation.exit_ns)


@pytest.mark.parametrize(("considered", "found"), [(8, True), (7, False)])
def test_a_release_in_the_way_comes_before_its_search_if_it_is_among_those_considered(
    monkeypatch: pytest.MonkeyPatch, considered: int, found: bool
) -> None:
    monkeypatch.setattr(module, "_MIN_CONSIDERED", considered)
    monkeypatch.setattr(module, "_MAX_CONSIDERED_IN_ALL", 1)
    pool = Pool(POOL, START, 128, 1)
    group = one_slot_after_the_other(pool, 8)
    freed = next(one for one in group if one.exit_ns == 1000)
    again = next(one for one in group if one.exit_ns == 208)
    order = orderly(pool, group)
    assert (order.index(freed) < order.index(again)) is found
    assert sorted(map(id, order)) == sorted(map(id, group))


def test_a_group_of_any_size_considers_all_mappings_that_a_slot_set_can_have() -> None:
    pool = Pool(POOL, START, 128, 1)
    group = one_slot_after_the_other(pool, 128)
    order = orderly(pool, group)
    assert order.index(next(one for one in group if one.exit_ns == 1000)) < order.index(
        next(one for one in group if one.exit_ns == 328)
    )
