"""Where the search for a request can look, in a pool that begins at some page: what the bound on sizes counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from swiotlb_top.allocator import Limits, Request, Revision
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.allocator.walk import walk_of
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, PAGE_SIZE, SLABS_PER_PAGE

NEVER: Final = 1 << 62
"""More slot sets than any pool has."""
ANY: Final = SLABS_PER_PAGE
"""In place of the slot of a page, 0 or 1, in which a mapping begins: either."""
KINDS: Final = SLABS_PER_PAGE + 1
"""Of mappings of one length, by the slot of a page they begin in."""
_CLASSES: Final = 4096
"""Kept in memory; real loads have some tens."""


class Distance(NamedTuple):
    """Starts that a search looks at, a distance of ``slots`` apart."""

    slots: int
    in_a_set: int
    """How many of them a slot set has, wherever the pool begins."""
    weights: tuple[int, ...]
    """How many of them a mapping is in the way of at most, by :func:`kind_of`; those of 0 slots are boundaries."""


def kind_of(nslots: int, in_page: int) -> int:
    """The place of a mapping in tables: by its slots, and the slot of a page in which it begins, or :data:`ANY`."""
    return nslots * KINDS + in_page


@dataclass(frozen=True, slots=True)
class Starts:
    """Where the search for one class of requests looks, in any pool."""

    nslots: int
    kind: int
    """Of the mapping that comes of it: see :func:`kind_of`."""
    distances: tuple[Distance, ...]
    """Those worth trying; the first is the shortest at which two do not overlap. None where nothing can be proven."""
    boundary_slots: int
    """Length of a segment; 0: there is none."""
    left_out: int
    """How many the search of an area may leave out."""
    stays: bool
    """Whether the search of a full area never ends (up to 6.2), so that no other area is asked."""
    impossible: bool
    """Whether no pool has a start that will do."""

    def slot_sets(self, weights: Sequence[int], nareas: int) -> int:
        """From how many slot sets on one start is free, whichever of the distances shows it; there has to be one.

        :param weights: of each distance, or the first of them, the weight of all that is mapped.
        """
        out, pools = (self.left_out, nareas) if self.stays else (self.left_out * nareas, 1)
        return pools * min(
            _slot_sets(distance, weight + out, self.boundary_slots)
            for distance, weight in zip(self.distances, weights, strict=False)
        )


def _slot_sets(distance: Distance, weight: int, boundary_slots: int) -> int:
    """The least S with ``weight + boundaries in S sets * theirs < S * in_a_set``, or a little more."""
    each, own = distance.weights[0], distance.in_a_set
    if not boundary_slots or not each:
        return weight // own + 1
    # No more than S * 128 / boundary_slots + 1 boundaries lie inside of S sets.
    gain = own * boundary_slots - IO_TLB_SEGSIZE * each
    return (weight + each) * boundary_slots // gain + 1 if gain > 0 else NEVER


def starts_of(revision: Revision, request: Request) -> Starts:
    """Where a search for a request looks."""
    orig_addr, alloc_size_bytes, alloc_align_mask, limits = request
    in_page = (orig_addr >> IO_TLB_SHIFT) % SLABS_PER_PAGE
    page_or_more = alloc_size_bytes >= PAGE_SIZE
    return _starts(revision, nr_slots(alloc_size_bytes), alloc_align_mask, limits, page_or_more, in_page, not orig_addr)


@lru_cache(_CLASSES)
def _starts(
    revision: Revision,
    nslots: int,
    alloc_align_mask: int,
    limits: Limits,
    page_or_more: bool,
    in_page: int,
    no_orig_addr: bool,
) -> Starts:
    if nslots > IO_TLB_SEGSIZE:
        return Starts(nslots, kind_of(nslots, ANY), (), 0, 0, False, True)
    walk = walk_of(revision.alignment, 0, IO_TLB_SEGSIZE, (alloc_align_mask, limits, page_or_more, no_orig_addr))
    until_back = walk.alignment.until_back
    if not walk.period or (walk.step != walk.period and not until_back):
        return Starts(nslots, kind_of(nslots, ANY), (), 0, 0, False, False)
    # A pool begins at a page: the slot of a page is known, which page of a longer period is not.
    in_page &= walk.match_mask >> IO_TLB_SHIFT
    furthest = max(walk.period - SLABS_PER_PAGE, 0) + in_page
    boundary_slots = 0 if limits.seg_boundary_mask >> 63 else (limits.seg_boundary_mask >> IO_TLB_SHIFT) + 1
    room = IO_TLB_SEGSIZE - furthest - nslots
    impossible = 0 < boundary_slots < nslots or (room < 0 and furthest == in_page)
    known = in_page if walk.step >= SLABS_PER_PAGE else ANY
    kind = kind_of(nslots, known)
    if room < 0 or impossible or boundary_slots == 1:
        return Starts(nslots, kind, (), 0, 0, False, impossible)
    creeps = furthest > 0
    distances = _distances(nslots, walk.step, room, known)
    return Starts(nslots, kind, distances, boundary_slots, creeps and not until_back, creeps and until_back, False)


@lru_cache(_CLASSES)
def _distances(nslots: int, step: int, room: int, in_page: int) -> tuple[Distance, ...]:
    """Of those with as many starts in a set, only the longest."""
    beside = -(-nslots // step) * step
    counts = dict.fromkeys(room // slots + 1 for slots in (beside, step, 2 * beside, IO_TLB_SEGSIZE))
    return tuple(_distance(nslots, step, room, in_page, in_a_set) for in_a_set in counts)


def _distance(nslots: int, step: int, room: int, in_page: int, in_a_set: int) -> Distance:
    slots = room // (in_a_set - 1) // step * step if in_a_set > 1 else 2 * IO_TLB_SEGSIZE
    weights = [
        min(in_a_set, -(-_taken(nslots, length, in_page, kind) // _in_class(slots, in_page)))
        for length in range(IO_TLB_SEGSIZE + 1)
        for kind in range(KINDS)
    ]
    return Distance(slots, in_a_set, tuple(weights))


def _taken(nslots: int, length: int, in_page: int, begins: int) -> int:
    """How many slots a run of ``nslots`` could begin at, that overlaps a mapping of ``length``.

    :param in_page: count only those that are this slot of a page, unless :data:`ANY`.
    :param begins: the slot of a page in which the mapping begins.
    """
    all_ = nslots + length - 1
    if in_page == ANY:
        return all_
    if begins == ANY:
        return -(-all_ // SLABS_PER_PAGE)
    first = (begins - nslots + 1 - in_page) % SLABS_PER_PAGE
    return -(-(all_ - bool(first)) // SLABS_PER_PAGE) if all_ else 0


def _in_class(slots: int, in_page: int) -> int:
    """A distance in slots, or in those slots that :func:`_taken` counts."""
    return slots if in_page == ANY else slots // SLABS_PER_PAGE
