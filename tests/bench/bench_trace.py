"""What a trace costs to record and to read, and how small it gets.

Run as ``python -m tests.bench.bench_trace [FILE.records]``; without a file of raw 64-byte records the
load is synthetic.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import Final

from swiotlb_top.cpus import Cpus
from swiotlb_top.records import RECORD, Kind
from swiotlb_top.state import AreaState, KernelInfo, MemState, PoolState
from swiotlb_top.trace import Header, Records, TraceReader, TraceWriter

POOL: Final = 0xFFFF_FFFF_8340_1A20
POOL_START: Final = 0x7A00_0000
NSLABS: Final = 32768
SLOT_BYTES: Final = 2048
VIRTIO_BLK: Final = 0xFFFF_8880_0312_F010
NVME: Final = 0xFFFF_8880_0310_30D0
CPUS: Final = 4
REQUESTS_IN_FLIGHT: Final = 8
_HAS_DIRECTION: Final = 0x04


class _FirstFit:
    """Slots of one pool, handed out like the kernel does: onwards from where the area's last search ended."""

    def __init__(self, nslabs: int) -> None:
        self._used = bytearray(nslabs)
        self._area_nslabs = nslabs // CPUS
        self._index = [area * self._area_nslabs for area in range(CPUS)]

    def find(self, cpu: int, nslots: int) -> int:
        free = bytes(nslots)
        first = cpu * self._area_nslabs
        end = first + self._area_nslabs
        slot = self._used.find(free, self._index[cpu], end)
        if slot < 0:
            slot = self._used.find(free, first, end)
        if slot >= 0:
            self._used[slot : slot + nslots] = b"\1" * nslots
            self._index[cpu] = slot + nslots if slot + nslots < end else first
        return slot

    def release(self, slot: int, nslots: int) -> None:
        self._used[slot : slot + nslots] = bytes(nslots)


def _segments(rng: random.Random, dev: int, tag: int) -> list[tuple[int, int, int]]:
    """The (orig_addr, size, direction) of one request: a random page run, and for virtio-blk its header and status."""
    page = rng.randrange(0x10_0000, 0x50_0000) << 12
    if dev == NVME:
        return [(page, 4096, 2)]
    request = 0x1_0A40_0000 + tag * 448
    return [
        (request + 264, 16, 1),
        (page, rng.choice((128, 160, 192, 224, 256, 256, 256)) << 10, 2),
        (request + 280, 1, 2),
    ]


def synthetic_records(count: int, seed: int = 1) -> bytes:
    """About ``count`` packed records of four CPUs reading virtio-blk and nvme through one pool.

    Each map is a FIND and each release an UNMAP, in the order of their ends, with nanosecond jitter.
    """
    rng = random.Random(seed)  # noqa: S311 - a load, not a secret
    slots = _FirstFit(NSLABS)
    done: list[tuple[int, bytes]] = []
    busy: list[tuple[int, int, int, int]] = [
        (rng.randrange(90_000), n % CPUS, n, n % 3 == 2) for n in range(REQUESTS_IN_FLIGHT)
    ]
    while len(done) < count:
        clock_ns, cpu, tag, is_nvme = heappop(busy)
        dev = NVME if is_nvme else VIRTIO_BLK
        held: list[tuple[int, int, int, int]] = []
        for orig_addr, size, direction in _segments(rng, dev, tag):
            copied = size if direction == 1 else 0
            took = int(rng.gauss(620, 60)) + copied // 12
            clock_ns += took + int(rng.expovariate(1 / 180)) + 240
            nslots = -(-size // SLOT_BYTES)
            slot = slots.find(cpu, nslots)
            done.append(_record(clock_ns, took, cpu, Kind.FIND, 0, dev, orig_addr, size, slot))
            if slot >= 0:
                held.append((slot, nslots, size, direction))
        clock_ns += int(rng.gauss(85_000, 20_000)) % 400_000 + 9_000
        for slot, nslots, size, direction in held:
            took = int(rng.gauss(410, 45)) + (size // 12 if direction == 2 else 0)
            clock_ns += took + int(rng.expovariate(1 / 120)) + 150
            slots.release(slot, nslots)
            flags = _HAS_DIRECTION | direction
            done.append(_record(clock_ns, took, cpu, Kind.UNMAP, flags, dev, POOL_START + slot * SLOT_BYTES, size, 0))
        heappush(busy, (clock_ns + int(rng.expovariate(1 / 20_000)), cpu, tag, is_nvme))
    done.sort()
    return b"".join(record for _, record in done)


def _record(
    exit_ns: int, took_ns: int, cpu: int, kind: Kind, flags: int, dev: int, address: int, size: int, result: int
) -> tuple[int, bytes]:
    exit_ns += 3_141_592_653_589
    pool = POOL if result >= 0 else 0
    fields = (exit_ns, took_ns, cpu, kind, flags, dev, pool, address, size, result & 0xFFFF_FFFF_FFFF_FFFF, 0, 0)
    return exit_ns, RECORD.pack(*fields)


HEADER: Final = Header(KernelInfo("6.12.117", "x86_64", "", Cpus.first(CPUS), (), ()), "0.1.0", "CLOCK_MONOTONIC", 0)
RING_BLOCK_RECORDS: Final = 4096
"""What a recorder takes out of the ring buffer at once."""


def state() -> MemState:
    """The synthetic pool, all free."""
    area_nslabs = NSLABS // CPUS
    nothing = (0,) * NSLABS
    pool = PoolState(
        address=POOL,
        start=POOL_START,
        nslabs=NSLABS,
        nareas=CPUS,
        area_nslabs=area_nslabs,
        transient=False,
        begin_ns=0,
        end_ns=0,
        areas=(AreaState(0, 0),) * CPUS,
        list_=tuple(min(128 - slot % 128, NSLABS - slot) for slot in range(NSLABS)),
        orig_addr=(0xFFFF_FFFF_FFFF_FFFF,) * NSLABS,
        alloc_size=nothing,
        pad_slots=nothing,
    )
    return MemState(POOL, NSLABS, False, False, NSLABS, CPUS, 0, (pool,), 0, 0, 0)


def record(path: Path, packed: bytes) -> None:
    """Record ``packed`` the way a recorder does, a block of the ring buffer at a time."""
    with TraceWriter(path, HEADER) as writer:
        writer.state(state())
        for begin in range(0, len(packed), RING_BLOCK_RECORDS * RECORD.size):
            writer.records(packed[begin : begin + RING_BLOCK_RECORDS * RECORD.size])
        writer.end({}, 0, 0)


def read(path: Path) -> int:
    """Number of records read back."""
    return sum(item.count for item in TraceReader(path) if isinstance(item, Records))


def _measure(what: str, count: int, path: Path, work: Callable[[], object]) -> None:
    begin = time.process_time()
    work()
    took = time.process_time() - begin
    size = path.stat().st_size
    print(f"{what:16} {took / count * 1e6:6.2f} us/record  {size:9} bytes  {size / count:5.2f} bytes/record")


def main(arguments: list[str]) -> None:
    """Measure one load and print a line a step."""
    packed = Path(arguments[0]).read_bytes() if arguments else synthetic_records(100_000)
    count = len(packed) // RECORD.size
    print(f"{count} records, {len(packed)} bytes raw")
    with tempfile.TemporaryDirectory() as directory:
        recorded = Path(directory) / "recorded.swtrace"
        _measure("record", count, recorded, lambda: record(recorded, packed))
        _measure("read", count, recorded, lambda: read(recorded))


if __name__ == "__main__":
    main(sys.argv[1:])
