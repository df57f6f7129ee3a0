"""What differs between the kernel's swiotlb revisions, as data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from swiotlb_top.allocator.alignment import AlignmentRule, align_slot_address
from swiotlb_top.allocator.order import SearchOrder, each_offset_every_pool, each_pool_every_area


@dataclass(frozen=True, slots=True)
class Revision:
    """One swiotlb: where it searches first and how it aligns.

    A static build asks its only pool in :attr:`static_order` whatever the dynamic order is.
    """

    name: str
    since: str
    """First mainline release that does it so; stable kernels backport."""
    order: SearchOrder
    rule: AlignmentRule
    static_order: SearchOrder = each_pool_every_area


_V6_12: Final = Revision(
    name="6.12",
    # Alignment of the slot address itself came in 6.9, pad_slots in 6.10.
    since="6.10",
    order=each_offset_every_pool,
    rule=align_slot_address,
)

REVISIONS: Final[dict[str, Revision]] = {
    revision.name: revision
    for revision in (
        _V6_12,
        # Not 6.6 as released, whose alignment rule is another: 6.12 with 6.6's search order.
        Revision(name="6.12 in 6.6's order", since="6.6", order=each_pool_every_area, rule=align_slot_address),
    )
}


def revision_for(features: Collection[str]) -> Revision | None:
    """The revision a kernel with these features has (words of ``kernel.layout``); None if none is known."""
    # pad_slots came with the last change to the search that mainline has seen (26e9bd1b5ad5, 6.10).
    return _V6_12 if "pad_slots" in features else None
