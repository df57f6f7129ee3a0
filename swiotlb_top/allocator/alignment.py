"""At which slots a mapping may start: one rule for each way in which kernels decided it.

A rule says which bits the address of the first slot must have, and by how many slots the search steps.
:mod:`swiotlb_top.allocator.walk` derives from it how one pool is searched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE, PAGE_SIZE

_SLOT_MASK: Final = IO_TLB_SIZE - 1
_PAGE_MASK: Final = PAGE_SIZE - 1
_SLOTS_OF_A_PAGE_SHIFT: Final = 1


class SlotAlignment(NamedTuple):
    """What the address of the first slot must satisfy, and how the search steps.

    Its ``alloc_align_mask`` bits are zero; its ``iotlb_align_mask`` bits (none below a slot's
    size) equal those of a non-zero ``orig_addr``. ``stride_slots`` is the step from an aligned
    slot that did not do; from an unaligned one the step is 1.
    """

    alloc_align_mask: int
    iotlb_align_mask: int
    stride_slots: int
    until_back: bool = False
    """The search begins at a multiple of the stride and ends only where it began. Else it begins
    where the last one ended, and ends when it has counted as many slots as the area has."""


Alignment: TypeAlias = Callable[[bool, int, int], SlotAlignment]
"""``(alloc_size >= PAGE_SIZE, alloc_align_mask, min_align_mask) -> SlotAlignment``"""


def align_by_stride_and_device(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """6.0 to 6.1.83, and 6.2: ``swiotlb_do_find_slots()``. All bits of the device's mask bind.

    Pages and ``alloc_align_mask`` are met by the steps alone: the search starts at a multiple of the
    stride and trusts every step. Where the buffer's address makes it creep off such a multiple, so is
    what it finds; and it may never come back to where it began (7c3940bf81e5 ended that in 6.3).
    """
    return _by_stride(page_or_more, alloc_align_mask, min_align_mask & ~_SLOT_MASK)


def align_by_stride(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """Stable 6.1 since 6.1.84: the same, but bits that are in ``alloc_align_mask`` too do not bind.

    It creeps less, and so may still never come back.
    """
    return _by_stride(page_or_more, alloc_align_mask, min_align_mask & ~(alloc_align_mask | _SLOT_MASK))


def _by_stride(page_or_more: bool, alloc_align_mask: int, iotlb_align_mask: int) -> SlotAlignment:
    stride = (iotlb_align_mask >> IO_TLB_SHIFT) + 1
    if page_or_more:
        stride <<= _SLOTS_OF_A_PAGE_SHIFT
    stride = max(stride, (alloc_align_mask >> IO_TLB_SHIFT) + 1)
    return SlotAlignment(0, iotlb_align_mask, stride, until_back=True)


def align_like_buffer(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """6.3 to 6.8: ``swiotlb_area_find_slots()``. All masks are one, compared with the buffer's bits.

    So a page is "the same half page as the buffer", and without a buffer (``orig_addr`` 0) nothing
    is aligned but by the steps from wherever the search begins (CVE-2024-35814).
    """
    mask = min_align_mask | alloc_align_mask
    if page_or_more:
        mask |= _PAGE_MASK
    mask &= ~_SLOT_MASK
    return SlotAlignment(0, mask, (mask >> IO_TLB_SHIFT) + 1)


def align_by_two_slots(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """6.6.24 to 6.6.34, 6.7.12, 6.8.3 and on, SLES 15 SP6, openEuler 24.03: 6.9's rule without its last change.

    A page or more is no longer aligned, but the step still is two slots: from wherever the search begins
    (14cebf689a78 came in 6.9 at once, and to stable trees late or never).
    """
    alloc_align_mask |= _SLOT_MASK
    iotlb_align_mask = min_align_mask & ~alloc_align_mask
    stride = (max(alloc_align_mask, iotlb_align_mask) >> IO_TLB_SHIFT) + 1
    return SlotAlignment(alloc_align_mask, iotlb_align_mask, max(stride, 2) if page_or_more else stride)


def align_slot_address(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """Since 6.9: ``swiotlb_search_pool_area()``. ``alloc_align_mask`` binds the slot's own address.

    Page alignment for a page or more holds only where nobody asks for another one.
    """
    if not alloc_align_mask and not min_align_mask and page_or_more:
        alloc_align_mask = _PAGE_MASK
    alloc_align_mask |= _SLOT_MASK
    iotlb_align_mask = min_align_mask & ~alloc_align_mask
    stride = (max(alloc_align_mask, iotlb_align_mask) >> IO_TLB_SHIFT) + 1
    return SlotAlignment(alloc_align_mask, iotlb_align_mask, stride)


class AlignmentRule(NamedTuple):
    """What a pool needs of its kernel's revision."""

    alignment: Alignment
    pads_slots: bool
    """Whether whole slots may precede the buffer, if both ``alloc_align_mask`` and ``min_align_mask`` ask for them."""
    bounds_list: bool = True
    """Whether ``list`` ends with the pool. If not, it counts slots behind a short last slot set as free."""


NEWEST_RULE: Final = AlignmentRule(align_slot_address, pads_slots=True)
