"""Real kernels with a bug put back, recorded under a workload that shows it: each is reported as what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from swiotlb_top.allocator import Hazard
from swiotlb_top.errors import Exit
from swiotlb_top.events import Device, Find, PoolAlloc
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.state import MemState
from swiotlb_top.trace import Records, TraceReader

RECORDINGS = Path(__file__).parents[2] / "traces" / "faulty"

HARM = {
    "cve-2023-52790": Hazard.OUT_OF_BOUNDS,
    "no-min-alignment": Hazard.MISALIGNED_ADDRESS,
    # The slots are free and the buffer's bits are kept: but it is not where this swiotlb puts it.
    "cve-2024-35814": None,
    "no-page-alignment": None,
}
"""Kernels of the lab, and what harm is done first."""


class Seen(NamedTuple):
    """A search, and what it should have been told by."""

    search: Find
    min_align_mask: int
    pool_nslabs: int

    @property
    def goes_beyond_its_pool(self) -> bool:
        return self.search.slot + -(-self.search.alloc_size_bytes // 2048) > self.pool_nslabs

    @property
    def loses_low_bits(self) -> bool:
        """Of which slot a buffer begins in, and its device wants to keep."""
        return bool((self.search.slot * 2048 ^ self.search.orig_addr) & self.min_align_mask & -2048)

    @property
    def is_of_half_a_page(self) -> bool:
        """A page or more, in a slot that begins no page, though nobody wants low bits kept."""
        return self.search.alloc_size_bytes >= 4096 and self.search.slot % 2 == 1 and not self.min_align_mask


WRONG: Final[dict[str, Callable[[Seen], bool]]] = {
    "cve-2023-52790": lambda seen: seen.goes_beyond_its_pool,
    "no-min-alignment": lambda seen: seen.loses_low_bits,
    "cve-2024-35814": lambda seen: seen.is_of_half_a_page,
    "no-page-alignment": lambda seen: seen.is_of_half_a_page,
}
"""Which searches the bug shows in, told without the reference: by each search alone."""


def searches_of(kernel: str) -> Iterator[Seen]:
    """All that found something, as they are recorded."""
    masks: dict[int, int] = {}
    nslabs: dict[int, int] = {}
    for item in TraceReader(RECORDINGS / f"{kernel}.swtrace"):
        if isinstance(item, MemState):
            nslabs.update((pool.address, pool.nslabs) for pool in item.pools)
        for event in item.events() if isinstance(item, Records) else ():
            if isinstance(event, Device):
                masks[event.dev] = event.min_align_mask
            elif isinstance(event, PoolAlloc):
                nslabs[event.pool] = event.nslabs
            elif isinstance(event, Find) and not event.failed:
                yield Seen(event, masks[event.dev], nslabs[event.pool])


def report_of(kernel: str) -> ReplayReport:
    return replay(RECORDINGS / f"{kernel}.swtrace")


def test_every_recording_has_its_kernels_name() -> None:
    assert {path.stem for path in RECORDINGS.iterdir()} == set(HARM)


@pytest.mark.parametrize("kernel", HARM)
def test_each_search_that_the_bug_shows_in_is_blamed_and_nothing_else(kernel: str) -> None:
    report = report_of(kernel)
    findings, harm = report.findings, HARM[kernel]
    assert (report.exit_code, report.lost) == (Exit.DISAGREE, 0)
    assert findings.first is not None
    assert [violation.hazard for violation in findings.first.violations] == ([harm] if harm else [])
    assert bool(findings.safety_violations) == bool(harm)
    wrong = [seen.search for seen in searches_of(kernel) if WRONG[kernel](seen)]
    assert findings.first.event == wrong[0]
    assert findings.disagree == len(wrong) > 0


@pytest.mark.parametrize("kernel", ["cve-2024-35814", "no-page-alignment"])
def test_pages_that_are_not_aligned_are_where_the_first_disagreement_is(kernel: str) -> None:
    first = report_of(kernel).findings.first
    assert first is not None
    slot, expected = (int(text.split("slot ", 1)[1].split()[0]) for text in (first.observed, first.expected))
    assert slot % 2 == 1
    assert expected % 2 == 0
