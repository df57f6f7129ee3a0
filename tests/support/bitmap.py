"""A pool as a plain bitmap: no free lists, no slot sets' masks, nothing but which slots are taken.

Says where a mapping could go at all (:meth:`Bitmap.holds`), and which of these places a revision's
search looks at (:func:`looked_at`). Knows the areas' ``index`` only for the latter. Masks are 2^k - 1,
pools and areas begin at whole slot sets' addresses, as in every kernel that was not built to break.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from swiotlb_top.allocator import Request

SLOT = 2048
SLOT_SET = 128
PAGE = 4096


def slots_of(size_bytes: int) -> int:
    return -(-size_bytes // SLOT)


@dataclass
class Bitmap:
    """One pool. ``taken[i]`` says whether slot i is in use, ``used[a]`` what area a has given out."""

    start: int
    nslabs: int
    nareas: int
    taken: list[bool] = field(default_factory=list)
    used: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.taken = [False] * self.nslabs
        self.used = [0] * self.nareas

    @property
    def area_nslabs(self) -> int:
        return self.nslabs // self.nareas

    def set(self, slot: int, nslots: int, taken: bool) -> None:
        assert self.taken[slot : slot + nslots] == [not taken] * nslots
        self.taken[slot : slot + nslots] = [taken] * nslots
        self.used[slot // self.area_nslabs] += nslots if taken else -nslots

    def holds(self, slot: int, request: Request) -> bool:
        """Whether a mapping could begin in ``slot``, alignment aside."""
        nslots = slots_of(request.alloc_size_bytes)
        segment = request.limits.seg_boundary_mask + 1
        first = self.start + slot * SLOT
        return (
            slot % SLOT_SET + nslots <= SLOT_SET
            and slot + nslots <= self.nslabs
            and not any(self.taken[slot : slot + nslots])
            and first // segment == (first + nslots * SLOT - 1) // segment
            and self.used[slot // self.area_nslabs] + nslots <= self.area_nslabs
        )

    def free_list(self) -> list[int]:
        """What the kernel's ``list`` must be."""
        runs = [0] * self.nslabs
        for slot in reversed(range(self.nslabs)):
            last = slot % SLOT_SET == SLOT_SET - 1 or slot == self.nslabs - 1
            if not self.taken[slot]:
                runs[slot] = 1 if last else runs[slot + 1] + 1
        return runs


def aligned(since: str, address: int, request: Request) -> bool:
    """Whether a slot's address is one the search stops at, by the rule that came with ``since``."""
    orig_addr, size, alloc_mask, limits = request
    apart = (address ^ orig_addr) if orig_addr else 0
    high = ~(SLOT - 1)
    if since == "6.0":
        return not apart & limits.min_align_mask & ~alloc_mask & high
    if since == "6.3":
        page = PAGE - 1 if size >= PAGE else 0
        return not apart & (limits.min_align_mask | alloc_mask | page) & high
    if size >= PAGE and not alloc_mask and not limits.min_align_mask:
        alloc_mask = PAGE - 1
    return not (address & alloc_mask or apart & limits.min_align_mask & ~alloc_mask & high)


def stride(since: str, request: Request) -> int:
    """Slots from an aligned one to the next that is looked at."""
    _, size, alloc_mask, limits = request
    pages = 2 if size >= PAGE else 1
    of_alloc, of_device = max(1, slots_of(alloc_mask)), max(1, slots_of(limits.min_align_mask))
    if since == "6.0":
        return max(of_alloc, (of_device if of_device > of_alloc else 1) * pages)
    if since == "6.3" or not (alloc_mask or limits.min_align_mask):
        return max(of_alloc, of_device, pages)
    return max(of_alloc, of_device)


def _next_aligned(since: str, pool: Bitmap, slot: int, request: Request) -> int:
    while not aligned(since, pool.start + slot * SLOT, request):
        slot += 1
    return slot


def looked_at(since: str, pool: Bitmap, area: int, index: int, request: Request) -> set[int]:
    """The slots of an area that a search looks at which finds nothing."""
    base, length, step = area * pool.area_nslabs, pool.area_nslabs, stride(since, request)

    def from_(first: int) -> int:
        return _next_aligned(since, pool, base + first, request) - base

    if since == "6.0":
        index = -(-index // step) * step % length
        return {base + i for i in [*range(from_(index), length, step), *range(from_(0), index, step)]}
    before_end = range(from_(index), length, step)
    # What the last step goes beyond the end counts as looked at.
    beyond = before_end[-1] + step - length if before_end else from_(index) - length
    return {base + i for i in [*before_end, *range(from_(0), index - max(0, beyond), step)]}


def goes_round(since: str, pool: Bitmap, area: int, index: int, request: Request) -> bool:
    """Whether a search of an area that finds nothing never ends: it ends where it began, but has crept on."""
    if since != "6.0" or slots_of(request.alloc_size_bytes) > pool.area_nslabs - pool.used[area]:
        return False
    begin = -(-index // stride(since, request)) * stride(since, request) % pool.area_nslabs
    slot = area * pool.area_nslabs + begin
    return begin > 0 and _next_aligned(since, pool, slot, request) != slot
