"""Where the slots of a pool are free, and who has the others: a copy of the pool as the reference models it."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from swiotlb_top.allocator import Pool
from swiotlb_top.allocator.mapping import Mapping
from swiotlb_top.allocator.runs import ONES, longest_run
from swiotlb_top.constants import IO_TLB_SEGSIZE

MOST_MAPPINGS: Final = 1 << 13
"""So many live mappings are kept of all pools together; those of a pool that has more than are left are left out."""
_MOST_ALIKE: Final = 1 << 14
"""How many different slot sets are remembered."""

_longest = lru_cache(_MOST_ALIKE)(longest_run)
"""Remembered, since most slot sets of a large pool do not change, or are equal to others."""


@dataclass(frozen=True)
class SlotsView:
    """The slots of a pool when they were last looked at: a copy; what follows is computed when asked for."""

    nslabs: int
    area_used_slots: tuple[int, ...]
    """In use in each area, which all have ``nslabs // len(area_used_slots)`` slots."""
    free_masks: tuple[int, ...]
    """Free slots, a bit mask a slot set (bit i set = slot i of the set is free)."""
    mappings: tuple[Mapping, ...] | None = None
    """The live mappings in no order; None where these are too many."""
    made_ns: AbstractMapping[int, int] | None = None
    """By the first slot of a mapping, when it was made: 0 if that was before anyone looked. A mapping that is not in
    it has an unknown age. None: nobody has said yet."""

    @property
    def area_nslabs(self) -> int:
        """Slots of each area."""
        return self.nslabs // len(self.area_used_slots)

    @cached_property
    def longest_free_slots(self) -> int:
        """The longest run of free slots."""
        return max(map(_longest, self.free_masks), default=0)

    @cached_property
    def longest_free_run(self) -> range:
        """The first of the runs that are as long as that; empty if no slot is free."""
        most = self.longest_free_slots
        for slot_set, mask in enumerate(self.free_masks if most else ()):
            if _longest(mask) == most:
                begin = next(at for at in range(IO_TLB_SEGSIZE) if mask >> at & ONES[most] == ONES[most])
                first = slot_set * IO_TLB_SEGSIZE + begin
                return range(first, first + most)
        return range(0)

    @cached_property
    def free_slots(self) -> int:
        """Free slots in all."""
        return sum(mask.bit_count() for mask in self.free_masks)

    @cached_property
    def free_runs(self) -> int:
        """Runs of free slots, none across two slot sets: each begins where a free slot follows none."""
        return sum((mask & ~(mask << 1)).bit_count() for mask in self.free_masks)

    @property
    def fragmentation_percent(self) -> float:
        """How much smaller the longest free run is than the largest mapping the free slots could hold: 0..100."""
        could_be = min(self.free_slots, IO_TLB_SEGSIZE)
        return 100.0 * (1 - self.longest_free_slots / could_be) if could_be else 0.0


def slots_views(pools: Iterable[Pool]) -> list[SlotsView]:
    """The slots of each pool as views show them."""
    left, views = MOST_MAPPINGS, []
    for pool in pools:
        mappings = pool.held(left)
        left -= len(mappings or ())
        views.append(SlotsView(pool.nslabs, tuple(pool.area_used), pool.free_masks(), mappings))
    return views
