"""The numbers swiotlb is built from (``include/linux/swiotlb.h``, 4 KiB pages)."""

from __future__ import annotations

from typing import Final

IO_TLB_SHIFT: Final = 11
IO_TLB_SIZE: Final = 1 << IO_TLB_SHIFT
"""Bytes in a slot."""

IO_TLB_SEGSIZE: Final = 128
"""Slots in a slot set; no mapping is longer, and none crosses from one set to the next."""

SLOT_SET_SHIFT: Final = 7
MAX_ALLOC_BYTES: Final = IO_TLB_SEGSIZE * IO_TLB_SIZE
IO_TLB_MIN_SLABS: Final = (1 << 20) >> IO_TLB_SHIFT
"""Slots of the smallest pool that growth settles for."""

PAGE_SIZE: Final = 4096
SLABS_PER_PAGE: Final = PAGE_SIZE >> IO_TLB_SHIFT
MAX_PAGE_ORDER: Final = 10
NOT_FOUND: Final = -1
"""``swiotlb_search_pool_area()`` returns -1 where nothing fits."""


def nr_slots(size_bytes: int) -> int:
    """Slots that hold ``size_bytes``, as ``nr_slots()``: rounded up, 0 for 0."""
    return (size_bytes + IO_TLB_SIZE - 1) >> IO_TLB_SHIFT


def slot_addr(start: int, slot: int) -> int:
    """Address of a slot, as ``slot_addr()``."""
    return start + (slot << IO_TLB_SHIFT)


def align_up(value: int, mask: int) -> int:
    """``ALIGN(value, mask + 1)`` of the kernel, for a size: modulo 2^64."""
    return (value + mask) & ~mask & 0xFFFF_FFFF_FFFF_FFFF


def spans_boundary(slot: int, nslots: int, shift_slots: int, boundary_slots: int) -> bool:
    """Would ``nslots`` from ``slot`` cross a segment boundary, as ``iommu_is_span_boundary()``?

    :param shift_slots: where the pool begins inside a segment, in slots.
    :param boundary_slots: length of a segment in slots, a power of two.
    """
    return ((shift_slots + slot) & (boundary_slots - 1)) + nslots > boundary_slots
