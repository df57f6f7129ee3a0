"""A revision of the kernel's swiotlb: one value for each aspect in which revisions differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from swiotlb_top.allocator.alignment import Alignment, AlignmentRule
from swiotlb_top.allocator.differences import DIFFERENCES, SEED, Difference, Hiwater, Used, release_key
from swiotlb_top.allocator.geometry import align_up, slot_addr
from swiotlb_top.allocator.growth import grow_sizes
from swiotlb_top.allocator.order import SearchOrder, each_pool_every_area
from swiotlb_top.allocator.request import Limits, Request, align_offset
from swiotlb_top.allocator.trees import STABLE_6_1, STABLE_6_6_3, Tree
from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE, MAX_ALLOC_BYTES, PAGE_SIZE
from swiotlb_top.events import Map


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of swiotlb. :data:`~swiotlb_top.allocator.DIFFERENCES` says what each aspect means, and since when.

    A static build asks its only pool in :attr:`static_order` whatever the dynamic order is.
    """

    name: str
    order: SearchOrder
    alignment: Alignment
    pads_slots: bool
    rounds_size: bool
    refuses_oversize: bool
    largest_nslabs: int | None
    used: Used
    hiwater: Hiwater
    aligns_alloc: bool
    checks_page: bool
    frees_misfit_at_once: bool
    checks_kind: bool
    bounds_list: bool
    static_order: SearchOrder = each_pool_every_area

    @property
    def rule(self) -> AlignmentRule:
        """What :class:`~swiotlb_top.allocator.pool.Pool` must know of it."""
        return AlignmentRule(self.alignment, self.pads_slots, self.bounds_list)

    def request(
        self,
        mapping_size_bytes: int,
        orig_addr: int,
        alloc_align_mask: int,
        limits: Limits,
        alloc_size: int | None = None,
    ) -> Request:
        """What ``swiotlb_tbl_map_single()`` asks of ``swiotlb_find_slots()`` for a mapping.

        :param alloc_size: the argument of that name in bytes, on kernels that have it (up to 6.9);
            None: the size of the mapping rounded up to ``alloc_align_mask``, as every caller passes it.
        :raises ValueError: ``alloc_size`` for a kernel that has no such argument.
        """
        offset = self.padding_bytes(orig_addr, alloc_align_mask, limits)
        if self.rounds_size:
            if alloc_size is not None:
                raise ValueError(f"swiotlb_tbl_map_single() of {self.name} has no alloc_size")
            return Request(orig_addr, align_up(mapping_size_bytes + offset, alloc_align_mask), alloc_align_mask, limits)
        if alloc_size is None:
            alloc_size = align_up(mapping_size_bytes, alloc_align_mask)
        return Request(orig_addr, alloc_size + offset, alloc_align_mask, limits)

    def request_of(self, mapping: Map, limits: Limits | None) -> Request:
        """What a recorded ``swiotlb_tbl_map_single()`` asked of ``swiotlb_find_slots()``.

        :param limits: the limits of the device; None if no event told them. The low bits that the buffer's address
            has in common with ``orig_addr`` then tell which had to be kept.
        """
        if limits is None:
            kept = (IO_TLB_SIZE - 1) | (mapping.alloc_align_mask if self.pads_slots else 0)
            limits = Limits(min_align_mask=0 if mapping.failed else mapping.tlb_addr & kept)
        sizes = mapping.mapping_size_bytes, mapping.orig_addr, mapping.alloc_align_mask
        return self.request(*sizes, limits, (mapping.alloc_size_bytes or None) if not self.rounds_size else None)

    def pad_slots(self, request: Request) -> int:
        """Whole slots of padding before the buffer."""
        return self.padding_bytes(request.orig_addr, request.alloc_align_mask, request.limits) >> IO_TLB_SHIFT

    def padding_bytes(self, orig_addr: int, alloc_align_mask: int, limits: Limits) -> int:
        """Bytes between the first slot and the buffer."""
        return align_offset(alloc_align_mask if self.pads_slots else 0, orig_addr, limits.min_align_mask)

    def tlb_addr(self, start: int, slot: int, request: Request) -> int:
        """The buffer's address, for slots taken from ``slot`` on in the pool at ``start``."""
        return slot_addr(start, slot) + self.padding_bytes(request.orig_addr, request.alloc_align_mask, request.limits)

    def refuses(self, request: Request) -> bool:
        """Whether a dynamic kernel refuses a request without looking at its pools, or growing."""
        return self.refuses_oversize and request.alloc_size_bytes > MAX_ALLOC_BYTES

    def grow_sizes(self, default_nslabs: int, default_nareas: int) -> Iterator[tuple[int, int]]:
        """The ``(nslabs, nareas)`` that growth tries, largest first."""
        return grow_sizes(default_nslabs, default_nareas, self.largest_nslabs)

    def alloc_align_mask(self, size_bytes: int) -> int:
        """The mask ``swiotlb_alloc()`` passes on for ``size_bytes`` (at least 1)."""
        if not self.aligns_alloc:
            return 0
        pages = (size_bytes + PAGE_SIZE - 1) // PAGE_SIZE
        return (PAGE_SIZE << (pages - 1).bit_length()) - 1


