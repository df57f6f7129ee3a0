"""What differs between the kernel's swiotlb revisions: a row a difference.

Releases are mainline's; stable kernels backport. So a row names what shows it in a kernel, in
words of :mod:`swiotlb_top.kernel.layout`, and only where nothing does the release decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from swiotlb_top.allocator.alignment import align_by_stride, align_like_buffer, align_slot_address
from swiotlb_top.allocator.growth import LARGEST_POOL_NSLABS
from swiotlb_top.allocator.order import each_offset_every_pool, each_pool_every_area

SEED: Final = "seed-v4"
"""Dynamic pools as they were proposed (v4 7/8, July 2023), between 6.5 and 6.6."""


class Used(Enum):
    """What ``io_tlb_used`` counts."""

    LISTED = "pools on the list"
    ALL = "transient pools too"


class Hiwater(Enum):
    """When ``io_tlb_used_hiwater`` is kept."""

    NEVER = "never"
    ALWAYS = "always"
    AT_BOOT = "if booted so"


@dataclass(frozen=True, slots=True)
class Difference:
    """From ``since`` on (of mainline) ``aspect`` is ``value``.

    ``aspect`` names a field of :class:`~swiotlb_top.allocator.revision.Revision`. ``shown_by`` are
    feature words, all of which show it; "no X" is shown by X not being there. ``commit`` is empty
    where only the release is known.
    """

    aspect: str
    value: object
    since: str
    commit: str
    shown_by: tuple[str, ...]
    sentence: str


DIFFERENCES: Final[tuple[Difference, ...]] = (
    Difference(
        "order", each_pool_every_area, "6.0", "20347fca71a3", ("pool_find_slots",),
        "all areas of a pool are searched, from the CPU's on, then those of the next pool",
    ),
    Difference(
        "order", each_offset_every_pool, "6.8", "55c543865b76", ("search_area", "no pool_find_slots"),
        "the CPU's area is searched in every pool, then the next area in every pool",
    ),
    Difference(
        "alignment", align_by_stride, "6.0", "20347fca71a3", (),
        "the search starts at a multiple of its stride, steps by it, and ends only where it began",
    ),
    Difference(
        "alignment", align_like_buffer, "6.3", "0eee5ae10256", ("pools",),
        "all masks are one, in whose bits slot and buffer are equal; slots looked at are counted",
    ),
    Difference(
        "alignment", align_slot_address, "6.9", "04867a7a3332", ("pad_slots",),
        "alloc_align_mask binds the slot's address; to a page only where nobody asks for more",
    ),
    Difference(
        "pads_slots", False, "6.0", "20347fca71a3", ("no pad_slots",),
        "less than a slot precedes the buffer: bits above, up to alloc_align_mask, are lost",
    ),
    Difference(
        "pads_slots", True, "6.9", "af133562d5af", ("pad_slots",),
        "whole slots may precede the buffer, so that its bits up to alloc_align_mask are kept",
    ),
    Difference(
        "rounds_size", False, "6.0", "20347fca71a3", ("alloc_size",),
        "who maps says how much to allocate, and rounds it up to alloc_align_mask",
    ),
    Difference(
        "rounds_size", True, "6.10", "327e2c97c46e", ("no alloc_size",),
        "the size is rounded up to alloc_align_mask inside, padding before the buffer included",
    ),
    Difference(
        "refuses_oversize", False, "6.0", "20347fca71a3", (),
        "more than 256 KiB is searched for like any other size, in vain; pools may grow for it",
    ),
    Difference(
        "refuses_oversize", True, "6.8", "3dc2f209208d", (),
        "a dynamic kernel refuses more than 256 KiB at once and does not grow for it",
    ),
    Difference(
        "largest_nslabs", None, SEED, "1aaa736815eb", (),
        "growth first asks for the default size, however large",
    ),
    Difference(
        "largest_nslabs", LARGEST_POOL_NSLABS, "6.6", "d5090484b021", (),
        "growth asks for no more than the page allocator's largest block (4 MiB)",
    ),
    Difference(
        "used", Used.LISTED, "6.0", "20347fca71a3", (),
        "io_tlb_used sums over the areas of the pools on the list",
    ),
    Difference(
        "used", Used.ALL, "6.6", "8b0977ecc8b3", ("total_used",),
        "io_tlb_used is a counter, which transient pools are in",
    ),
    Difference(
        "used", Used.LISTED, "7.3", "", ("cc_shared",),
        "io_tlb_used sums over listed pools again, unless booted with swiotlb=...,track_hiwater",
    ),
    Difference(
        "hiwater", Hiwater.NEVER, "6.0", "20347fca71a3", (),
        "no high water mark",
    ),
    Difference(
        "hiwater", Hiwater.ALWAYS, "6.4", "8b0977ecc8b3", ("total_used",),
        "io_tlb_used_hiwater is kept, transient pools in it",
    ),
    Difference(
        "hiwater", Hiwater.AT_BOOT, "7.3", "", ("cc_shared",),
        "io_tlb_used_hiwater reads 0 unless booted with swiotlb=...,track_hiwater",
    ),
    Difference(
        "aligns_alloc", False, "6.0", "20347fca71a3", (),
        "swiotlb_alloc() asks for no alignment; by 6.3's rule it can get half a page (CVE-2024-35814)",
    ),
    Difference(
        "aligns_alloc", True, "6.9", "cbf53074a528", ("pad_slots",),
        "swiotlb_alloc() asks for the alignment of the size, rounded up to a power of two of pages",
    ),
    Difference(
        "checks_page", False, "6.0", "20347fca71a3", (),
        "swiotlb_alloc() does not look at the address it got",
    ),
    Difference(
        "checks_page", True, "6.9", "823353b7cf0e", (),
        "swiotlb_alloc() gives slots back that do not begin a page",
    ),
    Difference(
        "frees_misfit_at_once", True, SEED, "1aaa736815eb", (),
        "a transient pool that does not align is freed at once (one that was used, by call_rcu)",
    ),
    Difference(
        "frees_misfit_at_once", False, "7.3", "", ("dyn_free_work",),
        "every transient pool is freed by RCU work, also one that does not align",
    ),
)  # fmt: skip
"""Of each aspect, oldest first. The first row is also what older kernels have, where it matters to them."""


def release_key(release: str) -> tuple[int, ...] | None:
    """What releases are ordered by: ``"6.12.117+deb12-amd64"`` is (6, 12); None for what is no release."""
    if release == SEED:
        return (6, 5, 1)
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else None
