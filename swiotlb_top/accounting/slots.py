"""Where the slots of a pool are free, computed from the pool as the reference models it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from swiotlb_top.accounting.snapshot import SlotsView
from swiotlb_top.allocator import Pool
from swiotlb_top.allocator.runs import longest_run
from swiotlb_top.constants import IO_TLB_SEGSIZE

_MOST_ALIKE: Final = 1 << 14
"""How many different slot sets are remembered."""

_longest = lru_cache(_MOST_ALIKE)(longest_run)
"""Remembered, since most slot sets of a large pool do not change, or are equal to others."""


def slots_view(pool: Pool) -> SlotsView:
    """The areas and slot sets of a pool as views show them; it takes some microseconds for each slot set."""
    masks = pool.free_masks()
    whole, rest = divmod(pool.nslabs, IO_TLB_SEGSIZE)
    return SlotsView(
        area_used_slots=tuple(pool.area_used),
        set_nslabs=(IO_TLB_SEGSIZE,) * whole + ((rest,) if rest else ()),
        set_free_slots=tuple(mask.bit_count() for mask in masks),
        set_longest_free_slots=tuple(map(_longest, masks)),
        # A run begins where a free slot follows none.
        free_runs=sum((mask & ~(mask << 1)).bit_count() for mask in masks),
    )


def sets_of_areas(slots: SlotsView) -> tuple[range, ...]:
    """For each area, the numbers of the slot sets that begin in it; an area need not be a whole number of sets."""
    nareas, nslabs = len(slots.area_used_slots), sum(slots.set_nslabs)
    first_sets = [-(-area * (nslabs // nareas) // IO_TLB_SEGSIZE) for area in range(nareas)]
    return tuple(map(range, first_sets, [*first_sets[1:], len(slots.set_nslabs)]))
