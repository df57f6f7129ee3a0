"""Snapshots for the tests of the views: plain data, with the numbers of the field notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from swiotlb_top.accounting.snapshot import DeviceView, PoolView, Snapshot, VerdictView
from swiotlb_top.sources.frame import Frame

SECOND_NS = 1_000_000_000

DISK = DeviceView(
    dev=0xFFFF_8880_0123_4000,
    name="0000:00:04.0",
    driver="virtio-pci",
    maps=14_000,
    map_failures=230,
    unmaps=13_996,
    mapped_bytes=57_344_000,
    unmapped_bytes=57_327_616,
    causes=(("too_fragmented", 228), ("too_large", 2)),
    last_failure="needs 128 contiguous slots, longest free run 126",
)
NVME = DeviceView(0xFFFF_8880_0456_7000, "0000:00:05.0", "nvme", 40, 0, 40, 2_621_440, 2_621_440)

DEFAULT_POOL = PoolView(0xFFFF_FFFF_8300_0000, 0x7BF0_0000, 512, 4, 412, False, True, 126)
GROWN_POOL = PoolView(0xFFFF_8880_0789_0000, 0x1_0000_0000, 2048, 4, 3, False, False, 2000)
TRANSIENT_POOL = PoolView(0xFFFF_8880_0789_8000, 0x2_0000_0000, 40, 1, 40, True, False)

QUIET = Snapshot(
    time_ns=5 * SECOND_NS,
    source="live",
    reason="fexit on swiotlb_tbl_map_single",
    kernel_release="6.12.117",
    nslabs=512,
    used_slots=0,
    used_hiwater_slots=0,
    transient_slots=0,
    maps=0,
    map_failures=0,
    unmaps=0,
    growths=0,
    pools_added=0,
    lost=0,
)

STALLED = replace(
    QUIET,
    time_ns=6 * SECOND_NS,
    nslabs=2560,
    used_slots=415,
    used_hiwater_slots=2560,
    transient_slots=40,
    maps=14_040,
    map_failures=230,
    unmaps=14_036,
    growths=5,
    pools_added=4,
    pools=(GROWN_POOL, DEFAULT_POOL, TRANSIENT_POOL),
    devices=(NVME, DISK),
    verdict=VerdictView("6.8-6.12", 14_400, 14_400, 0, 0, 0),
    notes=("find_slots is inlined: pools are told by address",),
)

DEBUGFS = replace(
    QUIET,
    source="debugfs",
    reason="live: needs root; so: swiotlb's own counters",
    used_slots=3,
    maps=-1,
    map_failures=-1,
    unmaps=-1,
    growths=-1,
    pools_added=-1,
    verdict=None,
)

STALLING = Frame(STALLED, QUIET, 1)
"""A second in which 230 maps of a disk failed."""


class ScriptedSource:
    """Gives the snapshots it is told to, raising those that are exceptions; the last one for ever."""

    def __init__(self, script: Iterable[Snapshot | Exception]) -> None:
        self._script: Iterator[Snapshot | Exception] = iter(script)
        self._last: Snapshot | Exception = QUIET
        self.closed = False

    def snapshot(self) -> Snapshot:
        self._last = next(self._script, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last

    def close(self) -> None:
        self.closed = True
