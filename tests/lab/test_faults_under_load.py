"""A kernel that goes wrong under load on four CPUs is told of at once; the same load on a sound one is nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.events import Kind
from swiotlb_top.report import replay as judged
from swiotlb_top.state import MemState
from tests.doctoring import Entry, Record, load, pool_starts
from tests.lab.kernels import FAULTY
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.test_faulty_kernels import VDA_LARGEST_BYTES
from tests.lab.tool import guest_shell

SOON = 1000
"""Operations."""
SLOT = 2048
PAGE = 4096
# Where the kernel is faulty, reads may fail.
LOAD = f"""
    export python PYTHON=$python workloads
    $tool record -o /results/load.swtrace -- sh -c '
        sh $workloads/busy.sh 1 2>/dev/null &
        $python $workloads/unaligned.py nvme0n1 >/dev/null &
        $python $workloads/unaligned.py vda {VDA_LARGEST_BYTES} >/dev/null &
        wait'
"""


@dataclass(frozen=True)
class Calls:
    """The searches and releases of a recording as they ended, numbered from 1, and what is known of their pools."""

    entries: list[Entry]

    @cached_property
    def records(self) -> list[Record]:
        records = (entry for entry in self.entries if isinstance(entry, Record))
        return sorted(records, key=lambda record: record.exit_ns)

    def numbered(self) -> Iterator[tuple[int, Record]]:
        return enumerate((call for call in self.records if call.kind in (Kind.FIND, Kind.UNMAP)), 1)

    def found(self) -> Iterator[tuple[int, Record]]:
        return ((number, call) for number, call in self.numbered() if call.kind == Kind.FIND and not call.failed)

    def min_align_mask(self, dev: int) -> int:
        """0 where the device asks for no alignment."""
        devices = (entry for entry in self.entries if isinstance(entry, Record) and entry.kind == Kind.DEVICE)
        return next(device.align_mask for device in devices if device.object == dev)


# ---- when each bug has happened, as the events alone tell


def a_transient_pool_was_overrun(calls: Calls) -> int:
    nslabs = {
        entry.pool: entry.size
        for entry in calls.entries
        if isinstance(entry, Record) and entry.kind == Kind.POOL_ALLOC and entry.align_mask == 1
    }
    return next(
        number
        for number, call in calls.found()
        if call.pool in nslabs and call.result + -(-call.size // SLOT) > nslabs[call.pool]
    )


def a_page_was_at_an_odd_slot(calls: Calls) -> int:
    return next(
        number
        for number, call in calls.found()
        if call.size >= PAGE and not calls.min_align_mask(call.object) and call.result % 2
    )


def a_place_in_a_page_was_not_kept(calls: Calls) -> int:
    return next(
        number
        for number, call in calls.found()
        if calls.min_align_mask(call.object) & SLOT and (call.result ^ call.address // SLOT) % 2
    )


def two_were_in_one_slot(calls: Calls) -> int:
    """A search got a slot that no release gave back, up to the search's end or at once after it."""
    starts = pool_starts([entry for entry in calls.entries if isinstance(entry, MemState)][:1])
    live: set[int] = set()
    releases = [call for _, call in calls.numbered() if call.kind == Kind.UNMAP]
    numbers = {call: number for number, call in calls.numbered()}
    for call in calls.records:
        if call.kind == Kind.POOL_ALLOC:
            starts[call.pool] = call.address  # where another pool may have been, whose memory went back
        elif call.kind == Kind.UNMAP:
            live.discard(call.address // SLOT)
        elif call.kind == Kind.FIND and not call.failed:
            slot = starts[call.pool] // SLOT + call.result
            if slot in live and not any(
                other.address // SLOT == slot and other.exit_ns - other.duration_ns <= call.exit_ns < other.exit_ns
                for other in releases
            ):
                return numbers[call]
            live.add(slot)
    raise AssertionError("no two mappings were in one slot")


def the_512th_release_of_several_slots(calls: Calls) -> int:
    several = [number for number, call in calls.numbered() if call.kind == Kind.UNMAP and call.size > SLOT]
    return several[511]


HAPPENED: dict[str, Callable[[Calls], int]] = {
    "cve-2023-52790": a_transient_pool_was_overrun,
    "cve-2024-35814": a_page_was_at_an_odd_slot,
    "no-min-alignment": a_place_in_a_page_was_not_kept,
    "no-page-alignment": a_page_was_at_an_odd_slot,
    "injected-overlap": two_were_in_one_slot,
    "injected-lost-release": the_512th_release_of_several_slots,
}


def test_every_bug_is_tried_under_load() -> None:
    assert set(HAPPENED) == set(FAULTY)


@pytest.mark.parametrize("kernel", HAPPENED)
def test_a_bug_is_told_of_within_a_thousand_operations(lab: Lab, kernel: str) -> None:
    ran = lab.run(Machine(kernel=kernel, cpus=4), guest_shell(LOAD))
    assert (ran.status, ran.stderr) == (0, "")
    report = judged(ran.files / "load.swtrace")
    assert report.exit_code is Exit.DISAGREE
    assert report.findings.first is not None
    happened = HAPPENED[kernel](Calls(load(ran.files / "load.swtrace")))
    told = report.findings.first.operation
    print(f"{kernel}: happened by {happened}, told of at {told}: {report.findings.first.observed}")
    assert told <= happened + SOON


def test_the_same_load_on_a_sound_kernel_is_nothing(lab: Lab) -> None:
    ran = lab.run(Machine(cpus=4), guest_shell(LOAD))
    assert (ran.status, ran.stderr) == (0, "")
    report = judged(ran.files / "load.swtrace")
    assert (report.findings.first, report.findings.safety_violations, report.miscounts) == (None, 0, ())
    assert report.findings.agree > 40_000
