"""The free slots of a pool: a bit mask a slot set, and a bound that saves the search from looking at full ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from swiotlb_top.allocator.geometry import spans_boundary
from swiotlb_top.allocator.runs import EVERY, ONES, SHIFTS, longest_run, run_length
from swiotlb_top.allocator.walk import Walk
from swiotlb_top.constants import IO_TLB_SEGSIZE, NOT_FOUND, SLOT_SET_SHIFT

OFFSET_IN_SET: Final = IO_TLB_SEGSIZE - 1


class FreeSlots:
    """Which slots are free.

    No run in a slot set is longer than its bound. Taking keeps that true; who releases raises the
    bound; a search that finds no run lowers it. Full sets cost one comparison.

    :param masks: of each slot set; bit i set = slot i of the set is free.
    """

    __slots__ = ("bounds", "masks")

    def __init__(self, masks: Iterable[int]) -> None:
        self.masks = list(masks)
        self.bounds = [IO_TLB_SEGSIZE] * len(self.masks)

    @classmethod
    def all_of(cls, nslabs: int) -> FreeSlots:
        """A new pool's; its last slot set may be short."""
        return cls(ONES[min(IO_TLB_SEGSIZE, nslabs - first)] for first in range(0, nslabs, IO_TLB_SEGSIZE))

    def run(self, slot: int) -> int:
        """The kernel's ``slots[slot].list``: free slots from here to the end of the run, 0..128."""
        return run_length(self.masks[slot >> SLOT_SET_SHIFT], slot & OFFSET_IN_SET)

    def first_fit(self, begin: int, end: int, nslots: int, walk: Walk) -> int:
        """The first of begin, begin + step, ... < end that starts a free run of ``nslots``, or -1."""
        _, step, _, _, _, boundary_slots, boundary_shift, _, _ = walk
        if 0 < boundary_slots < nslots:
            return NOT_FOUND
        every = EVERY[step]
        shifts = SHIFTS[nslots]
        bounds = self.bounds
        offset = begin & OFFSET_IN_SET
        for slot_set in range(begin >> SLOT_SET_SHIFT, (end + OFFSET_IN_SET) >> SLOT_SET_SHIFT):
            if bounds[slot_set] >= nslots:
                starts = self.masks[slot_set]
                for shift in shifts:
                    starts &= starts >> shift
                if not starts:
                    bounds[slot_set] = nslots - 1
                starts = (starts >> offset) & every
                while starts:
                    lowest = starts & -starts
                    slot = (slot_set << SLOT_SET_SHIFT) + offset + lowest.bit_length() - 1
                    if slot >= end:
                        return NOT_FOUND
                    if not boundary_slots or not spans_boundary(slot, nslots, boundary_shift, boundary_slots):
                        return slot
                    starts ^= lowest
            offset = begin & (step - 1)
        return NOT_FOUND

    def longest_run(self, begin: int, end: int) -> int:
        """The longest run that begins in [begin, end), wherever it ends; 0..128 slots."""
        longest = 0
        for slot_set in range(begin >> SLOT_SET_SHIFT, (end + OFFSET_IN_SET) >> SLOT_SET_SHIFT):
            first = slot_set << SLOT_SET_SHIFT
            if self.bounds[slot_set] <= longest:
                continue
            free = self.masks[slot_set]
            if end < first + IO_TLB_SEGSIZE:
                # A run that begins here counts whole, one that begins beyond the end not at all.
                offset = end - first
                free &= ONES[offset - 1 + run_length(free, offset - 1)]
            if first < begin:
                free &= ~ONES[begin - first]
            elif end >= first + IO_TLB_SEGSIZE:
                self.bounds[slot_set] = longest_run(free)
            longest = max(longest, longest_run(free))
        return longest
