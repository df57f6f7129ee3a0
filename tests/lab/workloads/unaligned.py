"""unaligned.py DEVICE [LARGEST_BYTES]: direct reads into buffers that begin anywhere in their page.

Every size up to the largest at every offset that the device's dma_alignment lets through: multiples of 4 on nvme, of
512 on virtio-blk. Each read is one of memory that lies together, and up to SCATTERED bytes also one of pages that do
not. The buffer is told from the disk, which is all zeros, so that a read that did not reach it is seen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lab.workloads.memory import PAGE, scattered, together

SCATTERED = 65536
# The first reads need more slots than there are before a dynamic pool has grown. They are those that a transient pool's
# slot 0 does not suit: nvme keeps bits 0 to 11 of an address (min_align_mask 4095), and bit 11 is set.
OFFSETS = (2048, 2560, 3072, 3584, 2052, 3076, 4092, 0, 512, 1024, 1536, 4, 508, 1028, 2044)
SIZES = (4194304, 1048576, 262144, 65536, 16384, 8192, 6144, 4096, 2048, 1024, 512)
FILLED_WITH = b"\xaa"


def requests(dma_alignment: int, largest_bytes: int = max(SIZES)) -> Iterator[tuple[int, int]]:
    """(offset in a page, size) of every read, in bytes. `dma_alignment`: the bits that must be clear in an offset."""
    for size in SIZES:
        for offset in OFFSETS:
            if size <= largest_bytes and not offset & dma_alignment:
                yield offset, size


def is_read(disk: int, buffer: memoryview) -> bool:
    buffer[:] = FILLED_WITH * len(buffer)
    try:
        # Byte by byte, as a memoryview is compared: it takes its time, in which others read.
        return os.preadv(disk, [buffer], 0) == len(buffer) and buffer == bytes(len(buffer))
    except OSError:
        return False


def main() -> int:
    device = sys.argv[1]
    largest_bytes = int(sys.argv[2]) if len(sys.argv) > 2 else max(SIZES)
    dma_alignment = int(Path(f"/sys/block/{device}/queue/dma_alignment").read_text())
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    rooms = (together(PAGE + max(SIZES)), scattered(PAGE + SCATTERED))
    status = 0
    for offset, size in requests(dma_alignment, largest_bytes):
        for room in rooms:
            if offset + size <= len(room) and not is_read(disk, room[offset : offset + size]):
                print(f"wrong: {size} bytes at offset {offset}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
