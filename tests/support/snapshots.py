"""Snapshots for the tests of the views: plain data, with the numbers of the field notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from swiotlb_top.accounting.evidence import Evidence, Tried
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.journal import Entry
from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.readings import readings_of
from swiotlb_top.accounting.snapshot import (
    Asker,
    DeviceView,
    FailureView,
    Playback,
    PoolView,
    Snapshot,
    VerdictView,
)
from swiotlb_top.allocator import Cause, Limits
from swiotlb_top.kernel.around import Around
from swiotlb_top.sources import PlayOrder
from tests.support.slots import mapping, slots_with

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
    causes=((Cause.FRAGMENTED, 228), (Cause.TOO_LARGE, 2)),
    last_failure="needs 128 contiguous slots, longest free run 126",
    held_slots=412,
    map_p50_ns=3_200,
    map_p99_ns=21_000,
    sizes=(9_000, 0, 0, 4_000, 0, 0, 0, 1_230, 0),
    asked_slots=198_440,
    to_device_bytes=7_000_000,
    from_device_bytes=50_327_616,
    known_as="vda",
    evidence=Evidence(
        Limits(0xFFFF_FFFF, min_align_mask=0xFFF), False, True, Tried(within=812), Around(asked_for=True)
    ),
    askers=(
        Asker(("virtqueue_add_sgs", "virtblk_add_req", "virtio_queue_rq", "blk_mq_dispatch_rq_list", "kthread"), 229),
        Asker((), 1),
    ),
)
NVME = DeviceView(0xFFFF_8880_0456_7000, "0000:00:05.0", "nvme", 40, 0, 40, 2_621_440, 2_621_440, known_as="nvme0n1")

DEFAULT_POOL = PoolView(
    0xFFFF_FFFF_8300_0000,
    0x7BF0_0000,
    512,
    4,
    412,
    False,
    True,
    50,
    slots_with(
        512,
        4,
        [
            mapping(0, 128, DISK.dev),
            mapping(128, 128, DISK.dev),
            mapping(256, 78, DISK.dev),
            mapping(404, 78, DISK.dev),
        ],
    ),
    since_ns=0,
)
GROWN_POOL = PoolView(
    0xFFFF_8880_0789_0000,
    0x1_0000_0000,
    2048,
    4,
    3,
    False,
    False,
    128,
    slots_with(2048, 4, [mapping(0, 3)]),
    since_ns=2 * SECOND_NS,
)
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
    watched_ns=2 * SECOND_NS,
)

STALLED = replace(
    QUIET,
    watched_ns=3 * SECOND_NS,
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
    verdict=VerdictView("6.10", 14_400, 14_400, 0, 0, 0),
    notes=("find_slots is inlined: pools are told by address",),
    failures=(
        FailureView(
            5_900_000_000,
            DISK.dev,
            DISK.name,
            DISK.driver,
            262_144,
            3,
            Cause.FRAGMENTED,
            "needs 128 contiguous slots, longest free run 126",
            "agrees",
            228,
        ),
        FailureView(5_100_000_000, DISK.dev, DISK.name, DISK.driver, 524_288, 1, times=2),
    ),
    sampled=True,
    sampled_ns=5_700_000_000,
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
    unseen="debugfs has no devices, pools, rates or failures: those need the live source, and root",
)

PLAYED = replace(
    STALLED, source="replay", sampled=False, sampled_ns=-1, playback=Playback(1_500_000_000, 8_000_000_000, 2.0, False)
)

STALLING = Frame(
    STALLED,
    QUIET,
    1,
    history=(Past.of(replace(QUIET, time_ns=4 * SECOND_NS)), Past.of(QUIET)),
    readings=readings_of(map(Past.of, (replace(QUIET, time_ns=4 * SECOND_NS), QUIET, STALLED))),
    journal=(
        Entry(6 * SECOND_NS, "bad", "failing", "0000:00:04.0 (virtio-pci)"),
        Entry(2 * SECOND_NS, "plain", "pool added", "0x100000000: 2048 slots in 4 areas"),
    ),
)
"""A second in which 230 maps of a disk failed."""

NIC = DeviceView(
    dev=0xFFFF_8880_0999_1000,
    name="0000:00:05.0",
    driver="virtio-pci",
    maps=12_210,
    map_failures=0,
    unmaps=12_000,
    mapped_bytes=25_006_080,
    unmapped_bytes=24_576_000,
    asked_slots=12_210,
    held_slots=210,
    oldest_ns=3 * SECOND_NS,
)
STARVED = Frame(
    replace(
        STALLED,
        nslabs=256,
        used_slots=240,
        used_hiwater_slots=250,
        transient_slots=0,
        maps=26_210,
        unmaps=25_996,
        growths=0,
        pools_added=0,
        pools=(
            replace(
                DEFAULT_POOL,
                nslabs=256,
                nareas=2,
                used_slots=240,
                longest_free_slots=8,
                slots=slots_with(
                    256,
                    2,
                    [
                        *(mapping(slot, 1, NIC.dev) for slot in (*range(120), *range(128, 218))),
                        mapping(218, 4, DISK.dev),
                        mapping(222, 26),
                    ],
                ),
            ),
        ),
        devices=(
            NIC,
            replace(
                DISK,
                causes=((Cause.EXHAUSTED, 230),),
                last_failure="needs 128 slots, 16 of 256 are free",
                held_slots=4,
            ),
        ),
        failures=(),
        notes=(),
    ),
    QUIET,
    1,
)
"""A second in which 230 maps of a disk failed, because a network card holds nearly all of the slots."""


class ScriptedSource:
    """Gives the snapshots it is told to, raising those that are exceptions; the last one for ever."""

    def __init__(self, script: Iterable[Snapshot | Exception]) -> None:
        self._script: Iterator[Snapshot | Exception] = iter(script)
        self._last: Snapshot | Exception = QUIET
        self.closed = False
        self.told: list[PlayOrder] = []

    def snapshot(self) -> Snapshot:
        self._last = next(self._script, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last

    def close(self) -> None:
        self.closed = True

    def play(self, order: PlayOrder) -> None:
        self.told.append(order)

    @property
    def orders(self) -> list[PlayOrder]:
        """What it was told by somebody, and not by the time that passes."""
        return [order for order in self.told if not order.passed_ns]
