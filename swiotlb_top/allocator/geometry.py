"""The arithmetic of slots and addresses that the kernel's functions share."""

from __future__ import annotations

from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE


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
