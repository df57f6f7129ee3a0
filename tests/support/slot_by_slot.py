"""swiotlb's pool a slot at a time, as the C of each revision has it: slow, and with nothing to be clever about.

``swiotlb_init_io_tlb_pool()``, the search of one area under the names it had, the stores of
``swiotlb_tbl_map_single()`` and ``swiotlb_release_slots()``, with the kernel's variable names.
Shares no code with the bit masks it is there to check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

SEGSIZE = 128
SIZE = 2048
INVALID = (1 << 64) - 1
HANGS = -2
"""Of a search that never ends (up to 6.2)."""


def nr_slots(val: int) -> int:
    return (val + SIZE - 1) // SIZE


class Ask(NamedTuple):
    """What all searches of an area are given."""

    area_index: int
    orig_addr: int
    alloc_size: int
    tbl_dma_addr: int
    max_slots: int

    def tlb_addr(self, slot_index: int) -> int:
        return self.tbl_dma_addr + slot_index * SIZE

    def agrees(self, slot_index: int, iotlb_align_mask: int) -> bool:
        masked = self.tlb_addr(slot_index) & iotlb_align_mask
        return not self.orig_addr or masked == self.orig_addr & iotlb_align_mask


@dataclass
class Slots:
    start: int
    nslabs: int
    nareas: int
    kernel: str = "6.12"
    area_nslabs: int = 0
    used: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    list_: list[int] = field(default_factory=list)
    orig_addr: list[int] = field(default_factory=list)
    alloc_size: list[int] = field(default_factory=list)
    pad_slots: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.area_nslabs = self.nslabs // self.nareas
        self.used = [0] * self.nareas
        self.index = [0] * self.nareas
        end = 1 << 60 if self.kernel in ("6.0", "6.1") else self.nslabs
        self.list_ = [min(SEGSIZE - i % SEGSIZE, end - i) for i in range(self.nslabs)]
        self.orig_addr = [INVALID] * self.nslabs
        self.alloc_size = [0] * self.nslabs
        self.pad_slots = [0] * self.nslabs

    def wrap(self, index: int) -> int:
        return 0 if index >= self.area_nslabs else index

    def search(
        self,
        area_index: int,
        orig_addr: int,
        alloc_size: int,
        alloc_align_mask: int,
        boundary_mask: int,
        min_align: int,
    ) -> int:
        by_kernel = {
            "6.0": self.swiotlb_do_find_slots,
            "6.1": self.swiotlb_do_find_slots,
            "6.6": self.swiotlb_area_find_slots,
            "6.6.24": self.swiotlb_area_find_slots_of_2024,
            "6.12": self.swiotlb_search_pool_area,
        }
        if nr_slots(alloc_size) > self.area_nslabs - self.used[area_index]:
            return -1
        tbl_dma_addr = self.start & boundary_mask
        ask = Ask(area_index, orig_addr, alloc_size, tbl_dma_addr, (boundary_mask >> 11) + 1)
        return by_kernel[self.kernel](ask, alloc_align_mask, min_align)

    def swiotlb_do_find_slots(self, ask: Ask, alloc_align_mask: int, iotlb_align_mask: int) -> int:
        """6.0, and 6.1 as stable has it since 6.1.84."""
        alloc_align_mask |= SIZE - 1
        iotlb_align_mask &= ~(SIZE - 1 if self.kernel == "6.0" else alloc_align_mask)
        stride = (iotlb_align_mask >> 11) + 1
        if ask.alloc_size >= 4096:
            stride = max(stride, stride << 1)
        stride = max(stride, (alloc_align_mask >> 11) + 1)
        index = wrap = self.wrap((self.index[ask.area_index] + (stride - 1)) & ~(stride - 1))
        seen = set()
        while True:
            seen.add(index)
            slot_index = ask.area_index * self.area_nslabs + index
            if not ask.agrees(slot_index, iotlb_align_mask):
                index = self.wrap(index + 1)
            elif self.fits(slot_index, ask):
                return slot_index
            else:
                index = self.wrap(index + stride)
            if index == wrap:
                return -1
            if index in seen:
                return HANGS  # nothing changes while the area is locked: it goes round here for good

    def swiotlb_area_find_slots(self, ask: Ask, alloc_align_mask: int, min_align: int) -> int:
        """6.3 to 6.8."""
        iotlb_align_mask = min_align | alloc_align_mask
        if ask.alloc_size >= 4096:
            iotlb_align_mask |= 4095
        iotlb_align_mask &= ~(SIZE - 1)
        return self.count_slots_checked(ask, 0, iotlb_align_mask, (iotlb_align_mask >> 11) + 1)

    def swiotlb_area_find_slots_of_2024(self, ask: Ask, alloc_align_mask: int, iotlb_align_mask: int) -> int:
        """6.6.24 to 6.6.34."""
        alloc_align_mask |= SIZE - 1
        iotlb_align_mask &= ~alloc_align_mask
        stride = (max(alloc_align_mask, iotlb_align_mask) >> 11) + 1
        if ask.alloc_size >= 4096:
            stride = max(stride, 2)
        return self.count_slots_checked(ask, alloc_align_mask, iotlb_align_mask, stride)

    def swiotlb_search_pool_area(self, ask: Ask, alloc_align_mask: int, iotlb_align_mask: int) -> int:
        """Since 6.9."""
        if not alloc_align_mask and not iotlb_align_mask and ask.alloc_size >= 4096:
            alloc_align_mask = 4095
        alloc_align_mask |= SIZE - 1
        iotlb_align_mask &= ~alloc_align_mask
        stride = (max(alloc_align_mask, iotlb_align_mask) >> 11) + 1
        return self.count_slots_checked(ask, alloc_align_mask, iotlb_align_mask, stride)

    def count_slots_checked(self, ask: Ask, alloc_align_mask: int, iotlb_align_mask: int, stride: int) -> int:
        """The loop since 6.3."""
        index = self.index[ask.area_index]
        slots_checked = 0
        while slots_checked < self.area_nslabs:
            slot_index = ask.area_index * self.area_nslabs + index
            if ask.tlb_addr(slot_index) & alloc_align_mask or not ask.agrees(slot_index, iotlb_align_mask):
                index = self.wrap(index + 1)
                slots_checked += 1
                continue
            if self.fits(slot_index, ask):
                return slot_index
            index = self.wrap(index + stride)
            slots_checked += stride
        return -1

    def fits(self, slot_index: int, ask: Ask) -> bool:
        """Not iommu_is_span_boundary(), and enough free slots from there."""
        nslots = nr_slots(ask.alloc_size)
        shift = (nr_slots(ask.tbl_dma_addr) + slot_index) & (ask.max_slots - 1)
        return shift + nslots <= ask.max_slots and self.list_[slot_index] >= nslots

    def take(self, slot_index: int, orig_addr: int, alloc_size: int, min_align: int) -> None:
        nslots = nr_slots(alloc_size)
        offset = orig_addr & min_align & (SIZE - 1)
        for i in range(slot_index, slot_index + nslots):
            self.list_[i] = 0
            self.alloc_size[i] = (alloc_size - (offset + (i - slot_index) * SIZE)) % (1 << 64)
        self._merge_below(slot_index, 0)
        area_index = slot_index // self.area_nslabs
        self.index[area_index] = self.wrap(slot_index - area_index * self.area_nslabs + nslots)
        self.used[area_index] += nslots

    def _merge_below(self, slot_index: int, count: int) -> None:
        i = slot_index - 1
        while i >= 0 and i % SEGSIZE != SEGSIZE - 1 and self.list_[i]:
            count += 1
            self.list_[i] = count
            i -= 1

    def map(self, index: int, orig_addr: int, size: int, alloc_align_mask: int, min_align: int) -> int:
        """The stores of swiotlb_tbl_map_single() after find_slots; returns tlb_addr."""
        if self.kernel != "6.12":
            offset = orig_addr & min_align & (SIZE - 1)
            for i in range(nr_slots(size)):
                self.orig_addr[index + i] = orig_addr + i * SIZE
            return self.start + index * SIZE + offset
        offset = orig_addr & min_align & (alloc_align_mask | (SIZE - 1))
        pad_slots = offset >> 11
        offset &= SIZE - 1
        index += pad_slots
        self.pad_slots[index] = pad_slots
        for i in range(nr_slots(size) - pad_slots):
            self.orig_addr[index + i] = orig_addr + i * SIZE
        return self.start + index * SIZE + offset

    def release(self, tlb_addr: int, min_align: int) -> None:
        offset = tlb_addr & min_align & (SIZE - 1)
        index = (tlb_addr - offset - self.start) >> 11
        index -= self.pad_slots[index]
        nslots = nr_slots(self.alloc_size[index] + offset)
        aindex = index // self.area_nslabs
        # The kernel reads slots[nslabs] where the pool's last slot set is short; take it for 0.
        in_set = index + nslots < (index + SEGSIZE) // SEGSIZE * SEGSIZE and index + nslots < self.nslabs
        count = self.list_[index + nslots] if in_set else 0
        for i in range(index + nslots - 1, index - 1, -1):
            count += 1
            self.list_[i] = count
            self.orig_addr[i] = INVALID
            self.alloc_size[i] = 0
            self.pad_slots[i] = 0
        self._merge_below(index, count)
        self.used[aindex] -= nslots
