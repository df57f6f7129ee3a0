"""Which slots a search may start at, and the steps it takes over the others.

An alignment rule is what a kernel revision decides; what follows from it for one pool (the
:class:`Walk`) is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from swiotlb_top.allocator.geometry import (
    IO_TLB_SEGSIZE,
    IO_TLB_SHIFT,
    IO_TLB_SIZE,
    PAGE_SIZE,
    nr_slots,
    spans_boundary,
)
from swiotlb_top.allocator.request import Limits


class SlotAlignment(NamedTuple):
    """What the address of the first slot must satisfy.

    Its ``alloc_align_mask`` bits are zero; its ``iotlb_align_mask`` bits (none below a slot's
    size) equal those of a non-zero ``orig_addr``. ``stride_slots`` is the step from an aligned
    slot that did not do; from an unaligned one the step is 1.
    """

    alloc_align_mask: int
    iotlb_align_mask: int
    stride_slots: int


AlignmentRule: TypeAlias = Callable[[bool, int, int], SlotAlignment]
"""``(alloc_size >= PAGE_SIZE, alloc_align_mask, min_align_mask) -> SlotAlignment``"""


def align_slot_address(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """The rule of ``swiotlb_search_pool_area()`` in 6.12.

    Page alignment for a page or more holds only where nobody asks for another one.
    """
    if not alloc_align_mask and not min_align_mask and page_or_more:
        alloc_align_mask = PAGE_SIZE - 1
    alloc_align_mask |= IO_TLB_SIZE - 1
    iotlb_align_mask = min_align_mask & ~alloc_align_mask
    stride = (max(alloc_align_mask, iotlb_align_mask) >> IO_TLB_SHIFT) + 1
    return SlotAlignment(alloc_align_mask, iotlb_align_mask, stride)


class Walk(NamedTuple):
    """The search's way over a pool's slots, for one class of requests.

    Aligned slots are those equal to ``(orig_addr & match_mask) / 2 KiB + aligned`` modulo
    ``period``. From one that did not do, the next that is looked at lies ``step`` on: the kernel
    jumps ``stride``, then creeps to alignment. ``period`` is 0 where the aligned slots are no such
    progression; only a slot-by-slot walk finds its way then.
    """

    period: int
    step: int
    stride: int
    match_mask: int
    aligned: int
    boundary_slots: int
    """Length of a segment, 0 where no run inside the pool can cross from one to the next."""
    boundary_shift: int
    tbl_dma_addr: int
    alignment: SlotAlignment


WalkClass: TypeAlias = tuple[int, Limits, bool, bool]
"""``(alloc_align_mask, limits, alloc_size >= PAGE_SIZE, orig_addr == 0)``"""


def walk_of(rule: AlignmentRule, start: int, nslabs: int, walk_class: WalkClass) -> Walk:
    """How the pool at ``start`` with ``nslabs`` slots is walked for a class of requests."""
    alloc_align_mask, limits, page_or_more, no_orig_addr = walk_class
    alignment = rule(page_or_more, alloc_align_mask, limits.min_align_mask)
    tbl_dma_addr = start & limits.seg_boundary_mask
    match_mask = 0 if no_orig_addr else alignment.iotlb_align_mask

    period = ((alignment.alloc_align_mask | match_mask) >> IO_TLB_SHIFT) + 1
    step = -(-alignment.stride_slots // period) * period
    one_residue = not period & (period - 1) and not tbl_dma_addr & alignment.alloc_align_mask & (IO_TLB_SIZE - 1)
    if not one_residue or step > IO_TLB_SEGSIZE or step & (step - 1):
        period = 0

    boundary_slots = (limits.seg_boundary_mask >> IO_TLB_SHIFT) + 1
    boundary_shift = nr_slots(tbl_dma_addr)
    if not spans_boundary(0, nslabs, boundary_shift, boundary_slots):
        boundary_slots = 0
    aligned = -(tbl_dma_addr >> IO_TLB_SHIFT)
    return Walk(
        period,
        step,
        alignment.stride_slots,
        match_mask,
        aligned,
        boundary_slots,
        boundary_shift,
        tbl_dma_addr,
        alignment,
    )
