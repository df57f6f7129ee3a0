"""Mutants of the reference: each is another kernel's ways or a fault of our own, and the oracle must notice it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from swiotlb_top.allocator import (
    DIFFERENCES,
    REVISIONS,
    Allocator,
    Difference,
    Limits,
    Mapping,
    Pool,
    Request,
    Revision,
    Undo,
    growth,
    walk,
)
from swiotlb_top.allocator import free as free_slots
from swiotlb_top.allocator import pool as pools
from tests.oracle.cases import REVISION_OF, Case, case_named
from tests.oracle.compare import DisagreementError, compare
from tests.oracle.compiled import Compiled

ENOUGH: Final = 60_000
"""Operations in which a fault must show; most show in the first thousand."""
CASES: Final = ("6.1-static", "6.12-dynamic", "7.3-dynamic")
DYNAMIC_ONLY: Final = ("order", "refuses_oversize", "largest_nslabs", "frees_misfit_at_once")
"""Aspects that a static build does not have."""
NEVER_SEEN: Final = {
    # A page that does not begin with its first slot cannot be had where swiotlb_alloc() asks for the alignment.
    ("6.12-dynamic", "checks_page"),
    ("7.3-dynamic", "checks_page"),
    # One pool: what is listed is all.
    ("6.1-static", "used"),
    # All memory is of one kind. The judge knows of kinds, the allocator does not: a map that is refused for its kind
    # has not searched.
    *((case, "checks_kind") for case in CASES),
}


def _seen(case: str, row: Difference) -> bool:
    if getattr(REVISIONS[REVISION_OF[case.partition("-")[0]]], row.aspect) == row.value:
        return False
    if case == "6.1-static" and row.aspect in DYNAMIC_ONLY:
        return False
    return (case, row.aspect) not in NEVER_SEEN


@pytest.mark.parametrize(
    ("case", "row"),
    [
        pytest.param(case_named(case), row, id=f"{case}-{row.aspect}-of-{row.since}")
        for case in CASES
        for row in DIFFERENCES
        if _seen(case, row)
    ],
)
def test_an_aspect_of_another_kernel_is_noticed(case: Case, kernel: Compiled, row: Difference) -> None:
    with pytest.raises(DisagreementError):
        compare(kernel, _with(kernel.choice().revision, row), case.mode, operations=ENOUGH, seed=2, minimise=False)


def _with(revision: Revision, row: Difference) -> Revision:
    values: dict[str, Any] = {row.aspect: row.value}
    return replace(revision, **values)


def _no_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_slots, "spans_boundary", lambda *_: False)


def _search_from_the_first_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Pool.take

    def taken(self: Pool, slot: int, request: Request, dev: int) -> Undo:
        undo = take(self, slot, request, dev)
        self.area_index[slot // self.area_nslabs] = 0
        return undo

    monkeypatch.setattr(Pool, "take", taken)


def _released_runs_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    release = Pool.release

    def released(self: Pool, mapping: Mapping) -> Undo:
        undo = release(self, mapping)
        self._free.bounds[mapping.slot // 128] = undo.bound
        return undo

    monkeypatch.setattr(Pool, "release", released)


def _no_overshoot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "walk_of", lambda *words: walk.walk_of(*words)._replace(stride=1))


def _areas_are_not_fewer_in_small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "limit_nareas", lambda nareas, nslabs: nareas)


def _newest_pool_last(monkeypatch: pytest.MonkeyPatch) -> None:
    def added(self: Allocator, pool: Pool) -> None:
        self.pools = (*self.pools, pool)

    monkeypatch.setattr(Allocator, "add_pool", added)


def _no_bus_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "phys_limit", property(lambda self: self.dma_mask))


def _growth_reaches_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Allocator.__init__

    def made(self: Allocator, *words: Any, **named: Any) -> None:
        init(self, *words, **(named | {"phys_limit": 0xFFFF_FFFF_FFFF_FFFF}))

    monkeypatch.setattr(Allocator, "__init__", made)


def _used_of_transient_pools_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    unmap = Allocator.unmap

    def unmapped(self: Allocator, dev: int, address: int, min_align_mask: int) -> Mapping | None:
        pool = self.find_pool(dev, address)
        mapping = unmap(self, dev, address, min_align_mask)
        if pool and mapping and pool.transient:
            self._held_slots += mapping.nslots
        return mapping

    monkeypatch.setattr(Allocator, "unmap", unmapped)


FAULTS: Final[tuple[Callable[[pytest.MonkeyPatch], None], ...]] = (
    _no_segments,
    _search_from_the_first_slot,
    _released_runs_are_not_seen,
    _no_overshoot,
    _areas_are_not_fewer_in_small_pools,
    _newest_pool_last,
    _no_bus_limit,
    _growth_reaches_anywhere,
    _used_of_transient_pools_stays,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
@pytest.mark.parametrize("case", [case_named("6.12-dynamic")], ids=lambda case: case.name)
def test_a_fault_in_the_reference_is_noticed(
    case: Case, kernel: Compiled, fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(DisagreementError):
        compare(kernel, kernel.choice().revision, case.mode, operations=ENOUGH, seed=2, minimise=False)
