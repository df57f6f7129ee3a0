"""What would have fitted where a request got no slots."""

from __future__ import annotations

from typing import Final

from swiotlb_top.allocator.allocator import Allocator, TooManyAreasError
from swiotlb_top.allocator.request import Request
from swiotlb_top.constants import MAX_ALLOC_BYTES, PAGE_SIZE

_MOST_PAGES: Final = MAX_ALLOC_BYTES // PAGE_SIZE


def largest_fitting_bytes(
    model: Allocator, cpu: int, request: Request, size_bytes: int, patience: int
) -> tuple[int | None, int]:
    """The largest mapping of whole pages, smaller than ``size_bytes``, for which there is room; 0: not even for a page.

    From the largest down, as a smaller one need not fit where a larger does: 6.1 may search an area without end for
    what it has enough free slots for, and passes it by for one slot more.

    :param request: what got no slots: the others are like it.
    :param patience: how many areas may be asked. What is asked here uses up nothing of the model's own patience.
    :returns: None for the size if that was not enough; and the patience that is left.
    """
    orig_addr, _, alloc_align_mask, limits = request
    areas = sum(pool.nareas for pool in model.pools)
    kept, model.patience = model.patience, patience
    try:
        for pages in range(min((size_bytes - 1) // PAGE_SIZE, _MOST_PAGES), 0, -1):
            model.spend(areas)
            if model.find_slots(cpu, model.revision.request(pages * PAGE_SIZE, orig_addr, alloc_align_mask, limits)):
                return pages * PAGE_SIZE, max(model.patience, 0)
        return 0, max(model.patience, 0)
    except TooManyAreasError:
        return None, max(model.patience, 0)
    finally:
        model.patience = kept
