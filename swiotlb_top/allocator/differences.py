"""What differs between the kernel's swiotlb revisions: one row for each difference.

Releases are mainline's; stable kernels and distributions backport. So a row names what shows it in a kernel, in
words of :mod:`swiotlb_top.kernel.layout`, and the trees (:mod:`swiotlb_top.allocator.trees`) that took it over.
Only where nothing shows it the release decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from swiotlb_top.allocator.alignment import (
    align_by_stride,
    align_by_stride_and_device,
    align_by_two_slots,
    align_like_buffer,
    align_slot_address,
)
from swiotlb_top.allocator.growth import LARGEST_POOL_NSLABS
from swiotlb_top.allocator.order import each_offset_every_pool, each_pool_every_area
from swiotlb_top.allocator.trees import (
    OPENEULER_24,
    RHEL_9,
    SLES_15,
    STABLE_6_1,
    STABLE_6_6_3,
    STABLE_6_6_24,
    STABLE_6_6_35,
    STABLE_6_7,
    STABLE_6_8,
    UBUNTU_6_8,
    Tree,
)

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
    """From ``since`` on ``aspect`` is ``value``.

    ``aspect`` names a field of :class:`~swiotlb_top.allocator.revision.Revision`. ``since`` is the first release that
    has it: of mainline, or if ``only_in_trees``, of another tree, as mainline never had it. A kernel shows the
    difference if it has all feature words of one string in ``shown_by``; "no X" says that it lacks the word X.
    ``trees`` are those that took it over from a newer kernel.
    """

    aspect: str
    value: object
    since: str
    commit: str
    subject: str
    sentence: str
    shown_by: tuple[str, ...] = ()
    trees: tuple[Tree, ...] = ()
    only_in_trees: bool = False


_SPLIT: Final = "swiotlb: split up the global swiotlb lock"
_GROW: Final = "swiotlb: allocate a new memory pool when existing pools are full"
_DOUBLE: Final = "swiotlb: Fix double-allocation of slots due to broken alignment handling"
_BOTH_MASKS: Final = "swiotlb: Fix alignment checks when both allocation and DMA masks are present"
_PADDING: Final = "swiotlb: extend buffer pre-padding to alloc_align_mask if necessary"
_ARGUMENT: Final = "swiotlb: remove alloc_size argument to swiotlb_tbl_map_single()"
_HIWATER: Final = "swiotlb: track and report io_tlb_used high water marks in debugfs"
_DECOUPLE: Final = "dma/swiotlb: decouple high watermark tracking from CONFIG_DEBUG_FS"

DIFFERENCES: Final[tuple[Difference, ...]] = (
    Difference(
        "order", each_pool_every_area, "6.0", "20347fca71a3", _SPLIT,
        "all areas of a pool are searched, from the CPU's on, then those of the next pool",
        shown_by=("pool_find_slots",),
    ),
    Difference(
        "order", each_offset_every_pool, "6.8", "55c543865b76",
        "swiotlb: reduce area lock contention for non-primary IO TLB pools",
        "the CPU's area is searched in every pool, then the next area in every pool",
        shown_by=("search_area, no pool_find_slots", "transient_nslabs, no pool_find_slots"),
        trees=(RHEL_9,),
    ),
    Difference(
        "alignment", align_by_stride_and_device, "6.0", "20347fca71a3", _SPLIT,
        "the search starts at a multiple of its stride, steps by it, and ends only where it began",
    ),
    Difference(
        "alignment", align_by_stride, "6.1.84", "51b30ecb73b4", _BOTH_MASKS,
        "as before, but the device's mask does not apply to bits that alloc_align_mask has",
        trees=(STABLE_6_1,), only_in_trees=True,
    ),
    Difference(
        "alignment", align_like_buffer, "6.3", "0eee5ae10256", "swiotlb: fix slot alignment checks",
        "slot and buffer are equal in the bits of all masks; slots looked at are counted",
    ),
    Difference(
        "alignment", align_by_two_slots, "6.6.24", "04867a7a3332", _DOUBLE,
        "alloc_align_mask aligns the slot itself; a page or more steps by two slots",
        shown_by=("pad_slots, no pools", "pad_slots, total_used, no transient_nslabs, no alloc_size"),
        trees=(STABLE_6_6_24, STABLE_6_7, STABLE_6_8, SLES_15, OPENEULER_24), only_in_trees=True,
    ),
    Difference(
        "alignment", align_slot_address, "6.9", "14cebf689a78",
        "swiotlb: Reinstate page-alignment for mappings >= PAGE_SIZE",
        "alloc_align_mask aligns the slot itself; a page or more gets a page where nobody asks for more",
        shown_by=("pad_slots, transient_nslabs", "pad_slots, pools, alloc_size"),
        trees=(STABLE_6_6_35, UBUNTU_6_8, RHEL_9),
    ),
    Difference(
        "pads_slots", False, "6.0", "20347fca71a3", _SPLIT,
        "the buffer begins in the first slot: higher bits, up to alloc_align_mask, are lost",
        shown_by=("no pad_slots",),
    ),
    Difference(
        "pads_slots", True, "6.9", "af133562d5af", _PADDING,
        "the buffer may begin slots later, so that its bits up to alloc_align_mask are kept",
        shown_by=("pad_slots",),
        trees=(STABLE_6_6_35, SLES_15, OPENEULER_24),
    ),
    Difference(
        "rounds_size", False, "6.0", "20347fca71a3", _SPLIT,
        "the caller says how much to allocate, and rounds it up to alloc_align_mask",
        shown_by=("alloc_size",),
    ),
    Difference(
        "rounds_size", True, "6.10", "327e2c97c46e", _ARGUMENT,
        "swiotlb itself rounds the size, with padding before the buffer, up to alloc_align_mask",
        shown_by=("no alloc_size",),
        trees=(OPENEULER_24,),
    ),
    Difference(
        "refuses_oversize", False, "6.0", "20347fca71a3", _SPLIT,
        "more than 256 KiB is searched for like any other size and never found; pools may grow for it",
    ),
    Difference(
        "refuses_oversize", True, "6.8", "3dc2f209208d",
        "swiotlb: check alloc_size before the allocation of a new memory pool",
        "a dynamic kernel refuses more than 256 KiB at once and does not grow for it",
        shown_by=("search_area", "transient_nslabs"),
        trees=(RHEL_9,),
    ),
    Difference(
        "largest_nslabs", None, SEED, "1aaa736815eb", _GROW,
        "growth first asks for the default size, however large",
    ),
    Difference(
        "largest_nslabs", LARGEST_POOL_NSLABS, "6.6", "d5090484b021",
        "swiotlb: do not try to allocate a TLB bigger than MAX_ORDER pages",
        "growth asks for no more than the page allocator's largest block (4 MiB)",
        shown_by=("pools",),
        trees=(RHEL_9,),
    ),
    Difference(
        "used", Used.LISTED, "6.0", "20347fca71a3", _SPLIT,
        "io_tlb_used sums over the areas of the pools on the list",
    ),
    Difference(
        "used", Used.ALL, "6.6", "8b0977ecc8b3", _HIWATER,
        "io_tlb_used is a counter that includes transient pools",
        shown_by=("total_used",),
        trees=(RHEL_9, SLES_15),
    ),
    Difference(
        "used", Used.LISTED, "7.3", "121f9fd1c308", _DECOUPLE,
        "io_tlb_used sums over listed pools again, unless booted with swiotlb=...,track_hiwater",
        shown_by=("cc_shared",),
    ),
    Difference(
        "hiwater", Hiwater.NEVER, "6.0", "20347fca71a3", _SPLIT,
        "no high water mark",
    ),
    Difference(
        "hiwater", Hiwater.ALWAYS, "6.4", "8b0977ecc8b3", _HIWATER,
        "io_tlb_used_hiwater is kept, and includes transient pools",
        shown_by=("total_used",),
        trees=(RHEL_9,),
    ),
    Difference(
        "hiwater", Hiwater.AT_BOOT, "7.3", "121f9fd1c308", _DECOUPLE,
        "io_tlb_used_hiwater reads 0 unless booted with swiotlb=...,track_hiwater",
        shown_by=("cc_shared",),
    ),
    Difference(
        "aligns_alloc", False, "6.0", "20347fca71a3", _SPLIT,
        "swiotlb_alloc() asks for no alignment; by 6.3's rule it can get half a page (CVE-2024-35814)",
    ),
    Difference(
        "aligns_alloc", True, "6.9", "cbf53074a528",
        "swiotlb: Honour dma_alloc_coherent() alignment in swiotlb_alloc()",
        "swiotlb_alloc() asks for the alignment of the size, rounded up to a power of two of pages",
        shown_by=("pad_slots",),
        trees=(STABLE_6_6_24, STABLE_6_6_35, STABLE_6_7, STABLE_6_8, UBUNTU_6_8, RHEL_9, SLES_15, OPENEULER_24),
    ),
    Difference(
        "checks_page", False, "6.0", "20347fca71a3", _SPLIT,
        "swiotlb_alloc() does not look at the address it got",
    ),
    Difference(
        "checks_page", True, "6.9", "823353b7cf0e",
        "swiotlb: Enforce page alignment in swiotlb_alloc()",
        "swiotlb_alloc() gives slots back that do not begin a page",
        shown_by=("pad_slots, transient_nslabs", "pad_slots, pools, alloc_size"),
        trees=(STABLE_6_6_35, UBUNTU_6_8, RHEL_9),
    ),
    Difference(
        "frees_misfit_at_once", True, SEED, "1aaa736815eb", _GROW,
        "a transient pool without a fitting slot is freed at once (one that was used, by call_rcu)",
    ),
    Difference(
        "frees_misfit_at_once", False, "7.3", "e13d4d9a4915",
        "dma: swiotlb: free dynamic pools from process context",
        "every transient pool is freed by RCU work, also one without a fitting slot",
        shown_by=("dyn_free_work",),
    ),
    Difference(
        "checks_kind", False, "6.0", "20347fca71a3", _SPLIT,
        "any device may map from any pool",
    ),
    Difference(
        "checks_kind", True, "7.3", "d5fd03cdd6c0",
        "dma: swiotlb: track pool encryption state and honor DMA_ATTR_CC_SHARED",
        "where memory is encrypted, a map is refused at once whose device needs the other kind of pool",
        shown_by=("cc_shared",),
    ),
    Difference(
        "bounds_list", False, "6.0", "20347fca71a3", _SPLIT,
        "if a pool ends inside a slot set, its free list runs on past its end (CVE-2023-52790)",
    ),
    Difference(
        "bounds_list", True, "6.7", "53c87e846e33",
        "swiotlb: fix out-of-bounds TLB allocations with CONFIG_SWIOTLB_DYNAMIC",
        "the free list ends with the pool",
        shown_by=("search_area", "transient_nslabs", "pad_slots, pools"),
        trees=(STABLE_6_6_3, STABLE_6_6_24, STABLE_6_6_35, RHEL_9, OPENEULER_24),
    ),
)  # fmt: skip
"""Of each aspect, oldest first. The first row is also what older kernels have, where it matters to them."""


def release_key(release: str) -> tuple[int, ...] | None:
    """What releases are ordered by: ``"6.12.117+deb12-amd64"`` is (6, 12); None for what is no release."""
    if release == SEED:
        return (6, 5, 1)
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else None
