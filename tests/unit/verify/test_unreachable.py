"""A map that found slots which the device cannot reach: it gave them back, and failed where its caller sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import REVISIONS, Cause
from swiotlb_top.constants import DMA_MAPPING_ERROR
from swiotlb_top.events import Event, Unmap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.verify import Judge, Verdict
from tests.support.histories import (
    DEV,
    KERNEL,
    SLOT_BYTES,
    START,
    device,
    found,
    machine,
    mapped,
    released,
)

REACH = START + SLOT_BYTES - 1
NARROW = device()._replace(dma_mask=REACH)


def given_back(entry_ns: int, exit_ns: int, slot: int, nslots: int = 1) -> Unmap:
    return released(entry_ns, exit_ns, slot, nslots)._replace(unreachable=True)


def pipeline_fed(*events: Event) -> Pipeline:
    pipeline = Pipeline(KERNEL)
    pipeline.state(machine())
    pipeline.feed([NARROW, *events])
    pipeline.finish()
    return pipeline


@pytest.mark.parametrize("make", [found, mapped])
def test_it_is_a_failure_with_a_cause_and_holds_nothing(make: Callable[..., Event]) -> None:
    pipeline = pipeline_fed(make(1000, 1100, 0), make(1200, 1300, 2, 2), given_back(1310, 1390, 2, 2))
    view = pipeline.account.devices[DEV].view()
    assert (view.maps, view.map_failures, view.unmaps, view.held_maps, view.held_slots) == (2, 1, 1, 1, 1)
    assert view.causes == ((Cause.UNREACHABLE, 1),)
    assert view.last_failure == (
        f"found 2 slots at {START + 2 * SLOT_BYTES:#x}, beyond the reach of the device, "
        f"which reaches addresses up to {REACH:#x}"
    )
    assert pipeline.judge.findings.verdict is Verdict.AGREE
    assert pipeline.account.totals().map_failures == 1


def test_the_latest_failures_have_it() -> None:
    pipeline = pipeline_fed(found(1200, 1300, 0, 2), given_back(1310, 1390, 0, 2))
    (failure,) = pipeline.account.failures()
    assert (failure.time_ns, failure.size_bytes, failure.cause) == (1390, 4096, Cause.UNREACHABLE)


def test_an_unmap_that_a_driver_made_is_no_failure() -> None:
    account = Account(REVISIONS["6.10"])
    account.state(machine())
    account.feed([NARROW, found(1200, 1300, 0), released(1310, 1390, 0)])
    assert account.totals().map_failures == 0


def test_where_the_whole_map_is_probed_it_is_told_by_its_own_return() -> None:
    """6.1 on x86: swiotlb_map() stands in; it returns after it gave the slots back."""
    judge = Judge(REVISIONS["6.1"])
    judge.state(machine())
    judge.feed([NARROW, mapped(1000, 1100, -1), released(1050, 1090, 0)])
    findings = judge.finish()
    assert (findings.verdict, findings.agree) == (Verdict.AGREE, 2)
    (failure,) = findings.failures
    assert failure.explanation.cause is Cause.UNREACHABLE
    assert mapped(1000, 1100, -1).tlb_addr == DMA_MAPPING_ERROR
