"""How a search walks over the slots of an area: which slots it looks at, in which order, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.allocator.alignment import Alignment, SlotAlignment
from swiotlb_top.allocator.geometry import nr_slots, slot_addr, spans_boundary
from swiotlb_top.allocator.request import Limits
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, IO_TLB_SIZE

NEVER_ENDS: Final = -2
"""In place of a slot: the kernel's loop goes round for good, with the area's lock held (up to 6.2)."""


class Walk(NamedTuple):
    """The search's way over a pool's slots, for one class of requests.

    Aligned slots are those equal to ``(orig_addr & match_mask) / 2 KiB + aligned`` modulo
    ``period``. From one that did not do, the next that is looked at lies ``step`` on: the kernel
    jumps ``stride``, then creeps to alignment. ``period`` is 0 where the aligned slots are no such
    progression; only :func:`candidates` finds its way then.
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


def walk_of(align: Alignment, start: int, nslabs: int, walk_class: WalkClass) -> Walk:
    """How a search walks over the pool at ``start``, whose areas have ``nslabs`` slots, for one class of requests."""
    alloc_align_mask, limits, page_or_more, no_orig_addr = walk_class
    alignment = align(page_or_more, alloc_align_mask, limits.min_align_mask)
    tbl_dma_addr = start & limits.seg_boundary_mask
    match_mask = 0 if no_orig_addr else alignment.iotlb_align_mask

    period = ((alignment.alloc_align_mask | match_mask) >> IO_TLB_SHIFT) + 1
    step = -(-alignment.stride_slots // period) * period
    one_residue = not period & (period - 1) and not tbl_dma_addr & alignment.alloc_align_mask & (IO_TLB_SIZE - 1)
    contrary = match_mask & alignment.alloc_align_mask
    if not one_residue or contrary or step > IO_TLB_SEGSIZE or step & (step - 1):
        period = 0
    if alignment.until_back and step != alignment.stride_slots:
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


def first_index(index: int, area_nslabs: int, stride: int) -> int:
    """The slot at which a search up to 6.2 begins and ends: ``wrap_area_index(ALIGN(area->index, stride))``."""
    index = (index + stride - 1) & ~(stride - 1)
    return index if index < area_nslabs else 0


def candidates(walk: Walk, base: int, area_nslabs: int, index: int, orig_addr: int) -> Iterator[int]:
    """The aligned slots in the order in which the kernel's loop looks at them.

    The last is :data:`NEVER_ENDS` where the loop does not end.

    :param base: the area's first slot.
    :param index: where the area's next search goes on, from ``base``.
    """
    alloc_align_mask, _, stride, until_back = walk.alignment
    if until_back:
        index = first_index(index, area_nslabs, stride)
    begin = index
    slots_checked = wraps = 0
    while True:
        slot = base + index
        tlb_addr = slot_addr(walk.tbl_dma_addr, slot)
        step = 1
        if not (tlb_addr & alloc_align_mask or (tlb_addr ^ orig_addr) & walk.match_mask):
            step = stride
            yield slot
        index += step
        slots_checked += step
        if index >= area_nslabs:
            index = 0
            wraps += 1
        if not until_back:
            if slots_checked >= area_nslabs:
                return
        elif index == begin:
            return
        elif wraps > 1:  # from the first slot to the first slot, and not past where it began
            yield NEVER_ENDS
            return
