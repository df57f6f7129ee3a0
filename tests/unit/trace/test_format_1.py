"""Traces recorded with format 1 are read for ever: the file was written once and stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from swiotlb_top.constants import INVALID_PHYS_ADDR
from swiotlb_top.cpus import Cpus
from swiotlb_top.events import Gap
from swiotlb_top.records import RECORD, Kind
from swiotlb_top.state import AreaState, DeviceName, HookPlace, How, KernelInfo, MemState, PoolState
from swiotlb_top.trace import End, Header, Item, Records, TraceReader

TRACES: Final = Path(__file__).parents[2] / "traces"
RECORDED: Final = TRACES / "format-1.swtrace"

DEV: Final = 0xFFFF_8880_0312_F010
POOL: Final = 0xFFFF_FFFF_8340_1A20
NEW_POOL: Final = 0xFFFF_8880_0A00_0000
MEM: Final = 0xFFFF_FFFF_8340_1A00

HEADER: Final = Header(
    kernel=KernelInfo(
        release="6.12.117",
        machine="x86_64",
        boot_id="0b8d7a52-6a36-4b0e-9a39-5d1f6d0d3f1c",
        cpus=Cpus.first(4),
        features=("dynamic", "pad_slots"),
        hooks=(
            HookPlace("find_slots", How.DERIVED),
            HookPlace("unmap", How.FENTRY, "fexit", "__swiotlb_tbl_unmap_single"),
        ),
    ),
    tool_version="0.1.0",
    clock="CLOCK_MONOTONIC",
    started_realtime_ns=1_795_364_400_000_000_000,
)
STATE: Final = MemState(
    address=MEM,
    nslabs=8,
    can_grow=True,
    dynamic=True,
    default_nslabs=8,
    default_nareas=2,
    phys_limit=0xFFFF_FFFF,
    pools=(
        PoolState(
            address=POOL,
            start=0x7A00_0000,
            nslabs=8,
            nareas=2,
            area_nslabs=4,
            transient=False,
            begin_ns=100,
            end_ns=180,
            areas=(AreaState(used=2, index=2), AreaState(used=0, index=0)),
            list_=(0, 0, 2, 1, 4, 3, 2, 1),
            orig_addr=(0x1_2345_6000, 0x1_2345_6800, *[INVALID_PHYS_ADDR] * 6),
            alloc_size=(4096, 2048, 0, 0, 0, 0, 0, 0),
            pad_slots=(0, 0, 0, 0, 0, 0, 0, 0),
        ),
    ),
    total_used=2,
    used_hiwater=5,
    transient_nslabs=-1,
)
FIRST_RECORDS: Final = Records(
    RECORD.pack(1_000, 600, 1, Kind.FIND, 0, DEV, POOL, 0x1_5000_0000, 4096, 4, 0, 0)
    + RECORD.pack(9_000, 450, 1, Kind.UNMAP, 0x06, DEV, POOL, 0x7A00_2000, 4096, 0, 0, 0)
    + RECORD.pack(9_900, 640, 2, Kind.FIND, 0x08, DEV, 0, 0x1_6000_0000, 65536, 0xFFFF_FFFF_FFFF_FFFF, 0, 0)
)
LAST_RECORDS: Final = Records(
    RECORD.pack(80_000, 0xFFFF_FFFF, 0, Kind.POOL_ADD, 0, MEM, NEW_POOL, 0x7C00_0000, 512, 0, 4, 128)
    + RECORD.pack(81_000, 620, 2, Kind.FIND, 0, DEV, NEW_POOL, 0x1_6000_0000, 65536, 32, 0, 0)
    + RECORD.pack(85_000, 5_420, 2, Kind.UNMAP, 0x06, DEV, NEW_POOL, 0x7C01_0000, 65536, 0, 0, 0)
)
ITEMS: Final[tuple[Item, ...]] = (
    HEADER,
    STATE,
    DeviceName(dev=DEV, name="0000:00:04.0", driver="virtio-pci"),
    FIRST_RECORDS,
    Gap(begin_ns=10_000, exit_ns=79_000, lost=17, cause="ring buffer full"),
    LAST_RECORDS,
    End(counters={"maps": 12, "unmaps": 10, "map_failures": 1}, duration_ns=1_000_000, lost=17),
)


def test_a_trace_of_format_1_still_reads_as_it_was_written() -> None:
    reader = TraceReader(RECORDED)

    assert reader.header == HEADER
    assert tuple(reader) == ITEMS