ASPECTS: Final = tuple(dict.fromkeys(row.aspect for row in DIFFERENCES))


def rows_of(aspect: str) -> tuple[Difference, ...]:
    """The rows of one aspect, oldest first."""
    return tuple(row for row in DIFFERENCES if row.aspect == aspect)


def newest_until(rows: Iterable[Difference], key: tuple[int, ...]) -> Difference:
    """The row that a release of mainline has (``key``: :func:`~swiotlb_top.allocator.differences.release_key`)."""
    oldest, *newer = (row for row in rows if not row.only_in_trees)
    return [oldest, *(row for row in newer if (release_key(row.since) or ()) <= key)][-1]


def row_in(tree: Tree, aspect: str) -> Difference:
    """The row that a tree has: what it took over, or else what it began with."""
    taken = [row for row in rows_of(aspect) if tree in row.trees]
    return taken[-1] if taken else newest_until(rows_of(aspect), tree.base)


def composed(name: str, rows: Iterable[Difference]) -> Revision:
    """The revision that has these rows, one an aspect."""
    values: dict[str, Any] = {row.aspect: row.value for row in rows}
    return Revision(name, **values)


def as_of(release: str) -> Revision:
    """The revision mainline had at a release.

    :raises ValueError: that is no release.
    """
    key = release_key(release)
    if key is None:
        raise ValueError(f"{release!r} is no release")
    return composed(release, (newest_until(rows_of(aspect), key) for aspect in ASPECTS))


def of_tree(tree: Tree) -> Revision:
    """The revision that a tree has."""
    return composed(tree.name, (row_in(tree, aspect) for aspect in ASPECTS))


def differing(one: Revision, other: Revision) -> tuple[str, ...]:
    """The aspects in which two revisions differ."""
    return tuple(aspect for aspect in ASPECTS if getattr(one, aspect) != getattr(other, aspect))


NOT_JUDGED: Final = frozenset({"used", "hiwater", "aligns_alloc", "checks_page", "frees_misfit_at_once"})
"""Aspects that the judge never asks for: what is counted, ``swiotlb_alloc()``, and when memory is given back."""


def judged_apart(one: Revision, other: Revision) -> tuple[str, ...]:
    """The aspects in which the judge may tell two revisions apart. If there are none, it says the same by both."""
    return tuple(aspect for aspect in differing(one, other) if aspect not in NOT_JUDGED)


MAINLINE: Final = ("6.1", SEED, "6.6", "6.8", "6.9", "6.10", "7.3")
"""The releases that changed where slots are found, what is counted or how pools grow; and the seed.

6.1 is the stable branch as it is today: mainline's 6.0 to 6.2 are a little different. 6.6 is what it is since 6.6.3."""

REVISIONS: Final[dict[str, Revision]] = {
    revision.name: revision
    for revision in (
        replace(of_tree(STABLE_6_1), name="6.1"),
        # As it was proposed, but for the free list's end, which has nothing to do with it.
        replace(as_of(SEED), bounds_list=True),
        replace(of_tree(STABLE_6_6_3), name="6.6"),
        *(as_of(release) for release in MAINLINE[3:]),
        # No kernel anybody released, but the one in which the seed's order can be watched.
        replace(as_of("6.10"), name="6.10 in 6.6's order", order=as_of("6.6").order),
    )
}
"""By name. What is between two of them, or a mixture: :func:`swiotlb_top.allocator.choose`."""
