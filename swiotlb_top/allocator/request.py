"""A request for slots, and the limits of the device that makes it."""

from __future__ import annotations

from typing import Final, NamedTuple

from swiotlb_top.constants import IO_TLB_SIZE

NO_BOUNDARY: Final = 0xFFFF_FFFF_FFFF_FFFF
"""``seg_boundary_mask`` of a device that sets none (``dma_get_seg_boundary()`` says ULONG_MAX)."""


class Limits(NamedTuple):
    """The limits of a device: masks as ``dma_get_seg_boundary()`` and the like return them.

    ``seg_boundary_mask`` is 2^k - 1 (the kernel's BUG_ON in ``iommu_is_span_boundary()``).
    Addresses are physical: a device behind an offset (``dma_range_map``) is not modelled.
    """

    seg_boundary_mask: int = NO_BOUNDARY
    min_align_mask: int = 0
    dma_mask: int = 0xFFFF_FFFF_FFFF_FFFF
    bus_dma_limit: int = 0

    @property
    def phys_limit(self) -> int:
        """Highest address a transient pool may have: ``min_not_zero(dma_mask, bus_dma_limit)``."""
        return min(self.dma_mask or self.bus_dma_limit, self.bus_dma_limit or self.dma_mask)


def align_offset(align_mask: int, addr: int, min_align_mask: int) -> int:
    """Bytes between the allocation's start and the buffer, as ``swiotlb_align_offset()``."""
    return addr & min_align_mask & (align_mask | (IO_TLB_SIZE - 1))


class Request(NamedTuple):
    """The arguments of ``swiotlb_find_slots()``.

    ``alloc_size_bytes`` (at least 1) includes alignment padding. ``orig_addr`` 0 means "no buffer"
    (``swiotlb_alloc()``): its low bits then ask for nothing. ``alloc_align_mask`` is the kernel's
    unsigned int, usually 0 or 2^k - 1. How a mapping becomes a request differs between kernels:
    :meth:`Revision.request <swiotlb_top.allocator.revision.Revision.request>`.
    """

    orig_addr: int
    alloc_size_bytes: int
    alloc_align_mask: int
    limits: Limits
