"""What is asked of swiotlb, and the arithmetic around it in ``swiotlb_tbl_map_single()``."""

from __future__ import annotations

from typing import Final, NamedTuple

from swiotlb_top.allocator.geometry import IO_TLB_SHIFT, IO_TLB_SIZE, align_up, slot_addr

NO_BOUNDARY: Final = 0xFFFF_FFFF_FFFF_FFFF
"""``seg_boundary_mask`` of a device that sets none (``dma_get_seg_boundary()`` says ULONG_MAX)."""


class Limits(NamedTuple):
    """What a device can do. Masks as ``dma_get_seg_boundary()`` and friends return them.

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


class Request(NamedTuple):
    """The arguments of ``swiotlb_find_slots()``.

    ``alloc_size_bytes`` (at least 1) includes alignment padding. ``orig_addr`` 0 means "no buffer"
    (``swiotlb_alloc()``): its low bits then ask for nothing. ``alloc_align_mask`` is the kernel's
    unsigned int, usually 0 or 2^k - 1.
    """

    orig_addr: int
    alloc_size_bytes: int
    alloc_align_mask: int
    limits: Limits


def align_offset(align_mask: int, addr: int, min_align_mask: int) -> int:
    """Bytes between the allocation's start and the buffer, as ``swiotlb_align_offset()``."""
    return addr & min_align_mask & (align_mask | (IO_TLB_SIZE - 1))


def alloc_size_bytes(mapping_size_bytes: int, orig_addr: int, alloc_align_mask: int, limits: Limits) -> int:
    """Size asked of ``swiotlb_find_slots()`` for a mapping, as ``swiotlb_tbl_map_single()`` has it since 6.10."""
    offset = align_offset(alloc_align_mask, orig_addr, limits.min_align_mask)
    return align_up(mapping_size_bytes + offset, alloc_align_mask)


def request_for(mapping_size_bytes: int, orig_addr: int, alloc_align_mask: int, limits: Limits) -> Request:
    """The request ``swiotlb_tbl_map_single()`` makes for a mapping since 6.10; of older kernels
    :meth:`Revision.request <swiotlb_top.allocator.revision.Revision.request>` knows."""
    size = alloc_size_bytes(mapping_size_bytes, orig_addr, alloc_align_mask, limits)
    return Request(orig_addr, size, alloc_align_mask, limits)


def pad_slots(request: Request) -> int:
    """Whole slots of padding before the buffer (``alloc_align_mask`` above a slot, since 6.9 only)."""
    orig_addr, _, align_mask, limits = request
    return align_offset(align_mask, orig_addr, limits.min_align_mask) >> IO_TLB_SHIFT


def tlb_addr(start: int, slot: int, request: Request, *, pads_slots: bool = True) -> int:
    """The address ``swiotlb_tbl_map_single()`` returns for slots taken from ``slot`` on.

    :param start: the pool's first byte.
    :param slot: what ``swiotlb_find_slots()`` returned, padding included.
    :param pads_slots: whether this kernel puts whole slots before the buffer (since 6.9).
    """
    align_mask = request.alloc_align_mask if pads_slots else 0
    return slot_addr(start, slot) + align_offset(align_mask, request.orig_addr, request.limits.min_align_mask)
