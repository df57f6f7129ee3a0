"""Kernel logs for the tests of who shows them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import VerdictView
from swiotlb_top.kernel_log.stream import tally
from swiotlb_top.kernel_log.tally import Found
from swiotlb_top.kernel_log.watch import KernelLog
from tests.support.snapshots import QUIET

REPORTED: Final = Path(__file__).parents[1] / "unit/kernel_log/reported_lines.tsv"
FULL: Final = "nvme 0000:00:01.0: swiotlb buffer is full (sz: 8192 bytes), total 32768 (slots), used 16 (slots)"
POOL: Final = "software IO TLB: Failed to allocate new pool"


def found(*lines: str) -> Found:
    return tally(f"[    5.0] {line}".encode() for line in lines).found()


EARLIER: Final = KernelLog(before=found(FULL, FULL), zero_s=time.time() - 3600)
CALM: Final = replace(QUIET, verdict=VerdictView("6.10", 10, 10, 0, 0, 0), kernel_log=KernelLog())
WELL: Final = Frame(CALM, replace(CALM, time_ns=CALM.time_ns - 10**9))


def with_log(log: KernelLog) -> Frame:
    return replace(WELL, now=replace(WELL.now, kernel_log=log))


KEYS_OF_A_LOG: Final = (
    "unreadable",
    "missing",
    "failed_maps_before",
    "failed_maps_since",
    "not_printed",
    "groups.device",
    "groups.driver",
    "groups.cause",
    "groups.possible",
    "groups.lines",
    "groups.at_least",
    "groups.since",
    "groups.last_time",
    "groups.last_line",
)
"""A recording has no log; test_seen.py holds these against one that has."""
