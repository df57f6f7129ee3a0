"""Memory for direct reads whose pages lie together, and memory of which no two pages do.

Where a buffer's pages lie together, its segments are as large as device and swiotlb let them be; elsewhere they end at
a page's end.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import struct
from collections.abc import Sequence

PAGE = 4096
HUGE_PAGE = 2 << 20
PAGE_FRAME = (1 << 55) - 1
"""Bits of an entry of /proc/PID/pagemap that are the page frame number, for a page that is there."""


def together(size_bytes: int) -> memoryview:
    """Memory in huge pages, from the first byte of one on.

    Where the kernel has none, or none is free, it is in fresh pages touched in their order: most lie together.
    """
    size = -(-size_bytes // HUGE_PAGE) * HUGE_PAGE
    room = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # of a kernel built without them
        room.madvise(mmap.MADV_HUGEPAGE)
    begins = -_address(memoryview(room)) % HUGE_PAGE
    memory = memoryview(room)[begins : begins + size]
    _touch(memory, range(0, size, PAGE))
    return memory[:size_bytes]


def scattered(size_bytes: int) -> memoryview:
    """Memory in fresh pages of 4 KiB, every other of which is touched after all those between."""
    room = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory = memoryview(room)
    pages = range(0, size_bytes, PAGE)
    _touch(memory, [*pages[::2], *pages[1::2]])
    return memory


def lies_together(memory: memoryview) -> bool:
    """Whether each of its pages follows the one before it (which only root is told: no, for all others)."""
    frames = _page_frames(_address(memory), len(memory) // PAGE)
    return frames == list(range(frames[0], frames[0] + len(frames)))


def _touch(memory: memoryview, pages: Sequence[int]) -> None:
    for page in pages:
        memory[page] = 0


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _page_frames(address: int, pages: int) -> list[int]:
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(address // PAGE * 8)
        return [entry & PAGE_FRAME for (entry,) in struct.iter_unpack("=Q", pagemap.read(pages * 8))]
