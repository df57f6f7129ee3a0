"""Consoles of the lab's kernels, as they were written while an NVMe disk bounced more than the pools hold."""

from __future__ import annotations

from pathlib import Path

from swiotlb_top.kernel_log.causes import LogCause
from swiotlb_top.kernel_log.report import WhyReport
from swiotlb_top.kernel_log.stream import read_log

CONSOLES = Path(__file__).with_name("consoles")


def _report(name: str) -> WhyReport:
    with (CONSOLES / name).open("rb") as console:
        return WhyReport(*read_log(console))


def test_a_burst_is_told_of_line_by_line() -> None:
    found = _report("dynamic.log").found
    assert [(group.device, group.driver, group.cause, group.lines) for group in found.groups] == [
        ("0000:00:05.0", "nvme", LogCause.EXHAUSTED, 9),
        ("0000:00:05.0", "nvme", LogCause.NO_RUN, 1),
    ]
    assert found.groups[0].sizes_bytes == (258048, 258048)
    assert not found.groups[0].never_fell
    assert found.boot == ("command line: swiotlb=512,force", "software IO TLB: area num 4.")
    assert found.unknown == 0


def test_the_line_that_was_counted_late_is_not_said_to_be_of_a_pool_with_room() -> None:
    """The ninth line has 126 of 512 in use, 504 before it and after: others had given back before it was counted."""
    (late,) = (group for group in _report("dynamic.log").found.groups if group.cause is LogCause.NO_RUN)
    assert "exhausted" in {cause.value for cause in late.cause.possible}
    assert "or exhausted, if others gave slots back in between" in _report("dynamic.log").as_text()


def test_that_pools_were_added_is_seen_by_their_slots() -> None:
    report = _report("grown.log")
    assert {group.total_slots for group in report.found.groups} == {(512, 2048), (2560, 3072)}
    assert "CONFIG_SWIOTLB_DYNAMIC" in report.as_text()
