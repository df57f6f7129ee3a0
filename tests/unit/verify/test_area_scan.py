"""A search that visits several areas: how many are looked up, and which are said to be concerned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import Allocator, Pool, TooManyAreasError
from swiotlb_top.verify.diagnose.late_calls import places_of
from swiotlb_top.verify.diagnose.unconfirmed import POOL_LIST
from swiotlb_top.verify.linearize import area_scan
from swiotlb_top.verify.linearize.area_scan import AreaScans
from swiotlb_top.verify.linearize.strategy import linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import areas_of, touched
from swiotlb_top.verify.operations.pool_add import AddPool
from tests.support.histories import POOL, START
from tests.unit.verify.test_linearize import release, take
from tests.unit.verify.test_partition import a_model, adding

MANY: Final = 4096
PATIENCE: Final = 1_000_000


def in_vain(count: int) -> list[Operation]:
    """Searches at the same time that found nothing."""
    return [take(0, 100 + at, None, -1) for at in range(count)]


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Pool, int]]:
    """The areas of which it was asked that they come next in an order."""
    asked: list[tuple[Pool, int]] = []

    class Noting(area_scan._Path):
        def __init__(self, order: Iterator[tuple[Pool, int]]) -> None:
            super().__init__(noted for noted in order if not asked.append(noted))  # type: ignore[func-returns-value]

    monkeypatch.setattr(area_scan, "_Path", Noting)
    return asked


def test_of_thousands_of_areas_only_those_are_looked_up_to_which_a_search_comes(
    looked_up: list[tuple[Pool, int]],
) -> None:
    """The first has room, so that none of the searches can have failed."""
    model, pool = a_model(MANY)
    assert not linearize(model, in_vain(40)).order
    assert looked_up == [(pool, 0)]


def test_searches_that_begin_on_the_same_cpu_have_the_order_of_areas_in_common(
    looked_up: list[tuple[Pool, int]],
) -> None:
    model, pool = a_model(MANY)
    pool.area_used = [pool.area_nslabs] * MANY
    progress = (scans := AreaScans(model, in_vain(40), ())).advance(range(40), {}, None)
    assert all(scans.is_at_target(at, progress) for at in progress)
    assert len(progress) == 40
    assert looked_up == [(pool, area) for area in range(MANY)]


@st.composite
def operations_in(draw: st.DrawFn) -> tuple[Allocator, list[Operation]]:
    """Of pools whose areas are whole slot sets, or not."""
    area_slots = draw(st.sampled_from([64, 128, 192, 256]))
    model, pool = a_model(4, area_slots)
    other = Pool(POOL + 8, START + (1 << 29), 4 * draw(st.sampled_from([64, 128])), 4)
    model.pools = draw(st.sampled_from([(pool,), (other, pool)]))
    of = st.sampled_from(model.pools)
    slots = st.integers(0, 4 * 64 - 1)
    operations: list[Operation] = draw(
        st.lists(
            st.one_of(
                st.builds(lambda pool, slot, cpu: take(0, 10, pool, slot, cpu=cpu), of, slots, st.integers(0, 3)),
                st.builds(lambda pool, slot: release(0, 10, pool, slot), of, slots),
                st.just(take(0, 10, None, -1)),
                st.just(adding((0, 10))),
            ),
            max_size=4,
        )
    )
    return model, operations


@given(operations_in())
def test_places_are_the_areas_of_all_domains_that_are_touched_and_each_costs_patience(
    drawn: tuple[Allocator, list[Operation]],
) -> None:
    model, operations = drawn
    calls = [one for one in operations if not isinstance(one, AddPool)]
    model.patience = PATIENCE
    domains = {domain for one in calls for domain in touched(one, model)}
    areas = {(domain[0], area) for domain in domains for area in areas_of(domain)}
    left = model.patience - len(areas)
    model.patience = PATIENCE
    assert places_of(operations, model) == areas | ({POOL_LIST} if len(calls) < len(operations) else set())
    assert model.patience == left


def test_without_patience_no_places_are_told() -> None:
    model, _ = a_model(MANY)
    model.patience = MANY + 1
    with pytest.raises(TooManyAreasError):
        places_of(in_vain(1), model)
