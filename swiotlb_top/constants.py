"""Numbers that the kernel and this tool have in common, each of them here alone.

They are those of ``include/linux/swiotlb.h`` and ``kernel/dma/swiotlb.c`` on 4 KiB pages, and what functions of these
return. A test holds the C side (bpf/) against them.
"""

from __future__ import annotations

from typing import Final

IO_TLB_SHIFT: Final = 11
IO_TLB_SIZE: Final = 1 << IO_TLB_SHIFT
"""Bytes in a slot."""

SLOT_SET_SHIFT: Final = 7
IO_TLB_SEGSIZE: Final = 1 << SLOT_SET_SHIFT
"""Slots in a slot set; no mapping is longer, and none crosses from one set to the next."""

MAX_ALLOC_BYTES: Final = IO_TLB_SEGSIZE * IO_TLB_SIZE
IO_TLB_MIN_SLABS: Final = (1 << 20) >> IO_TLB_SHIFT
"""Slots of the smallest pool that growth settles for."""

PAGE_SIZE: Final = 4096
SLABS_PER_PAGE: Final = PAGE_SIZE >> IO_TLB_SHIFT
MAX_PAGE_ORDER: Final = 10

NOT_FOUND: Final = -1
"""``swiotlb_find_slots()`` and ``swiotlb_search_pool_area()`` return -1 where nothing fits."""
DMA_MAPPING_ERROR: Final = 0xFFFF_FFFF_FFFF_FFFF
"""``swiotlb_tbl_map_single()`` returns this where nothing fits."""
DMA_ATTR_CC_SHARED: Final = 1 << 13
"""Of a mapping's attributes: its memory is shared with the host of a confidential guest (7.3)."""
INVALID_PHYS_ADDR: Final = 0xFFFF_FFFF_FFFF_FFFF
"""``orig_addr`` of a slot that no mapping has."""

SIZE_BUCKETS_SLOTS: Final = tuple(1 << order for order in range(SLOT_SET_SHIFT + 1))
"""Upper bounds of the buckets in which mappings are counted by the slots they ask for, by the probes and in every view.
One more bucket holds those that ask for more than :data:`IO_TLB_SEGSIZE`."""
