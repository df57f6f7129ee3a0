"""Where a pool's slots are free, out of the reference's pool."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from swiotlb_top.accounting.snapshot import SlotsView
from swiotlb_top.allocator import Pool
from swiotlb_top.allocator.runs import longest_run
from swiotlb_top.constants import IO_TLB_SEGSIZE

_MOST_ALIKE: Final = 1 << 14

_longest = lru_cache(_MOST_ALIKE)(longest_run)
"""Most slot sets of a large pool are as they were, or as others are."""


def slots_view(pool: Pool) -> SlotsView:
    """The pool's areas and slot sets as views show them: some microseconds a slot set."""
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
    """The slot sets that begin in each area, in order; areas may be no whole number of sets."""
    nareas, nslabs = len(slots.area_used_slots), sum(slots.set_nslabs)
    first_sets = [-(-area * (nslabs // nareas) // IO_TLB_SEGSIZE) for area in range(nareas)]
    return tuple(map(range, first_sets, [*first_sets[1:], len(slots.set_nslabs)]))
