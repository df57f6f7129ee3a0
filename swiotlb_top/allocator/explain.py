"""Why a mapping fails, in a word and in a sentence: what the kernel's "buffer is full" hides."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from swiotlb_top.allocator.allocator import Allocator
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.allocator.pool import Pool
from swiotlb_top.allocator.request import NO_BOUNDARY, Request
from swiotlb_top.allocator.walk import NEVER_ENDS
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, MAX_ALLOC_BYTES, PAGE_SIZE

ABSURD_BYTES: Final = 1 << 30
"""No driver means to map so much at once."""


class Cause(Enum):
    """Why a request got no slots."""

    NOT_INITIALISED = "not_initialised"
    WRONG_KIND = "wrong_kind"
    UNREACHABLE = "unreachable"
    ABSURD_SIZE = "absurd_size"
    TOO_LARGE = "too_large"
    PADDED = "padded"
    EXHAUSTED = "exhausted"
    FRAGMENTED = "fragmented"
    MISALIGNED = "misaligned"
    BOUNDARY = "boundary"
    OVERTAKEN = "overtaken"
    CANNOT_GROW = "cannot_grow"
    GROW_FAILED = "grow_failed"

    @property
    def is_of_room(self) -> bool:
        """Whether it matters how much room there is: not if the device cannot use the memory, however much it is."""
        return self not in (Cause.WRONG_KIND, Cause.UNREACHABLE)


class Explanation(NamedTuple):
    """Why a request fails.

    ``pools_cause`` is what was wrong with the existing pools; ``cause`` is why the request failed in the
    end. They differ on a dynamic kernel, which tries to add a pool.
    """

    cause: Cause
    pools_cause: Cause
    sentence: str
    needed_slots: int
    longest_free_slots: int
    """The longest free run in any area that the search asks."""


class _Room(NamedTuple):
    """How much room is left in the areas that a search asks."""

    free_slots: int
    nslabs: int
    longest_free_slots: int


def explain(
    allocator: Allocator, cpu: int, request: Request, transient: Pool | None = None, *, failed: bool = False
) -> Explanation | None:
    """Why ``swiotlb_find_slots()`` on ``cpu`` fails; None where the pools have room.

    On a dynamic kernel that may grow, the answer supposes that it failed all the same.

    :param transient: the transient pool there was memory for, but that did not suit; None: there was
        no memory. It has no slot more than is needed, so that a buffer in the second half of its page,
        whose first slot must be odd, has no place in it.
    :param failed: it is known to have failed. Where the pools have room, others then gave that back in areas which
        the search, that looks at one area after another, had passed.
    """
    needed = nr_slots(request.alloc_size_bytes)
    # Where nareas is no power of two, the kernel asks some areas twice.
    asked = list(dict.fromkeys(allocator.attempts(cpu)))
    room = _room(asked)
    if not allocator.nslabs:
        return _explained(Cause.NOT_INITIALISED, "swiotlb has no memory", needed, room)
    if request.alloc_size_bytes > MAX_ALLOC_BYTES:
        return _explained(*_too_large(allocator, request, needed), needed, room)
    has_room = allocator.find_slots(cpu, request) is not None
    if has_room and not failed:
        return None
    cause, why = _overtaken(needed) if has_room else _pools_cause(allocator, asked, request, needed, room)
    never_ends = any(pool.search(area, request) == NEVER_ENDS for pool, area in asked)
    for pool in dict.fromkeys(pool for pool, _ in asked):
        allocator.charge(pool)
    if never_ends:
        why += "; and this kernel's search for them never ends"
    if not allocator.dynamic:
        return _explained(cause, why, needed, room)
    if not allocator.can_grow:
        return Explanation(Cause.CANNOT_GROW, cause, f"{why}, and swiotlb may not grow", needed, room[2])
    if transient is None:
        why += f", and no transient pool of {needed} slots could be allocated"
        return Explanation(Cause.GROW_FAILED, cause, why, needed, room.longest_free_slots)
    unsuited, why_not = _unsuited(allocator, [(transient, 0)], request)
    why += f", and in the transient pool of {transient.nslabs} slots {why_not}"
    return Explanation(unsuited, cause, why, needed, room.longest_free_slots)


def wrong_kind(allocator: Allocator, cpu: int, request: Request, *, shared: bool) -> Explanation:
    """Why a map is refused before any search, where the pools' memory is of the other kind than the device needs.

    :param shared: whether the pools' memory is shared with the host.
    """
    kinds = ("shared with the host", "private to the guest")
    has, needs = kinds if shared else kinds[::-1]
    why = f"the pool's memory is {has}, and the device needs memory that is {needs}"
    asked = list(dict.fromkeys(allocator.attempts(cpu)))
    return _explained(Cause.WRONG_KIND, why, nr_slots(request.alloc_size_bytes), _room(asked))


def unreachable(allocator: Allocator, cpu: int, tlb_addr: int, size_bytes: int, nslots: int, reach: int) -> Explanation:
    """Why a map fails that found slots, and gave them back because the device cannot reach them.

    :param tlb_addr: the buffer's address.
    :param reach: the highest address that the device reaches, as far as its limits tell.
    """
    last = tlb_addr + size_bytes - 1
    limit = f", which reaches addresses up to {reach:#x}" if reach < last else ""
    why = f"found {nslots} slots at {tlb_addr:#x}, beyond the reach of the device{limit}"
    return _explained(Cause.UNREACHABLE, why, nslots, _room(list(dict.fromkeys(allocator.attempts(cpu)))))


def _too_large(allocator: Allocator, request: Request, needed: int) -> tuple[Cause, str]:
    """What is wrong with a request that no pool can serve: the driver's arithmetic, its size, or the padding."""
    orig_addr, alloc_size_bytes, alloc_align_mask, limits = request
    if alloc_size_bytes >= ABSURD_BYTES:
        as_signed = alloc_size_bytes - (1 << 64) if alloc_size_bytes >> 63 else alloc_size_bytes
        return Cause.ABSURD_SIZE, f"asks for {as_signed} bytes, which no driver means: it has miscalculated"
    why = f"needs {needed} contiguous slots, no mapping can have more than {IO_TLB_SEGSIZE} (256 KiB)"
    padding_bytes = allocator.revision.padding_bytes(orig_addr, alloc_align_mask, limits)
    if alloc_size_bytes - padding_bytes > MAX_ALLOC_BYTES:
        return Cause.TOO_LARGE, why
    return Cause.PADDED, f"{why}, and {padding_bytes} bytes of padding before the buffer make it so many"


