"""unaligned.py DEVICE: direct reads into buffers that begin anywhere in their page.

Every size at every offset that the device's dma_alignment lets through: multiples of 4 on nvme, of 512 on virtio-blk.
The buffer is told from the disk, which is all zeros, so that a read that did not reach it is seen.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PAGE = 4096
SCATTERED = 65536
# The first reads need more slots than there are before a dynamic pool has grown. They are those that a transient pool's
# slot 0 does not suit: nvme keeps bits 0 to 11 of an address (min_align_mask 4095), and bit 11 is set.
OFFSETS = (2048, 2560, 3072, 3584, 2052, 3076, 4092, 0, 512, 1024, 1536, 4, 508, 1028, 2044)
SIZES = (4194304, 1048576, 262144, 65536, 16384, 8192, 6144, 4096, 2048, 1024, 512)
FILLED_WITH = b"\xaa"


def requests(dma_alignment: int) -> Iterator[tuple[int, int]]:
    """(offset in a page, size) of every read, in bytes. `dma_alignment`: the bits that must be clear in an offset."""
    for size in SIZES:
        for offset in OFFSETS:
            if not offset & dma_alignment:
                yield offset, size


def room() -> memoryview:
    """Memory for one read, whose pages lie together, as fresh ones do that are touched in their order."""
    return touched(range(0, PAGE + max(SIZES), PAGE))


def scattered_room() -> memoryview:
    """The same for reads up to SCATTERED, of which no two pages lie together."""
    pages = range(0, PAGE + SCATTERED, PAGE)
    return touched([*pages[::2], *pages[1::2]])


def touched(pages: Sequence[int]) -> memoryview:
    memory = mmap.mmap(-1, len(pages) * PAGE)
    for page in pages:
        memory[page] = 0
    return memoryview(memory)


def is_read(disk: int, buffer: memoryview) -> bool:
    buffer[:] = FILLED_WITH * len(buffer)
    try:
        return os.preadv(disk, [buffer], 0) == len(buffer) and buffer == bytes(len(buffer))
    except OSError:
        return False


def main() -> int:
    device = sys.argv[1]
    dma_alignment = int(Path(f"/sys/block/{device}/queue/dma_alignment").read_text())
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    together, scattered = room(), scattered_room()
    status = 0
    for offset, size in requests(dma_alignment):
        memory = scattered if size <= SCATTERED else together
        if not is_read(disk, memory[offset : offset + size]):
            print(f"wrong: {size} bytes at offset {offset}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
