"""What real kernels did is what the reference does; and only because it searches in the right order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import Pool
from swiotlb_top.allocator.order import Pools, SearchOrder, each_offset_every_pool
from swiotlb_top.allocator.revision import REVISIONS
from swiotlb_top.errors import Exit
from swiotlb_top.events import Find, Gap
from swiotlb_top.records import RECORD, decode
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.state import MemState
from swiotlb_top.trace import End, Records, TraceReader
from swiotlb_top.verify import Findings, Judge, Verdict
from tests.support.doctoring import FOUR_AREAS, GROWING, STALL

RECORDINGS = [GROWING, STALL, FOUR_AREAS]
ENOUGH_BYTES = 12_000 * RECORD.size
"""Of a batch of records: as many show another order at work."""

replayed = cache(replay)


@pytest.fixture(scope="module", params=RECORDINGS, ids=lambda path: path.stem)
def report(request: pytest.FixtureRequest) -> ReplayReport:
    return replayed(request.param)


def test_every_operation_is_compared_and_agrees(report: ReplayReport) -> None:
    account, findings = report.pipeline.account, report.findings
    assert findings.compared == account.maps + account.map_failures + account.unmaps > 0
    assert findings.agree == findings.compared
    assert (findings.disagree, findings.inconclusive, findings.safety_violations) == (0, 0, 0)
    assert findings.verdict is Verdict.AGREE
    assert report.exit_code is Exit.OK


def test_every_area_of_the_last_state_is_as_the_references(report: ReplayReport) -> None:
    model = report.pipeline.judge.model
    assert model is not None
    assert report.findings.equal_areas == sum(pool.nareas for pool in model.pools)


def test_the_events_add_up_to_the_kernels_own_counters(report: ReplayReport) -> None:
    assert report.miscounts == ()


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_account_ends_with_what_debugfs_says(path: Path) -> None:
    items = list(TraceReader(path))
    account = Account(replayed(path).pipeline.judge.revision)
    account.state(next(item for item in items if isinstance(item, MemState)))
    for item in items:
        if isinstance(item, Records):
            account.feed(list(item.events()))
    end = items[-1]
    assert isinstance(end, End)
    told = {name: end.counters[name] for name in ("nslabs", "total_used", "transient_nslabs", "maps", "unmaps")}
    assert told == {
        "nslabs": account.nslabs,
        "total_used": account.used_slots,
        "transient_nslabs": account.transient_slots,
        "maps": account.maps,
        "unmaps": account.unmaps,
    }
    assert account.used_hiwater_slots >= end.counters["used_hiwater"] > 0


def test_the_growing_kernel_added_pools_and_used_transient_ones() -> None:
    account = replayed(GROWING).pipeline.account
    assert account.pools_added == account.growths >= 4
    assert account.transient_pools == account.pools_freed > 0
    assert account.nslabs == 512 * (1 + account.pools_added)


# ---- another order is another kernel ----------------------------------------


def judged(path: Path, order: SearchOrder) -> Findings:
    """The findings where the reference asks its areas in another order: up to ENOUGH_BYTES of a batch."""
    judge = Judge(replace(REVISIONS["6.10"], order=order, static_order=order))
    for item in TraceReader(path):
        if isinstance(item, MemState):
            judge.state(item)
        elif isinstance(item, Records):
            judge.feed(decode(item.data[:ENOUGH_BYTES]))
            if len(item.data) > ENOUGH_BYTES:
                break
        elif isinstance(item, Gap):
            judge.gap(item)
    return judge.finish()


def last_area_first(allocator: Pools, cpu: int) -> Iterator[tuple[Pool, int]]:
    """As 6.12, but over the areas the other way round."""
    for cpu_offset in reversed(range(allocator.default_nareas)):
        for pool in allocator.pools:
            if cpu_offset < pool.nareas:
                yield pool, (cpu + cpu_offset) & (pool.nareas - 1)


def oldest_pool_first(allocator: Pools, cpu: int) -> Iterator[tuple[Pool, int]]:
    """As 6.12, but over the pools the other way round."""
    for cpu_offset in range(allocator.default_nareas):
        for pool in reversed(allocator.pools):
            if cpu_offset < pool.nareas:
                yield pool, (cpu + cpu_offset) & (pool.nareas - 1)


@pytest.mark.parametrize(
    ("path", "order"),
    [(FOUR_AREAS, last_area_first), (FOUR_AREAS, oldest_pool_first), (GROWING, oldest_pool_first)],
    ids=["areas reversed", "pools reversed, four areas", "pools reversed"],
)
def test_a_reference_that_searches_in_another_order_disagrees(path: Path, order: SearchOrder) -> None:
    findings = judged(path, order)
    assert findings.verdict is Verdict.DISAGREE
    assert findings.first is not None
    assert isinstance(findings.first.event, Find)
    assert findings.safety_violations == 0


def test_the_same_order_spelled_out_agrees() -> None:
    assert judged(FOUR_AREAS, each_offset_every_pool).verdict is Verdict.AGREE


def test_four_areas_are_not_searched_in_66s_order() -> None:
    """6.6 asked every area of a pool, then those of the next; this kernel asks one area of every pool first."""
    assert replay(FOUR_AREAS, "6.10 in 6.6's order").exit_code is Exit.DISAGREE
