"""How large a pool the kernel adds when it grows (``swiotlb_dyn_alloc()``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from swiotlb_top.allocator.geometry import align_up
from swiotlb_top.constants import IO_TLB_MIN_SLABS, IO_TLB_SEGSIZE, MAX_PAGE_ORDER, SLABS_PER_PAGE

LARGEST_POOL_NSLABS: Final = SLABS_PER_PAGE << MAX_PAGE_ORDER
"""Slots of the largest block the page allocator has."""


def limit_nareas(nareas: int, nslabs: int) -> int:
    """Areas a pool of ``nslabs`` can have at most, as ``limit_nareas()``."""
    return min(nareas, nslabs // IO_TLB_SEGSIZE)


def grow_sizes(
    default_nslabs: int, default_nareas: int, largest_nslabs: int | None = LARGEST_POOL_NSLABS
) -> Iterator[tuple[int, int]]:
    """The ``(nslabs, nareas)`` that ``swiotlb_alloc_pool()`` tries for growth, largest first.

    Which of them is had depends on free pages, which only the kernel knows.

    :param largest_nslabs: what it begins with at most; None where it tries the default size first,
        whatever the page allocator can have.
    """
    nslabs, nareas = default_nslabs, default_nareas
    if largest_nslabs is not None and nslabs > largest_nslabs:
        nslabs = largest_nslabs
        nareas = limit_nareas(nareas, nslabs)
    yield nslabs, nareas
    while nslabs > IO_TLB_MIN_SLABS:
        nslabs = align_up(nslabs >> 1, IO_TLB_SEGSIZE - 1)
        nareas = limit_nareas(nareas, nslabs)
        yield nslabs, nareas
