"""large.py DEVICE [MEBIBYTES=64]: direct reads of 1 MiB into memory that lies together, in a huge page.

Their segments are as large as swiotlb lets them be: 256 KiB (128 slots, a whole slot set) on vda, 252 KiB on nvme0n1,
whose min_align_mask takes a page off. A kernel without transparent huge pages cannot have it, and it says so.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys

PAGE = 4096
MEBIBYTE = 1 << 20
HUGE_PAGE = 2 * MEBIBYTE
PAGE_FRAME = (1 << 55) - 1
"""Bits of an entry of /proc/PID/pagemap that are the page frame number, for a page that is there."""


def huge_page() -> memoryview:
    """Memory of one huge page. SystemExit if the kernel gives pages that do not lie together."""
    room = mmap.mmap(-1, 2 * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    room.madvise(mmap.MADV_HUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    begins = -address % HUGE_PAGE
    page = memoryview(room)[begins : begins + HUGE_PAGE]
    page[:] = bytes(HUGE_PAGE)
    frames = page_frames(address + begins, HUGE_PAGE // PAGE)
    if frames != list(range(frames[0], frames[0] + len(frames))):
        raise SystemExit("large.py: this kernel gives no huge pages")
    return page


def page_frames(address: int, pages: int) -> list[int]:
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(address // PAGE * 8)
        return [entry & PAGE_FRAME for (entry,) in struct.iter_unpack("=Q", pagemap.read(pages * 8))]


def main() -> None:
    device = sys.argv[1]
    mebibytes = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    buffer = huge_page()[:MEBIBYTE]
    for number in range(mebibytes):
        os.preadv(disk, [buffer], number * MEBIBYTE)


if __name__ == "__main__":
    main()