def _explained(cause: Cause, sentence: str, needed: int, room: _Room) -> Explanation:
    return Explanation(cause, cause, sentence, needed, room.longest_free_slots)


def _room(asked: list[tuple[Pool, int]]) -> _Room:
    return _Room(
        sum(pool.free_slots(area) for pool, area in asked),
        sum(pool.area_nslabs for pool, _ in asked),
        max((_longest(pool, areas) for pool, areas in _areas_of_each(asked).items()), default=0),
    )


def _areas_of_each(asked: Iterable[tuple[Pool, int]]) -> dict[Pool, list[int]]:
    areas_of: dict[Pool, list[int]] = {}
    for pool, area in asked:
        areas_of.setdefault(pool, []).append(area)
    return areas_of


def _longest(pool: Pool, areas: list[int]) -> int:
    """The longest free run that begins in one of these areas, which are all different."""
    if len(areas) == pool.nareas:
        return pool.longest_free_slots()
    return max(map(pool.longest_free_slots, areas))


def _pools_cause(
    allocator: Allocator, asked: list[tuple[Pool, int]], request: Request, needed: int, room: _Room
) -> tuple[Cause, str]:
    """What is wrong with the pools: too few free slots, no run that is long enough, or none that is aligned."""
    if room.free_slots < needed:
        return Cause.EXHAUSTED, f"needs {needed} slots, {room.free_slots} of {room.nslabs} are free"
    if room.longest_free_slots < needed:
        return Cause.FRAGMENTED, f"needs {needed} contiguous slots, longest free run {room.longest_free_slots}"
    # An area gives out no more than its own number, even where a run reaches into the next.
    allowed = [(p, a) for p, a in asked if p.free_slots(a) >= needed and p.longest_free_slots(a) >= needed]
    if not allowed:
        return (
            Cause.EXHAUSTED,
            f"needs {needed} slots, no area with so long a free run has as many free slots of its own",
        )
    unsuited, why_not = _unsuited(allocator, allowed, request)
    return unsuited, f"needs {needed} contiguous slots, longest free run {room.longest_free_slots}, {why_not}"


def _overtaken(needed: int) -> tuple[Cause, str]:
    behind = "each area had no room when the search looked at it, and some came free behind it"
    return Cause.OVERTAKEN, f"needs {needed} slots, {behind}"


def _unsuited(allocator: Allocator, asked: list[tuple[Pool, int]], request: Request) -> tuple[Cause, str]:
    """Why no run that is long enough fits: its alignment, or a segment boundary."""
    unbounded = request._replace(limits=request.limits._replace(seg_boundary_mask=NO_BOUNDARY))
    # Up to 6.2 an area may have room that the search never comes to: that is no boundary's fault.
    if any(pool.search(area, request) < 0 <= pool.search(area, unbounded) for pool, area in asked):
        segment_slots = (request.limits.seg_boundary_mask + 1) >> IO_TLB_SHIFT
        return Cause.BOUNDARY, f"each aligned run crosses a boundary between segments of {segment_slots} slots"
    return (
        Cause.MISALIGNED,
        f"no place that the search tries is aligned as asked ({_alignment_words(allocator, request)})",
    )


def _alignment_words(allocator: Allocator, request: Request) -> str:
    """What asks for alignment: the caller, the device, or the kernel itself for a page or more."""
    asked = (request.alloc_align_mask, request.limits.min_align_mask)
    words = [
        f"{name} {mask:#x}" for name, mask in zip(("alloc_align_mask", "min_align_mask"), asked, strict=True) if mask
    ]
    align = allocator.revision.alignment
    of_page, of_less = align(True, *asked), align(False, *asked)
    if request.alloc_size_bytes >= PAGE_SIZE and of_page != of_less:
        only_steps = not of_page.until_back and of_page._replace(stride_slots=of_less.stride_slots) == of_less
        words.append("every second slot" if only_steps else "to a page")
    return ", ".join(words) or "to a slot"
