"""A device's limits in words, and the largest mapping that they allow."""

from __future__ import annotations

from swiotlb_top.accounting import numbers
from swiotlb_top.allocator import Limits
from swiotlb_top.allocator.request import NO_BOUNDARY
from swiotlb_top.constants import IO_TLB_SIZE, MAX_ALLOC_BYTES


def largest_bytes(limits: Limits) -> int:
    """Nothing larger can be mapped, however its buffer lies: a run of slots neither leaves its slot set nor crosses a
    segment boundary."""
    boundary_slots = -(-(limits.seg_boundary_mask + 1) // IO_TLB_SIZE)
    return min(MAX_ALLOC_BYTES, boundary_slots * IO_TLB_SIZE)


def told_bytes(limits: Limits) -> int:
    """What the kernel tells the driver to keep to, so that a mapping fits however its buffer lies: mirrors
    ``swiotlb_max_mapping_size()``, since 82806744fd7d (5.19)."""
    return max(0, MAX_ALLOC_BYTES - -(-limits.min_align_mask // IO_TLB_SIZE) * IO_TLB_SIZE)


def in_words(limits: Limits) -> tuple[tuple[str, str], ...]:
    """Each limit: its label, and what it means."""
    return (
        ("reaches", _reaches(limits)),
        ("boundary", _boundary(limits)),
        ("keeps", _keeps(limits)),
        ("largest", _largest(limits)),
    )


def as_json(limits: Limits) -> dict[str, object]:
    """Masks in hexadecimal; null is: there is none."""
    return {
        "dma_mask": f"{limits.dma_mask:#x}",
        "bus_dma_limit": f"{limits.bus_dma_limit:#x}" if limits.bus_dma_limit else None,
        "seg_boundary_mask": f"{limits.seg_boundary_mask:#x}",
        "min_align_mask": f"{limits.min_align_mask:#x}",
        "largest_bytes": largest_bytes(limits),
        "told_bytes": told_bytes(limits),
    }


def _reaches(limits: Limits) -> str:
    if limits.phys_limit == (1 << 64) - 1:
        return "every address (dma_mask of 64 bits)"
    by_bus = 0 < limits.bus_dma_limit == limits.phys_limit
    return f"addresses up to {limits.phys_limit:#x} ({'bus_dma_limit' if by_bus else 'dma_mask'})"


def _boundary(limits: Limits) -> str:
    if limits.seg_boundary_mask == NO_BOUNDARY:
        return "none"
    return f"no mapping crosses a multiple of {limits.seg_boundary_mask + 1:#x} (seg_boundary_mask)"


def _keeps(limits: Limits) -> str:
    if not limits.min_align_mask:
        return "no bits of a buffer's address (min_align_mask)"
    return f"the bits {limits.min_align_mask:#x} of a buffer's address (min_align_mask)"


def _largest(limits: Limits) -> str:
    largest, told = largest_bytes(limits), told_bytes(limits)
    never = f"nothing over {numbers.count(largest)} bytes can be mapped, whatever swiotlb= says"
    if told >= largest:
        return never
    return f"{never}; over {numbers.count(told)} only where the low bits of the buffer's address allow"
