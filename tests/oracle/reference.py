"""The reference allocator behind the driver's commands (driver.c): the same lines in, the same answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from swiotlb_top.allocator import DMA_MAPPING_ERROR, NEVER_ENDS, Allocator, Limits, Pages, Pool, Request, Revision
from swiotlb_top.allocator import Mapping as Mapped
from swiotlb_top.allocator.geometry import nr_slots, slot_addr
from swiotlb_top.allocator.runs import run_length
from swiotlb_top.constants import (
    INVALID_PHYS_ADDR,
    IO_TLB_SEGSIZE,
    IO_TLB_SHIFT,
    IO_TLB_SIZE,
    MAX_PAGE_ORDER,
    PAGE_SIZE,
)

_HASH_MASK = 0xFFFF_FFFF
_SIZE_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Reference:
    """A machine that the reference plays; `init` starts a new one. See driver.c for the commands."""

    def __init__(self, revision: Revision, *, dynamic: bool) -> None:
        self.revision = revision
        self.dynamic = dynamic
        self.allocator: Allocator
        self.limits: dict[int, Limits] = {}
        self.pages_spent = False
        """Whether a pool was made of the pages that `pages` named: they are not to be had a second time."""
        self.returned: Pool | None = None
        """The transient pool that the last `unmap` gave back, if it did."""
        self.page_is_whole = False
        """Whether the page that the last `alloc` handed out begins with its first slot, so that it can be freed."""
        self._tracks = False
        self._next_pages = 0
        self._failing_allocations = 0
        self._pools_made = 0

    # ---- what sets the stage ----

    def track(self, tracks: int) -> str:
        self._tracks = bool(tracks)
        return "ok"

    def init(
        self, nslabs: int, nareas: int, default_nareas: int, start: int, grows: int, phys_limit: int = _SIZE_MASK
    ) -> str:
        self.allocator = Allocator(
            self.revision,
            [Pool(0, start, nslabs, nareas, rule=self.revision.rule)],
            nslabs,
            default_nareas,
            can_grow=bool(grows),
            dynamic=self.dynamic,
            phys_limit=phys_limit,
            track_hiwater=self._tracks,
        )
        self.limits.clear()
        self._failing_allocations = 0
        return f"nslabs {nslabs} nareas {nareas} default_nareas {default_nareas}"

    def restricted(self, nslabs: int, start: int) -> str:
        pool = Pool(0, start, nslabs, 1, rule=self.revision.rule)
        self.allocator = Allocator.restricted(self.revision, pool, dynamic=self.dynamic, track_hiwater=self._tracks)
        return f"restricted 0 nslabs {nslabs} nareas 1"

    def dev(self, dev: int, min_align_mask: int, seg_boundary_mask: int, dma_mask: int, bus_dma_limit: int) -> str:
        self.limits[dev] = Limits(seg_boundary_mask, min_align_mask, dma_mask, bus_dma_limit)
        return "ok"

    def pages(self, start: int, failing_allocations: int) -> str:
        self._next_pages = start
        self._failing_allocations = failing_allocations
        self.pages_spent = False
        return "ok"

    def _pages(self, nslabs: int) -> Pages | None:
        """`alloc_pages()`: the next pages, in a block that is aligned to its own size."""
        block_bytes = PAGE_SIZE
        while block_bytes < nslabs << IO_TLB_SHIFT:
            block_bytes *= 2
        if block_bytes > PAGE_SIZE << MAX_PAGE_ORDER:
            return None
        if self._failing_allocations:
            self._failing_allocations -= 1
            return None
        self._pools_made += 1
        return Pages(self._pools_made, (self._next_pages + block_bytes - 1) & -block_bytes)

    # ---- what is played on it ----

    def map(
        self, dev: int, cpu: int, orig_addr: int, size_bytes: int, align_mask: int, alloc_size: int | None = None
    ) -> str:
        allocator, limits = self.allocator, self.limits[dev]
        was_pending, allocator.growth_pending = allocator.growth_pending, False
        address = allocator.map(cpu, dev, orig_addr, size_bytes, align_mask, limits, None, alloc_size)
        if address == DMA_MAPPING_ERROR:
            request = self.revision.request(size_bytes, orig_addr, align_mask, limits, alloc_size)
            if allocator.growth_pending:
                pages = self._pages(nr_slots(request.alloc_size_bytes))
                address = allocator.map(cpu, dev, orig_addr, size_bytes, align_mask, limits, pages, alloc_size)
            elif (alloc_size is None or alloc_size >= size_bytes) and self._never_ends(cpu, request):
                return "hang"
        grew = int(allocator.growth_pending)
        allocator.growth_pending |= was_pending
        if address == DMA_MAPPING_ERROR:
            return f"fail {grew}"
        pool = allocator.find_pool(dev, address)
        assert pool is not None
        self.pages_spent |= pool.transient
        return f"{address:x} {pool.start:x} {int(pool.transient)} {grew}"

    def _never_ends(self, cpu: int, request: Request) -> bool:
        if not self.revision.alignment(False, 0, 0).until_back:
            return False
        searches = (pool.search(area, request) for pool, area in self.allocator.attempts(cpu))
        return any(slot == NEVER_ENDS for slot in searches)

    def unmap(self, dev: int, address: int, size_bytes: int) -> str:
        pool = self.allocator.find_pool(dev, address)
        self.returned = pool if pool and pool.transient else None
        return "ok" if self.allocator.unmap(dev, address, self.limits[dev].min_align_mask) else "none"

    def alloc(self, dev: int, cpu: int, size_bytes: int) -> str:
        allocator, limits = self.allocator, self.limits[dev]
        request = Request(0, size_bytes, self.revision.alloc_align_mask(size_bytes), limits)
        if self._never_ends(cpu, request):
            return "hang"
        found = allocator.find_slots(cpu, request)
        address = allocator.alloc(cpu, dev, size_bytes, limits)
        self.page_is_whole = found is not None and slot_addr(found.pool.start, found.slot) == address
        return "none" if address is None else f"page {address:x}"

    def free(self, dev: int, address: int, size_bytes: int) -> str:
        return "ok" if self.allocator.free(dev, address) else "none"

    def work(self) -> str:
        if self.allocator.run_worker(self._pages):
            self.pages_spent = True
        return f"nslabs {self.allocator.nslabs} warned {self.allocator.growth_failures}"

    def grace(self) -> str:
        return f"freed {len(self.allocator.end_grace_period())}"

    def hiwater0(self) -> str:
        self.allocator.reset_hiwater()
        return "ok"

    # ---- what is seen of it ----

    def sum(self) -> str:
        allocator = self.allocator
        counters = f"{allocator.nslabs} {allocator.total_used} {allocator.used_hiwater} {allocator.growth_pending:d}"
        return counters + "".join(_pool(pool) for pool in allocator.pools)

    def transient(self) -> str:
        nslabs = self.allocator.transient_nslabs if self.dynamic else -1
        pools = sorted(self.allocator.transient.items())
        return f"{nslabs}" + "".join(f" {dev}{_pool(pool)}" for dev, pools in pools for pool in pools)

    def state(self, start: int) -> str:
        pool = next(pool for pool in self.allocator.pools if pool.start == start)
        areas = (word for area in zip(pool.area_used, pool.area_index, strict=True) for word in area)
        slots = [(run, INVALID_PHYS_ADDR, 0, 0) for run in pool.free_list()]
        for mapping in pool.mappings():
            limits = self.limits[mapping.dev]
            slots[mapping.slot : mapping.slot + mapping.nslots] = _slots_of(mapping, limits.min_align_mask)
        del slots[pool.nslabs :]  # what lies behind the pool is not shown, though it may have been given out
        words = (*areas, *(word for slot in slots for word in slot))
        return f"{start:x} {pool.nslabs} {pool.nareas} {pool.area_nslabs} " + " ".join(map(str, words))

    # ---- lines ----

    def perform(self, line: str) -> str:
        """The answer to one command."""
        name, *words = line.split()
        answer: Callable[..., str] = getattr(self, name)
        # The last word of some may be missing.
        return answer(*(int(word, base) for word, base in zip(words, _BASES[name], strict=False)))


_BASES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "track": (10,),
        "init": (10, 10, 10, 16, 10, 16),
        "restricted": (10, 16),
        "dev": (10, 16, 16, 16, 16),
        "pages": (16, 10),
        "map": (10, 10, 16, 10, 16, 10),
        "unmap": (10, 16, 10),
        "alloc": (10, 10, 10),
        "free": (10, 16, 10),
        "work": (),
        "grace": (),
        "hiwater0": (),
        "sum": (),
        "transient": (),
        "state": (16,),
    }
)
"""The commands, and the base in which each word of one is written."""


def _slots_of(mapping: Mapped, min_align_mask: int) -> Iterator[tuple[int, int, int, int]]:
    """`list`, `orig_addr`, `alloc_size` and `pad_slots` of each slot in use."""
    offset = mapping.orig_addr & min_align_mask & (IO_TLB_SIZE - 1)
    for slot in range(mapping.nslots):
        size = (mapping.alloc_size_bytes - offset - (slot << IO_TLB_SHIFT)) & _SIZE_MASK
        # swiotlb_alloc() has no buffer, and writes none.
        in_buffer = slot - mapping.pad_slots if mapping.orig_addr else -1
        orig_addr = slot_addr(mapping.orig_addr, in_buffer) if in_buffer >= 0 else INVALID_PHYS_ADDR
        yield 0, orig_addr, size, 0 if in_buffer else mapping.pad_slots


def _pool(pool: Pool) -> str:
    areas = " ".join(f"{used}:{index}" for used, index in zip(pool.area_used, pool.area_index, strict=True))
    return f" {pool.start:x}/{pool.nslabs}/{pool.nareas} {areas} h{_hash(pool):x}"


def _hash(pool: Pool) -> int:
    """A hash over `list` of every slot."""
    value = 0
    for first, free in zip(range(0, pool.nslabs, IO_TLB_SEGSIZE), pool.free_masks(), strict=True):
        length = min(IO_TLB_SEGSIZE, pool.nslabs - first)
        value = (value * pow(31, length, 1 << 32) + _hash_of_set(free, length)) & _HASH_MASK
    return value


def _hash_of_set(free: int, length: int) -> int:
    known = _HASHES.get((free, length))
    if known is None:
        known = 0
        for offset in range(length):
            known = known * 31 + run_length(free, offset) & _HASH_MASK
        _HASHES[free, length] = known
        if len(_HASHES) > 100_000:
            _HASHES.clear()
    return known


_HASHES: dict[tuple[int, int], int] = {}
"""Slot sets recur: most are full or empty."""
