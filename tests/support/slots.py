"""The slots of a pool as views show them, from the mappings that are to be in it."""

from __future__ import annotations

from collections.abc import Iterable

from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE, Mapping
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT


def mapping(slot: int, nslots: int, dev: int = UNKNOWN_DEVICE) -> Mapping:
    """A mapping without padding; of an unknown device, if none is given."""
    return Mapping(slot, nslots, 0, nslots << IO_TLB_SHIFT, 0, dev)


def slots_with(nslabs: int, nareas: int, mappings: Iterable[Mapping]) -> SlotsView:
    """A pool in which these mappings are live, and all other slots free."""
    live = tuple(mappings)
    masks = [(1 << min(IO_TLB_SEGSIZE, nslabs - first)) - 1 for first in range(0, nslabs, IO_TLB_SEGSIZE)]
    used = [0] * nareas
    for one in live:
        used[one.slot // (nslabs // nareas)] += one.nslots
        masks[one.slot // IO_TLB_SEGSIZE] &= ~(((1 << one.nslots) - 1) << one.slot % IO_TLB_SEGSIZE)
    return SlotsView(nslabs, tuple(used), tuple(masks), live)
