"""unaligned.py DEVICE[:LARGEST_BYTES]...: direct reads into buffers that begin anywhere in their page, at once of each.

Every size but the largest at every offset that the device's dma_alignment lets through: multiples of 4 on nvme, of
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
IN_SLOT_1 = (2048, 2560, 3072, 3584, 2052, 3076, 4092)
IN_SLOT_0 = (0, 512, 1024, 1536, 4, 508, 1028, 2044)
LARGEST_BYTES = 4194304
SIZES = (1048576, 262144, 65536, 16384, 8192, 6144, 4096, 2048, 1024, 512)
FILLED_WITH = b"\xaa"


def requests(dma_alignment: int, largest_bytes: int = LARGEST_BYTES) -> Iterator[tuple[int, int]]:
    """(offset in a page, size) of every read, in bytes. `dma_alignment`: the bits that must be clear in an offset.

    The first ones need more slots than there are before a dynamic pool has grown. They are those that a transient
    pool's slot 0 does not suit: nvme keeps bits 0 to 11 of an address (min_align_mask 4095), and bit 11 is set.
    """
    first = ((offset, LARGEST_BYTES) for offset in IN_SLOT_1)
    others = ((offset, size) for size in SIZES for offset in IN_SLOT_1 + IN_SLOT_0)
    for offset, size in (*first, *others):
        if size <= largest_bytes and not offset & dma_alignment:
            yield offset, size


def is_read(disk: int, buffer: memoryview) -> bool:
    buffer[:] = FILLED_WITH * len(buffer)
    try:
        # Byte by byte, as a memoryview is compared: it takes its time, in which others read.
        return os.preadv(disk, [buffer], 0) == len(buffer) and buffer == bytes(len(buffer))
    except OSError:
        return False


def read_all(device: str, largest_bytes: int) -> int:
    """0, or 1 where one was wrong."""
    dma_alignment = int(Path(f"/sys/block/{device}/queue/dma_alignment").read_text())
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    rooms = (together(PAGE + LARGEST_BYTES), scattered(PAGE + SCATTERED))
    status = 0
    for offset, size in requests(dma_alignment, largest_bytes):
        for room in rooms:
            if offset + size <= len(room) and not is_read(disk, room[offset : offset + size]):
                print(f"wrong: {size} bytes at offset {offset} of {device}", flush=True)
                status = 1
    return status


def main() -> int:
    for words in sys.argv[1:]:
        device, _, largest_bytes = words.partition(":")
        if os.fork() == 0:
            os._exit(read_all(device, int(largest_bytes or LARGEST_BYTES)))
    return max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
