"""All of swiotlb for one ``struct io_tlb_mem``: its pools, and the transient pools of devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.allocator.differences import Hiwater, Used
from swiotlb_top.allocator.geometry import nr_slots, slot_addr
from swiotlb_top.allocator.mapping import Mapping
from swiotlb_top.allocator.order import SearchOrder
from swiotlb_top.allocator.pool import Pool
from swiotlb_top.allocator.request import Limits, Request
from swiotlb_top.allocator.revision import Revision
from swiotlb_top.allocator.walk import NEVER_ENDS
from swiotlb_top.constants import DMA_MAPPING_ERROR, MAX_ALLOC_BYTES, PAGE_SIZE

NO_LIMIT: Final = 0xFFFF_FFFF_FFFF_FFFF
_SLOTS_AN_AREA: Final = 4
"""To look at so many slots, one after another, takes as long as to ask an area."""


class TooManyAreasError(Exception):
    """Searches have asked more areas than :attr:`Allocator.patience` allows."""


class Found(NamedTuple):
    """The pool and slot that a search found."""

    pool: Pool
    slot: int


class Pages(NamedTuple):
    """Memory for a new pool; where it lies, only the kernel decides."""

    address: int
    """Address of the new ``struct io_tlb_pool``."""
    start: int


PageSource: TypeAlias = Callable[[int], Pages | None]
"""``nslabs -> Pages``: memory for a pool of as many slots, or None where there is none."""


class Allocator:
    """``struct io_tlb_mem``, deterministic: CPU, sizes and page addresses come from the caller.

    :param pools: in search order, newest first.
    :param default_nareas: as the kernel's variable; bounds the area offsets of a dynamic search.
    :param can_grow: new pools may be had (dynamic only).
    :param dynamic: built with CONFIG_SWIOTLB_DYNAMIC.
    :param phys_limit: highest address growth may use.
    :param track_hiwater: booted with ``swiotlb=...,track_hiwater``, for revisions that ask.
    :raises ValueError: a static allocator with more than one pool, or one that can grow.

    >>> from swiotlb_top.allocator import REVISIONS
    >>> swiotlb = Allocator(REVISIONS["6.10"], [Pool(1, 0x10000000, 512, 1)], 512, 1, can_grow=False, dynamic=False)
    >>> hex(swiotlb.map(0, 7, 0x200000, 6000, 0, Limits()))
    '0x10000000'
    >>> swiotlb.total_used, swiotlb.unmap(7, 0x10000000, 0).nslots, swiotlb.total_used
    (3, 3, 0)
    """

    def __init__(
        self,
        revision: Revision,
        pools: Iterable[Pool],
        default_nslabs: int,
        default_nareas: int,
        *,
        can_grow: bool,
        dynamic: bool,
        phys_limit: int = NO_LIMIT,
        track_hiwater: bool = False,
    ) -> None:
        self.revision = revision
        self.pools = tuple(pools)
        self.default_nslabs = default_nslabs
        self.default_nareas = default_nareas
        self.can_grow = can_grow
        self.dynamic = dynamic
        self.phys_limit = phys_limit
        self.transient: dict[int, tuple[Pool, ...]] = {}
        """Transient pools of each device, newest first; no empty entries."""
        self.growth_pending = False
        """Whether ``dyn_alloc`` is scheduled: one work item, however many mappings asked for it."""
        self.growth_failures = 0
        """How often the worker found no memory."""
        self.awaiting_grace: tuple[Pool, ...] = ()
        """Transient pools that were deleted, but whose memory is kept until an RCU grace period is over."""
        if not dynamic and (can_grow or len(self.pools) > 1):
            raise ValueError("a static allocator has one pool and does not grow")
        self.patience = NO_LIMIT
        """How many more areas searches may ask: a bound for hostile recordings, which the kernel does not have."""
        self.order: SearchOrder = revision.order if dynamic else revision.static_order
        self._track_hiwater = track_hiwater
        self._held_slots = self._hiwater_slots = sum(pool.used_slots for pool in self.pools)

    @classmethod
    def restricted(cls, revision: Revision, pool: Pool, *, dynamic: bool, track_hiwater: bool = False) -> Allocator:
        """What ``rmem_swiotlb_device_init()`` makes of reserved memory: one area, any size, and it cannot grow.

        :raises ValueError: the pool has more than one area.
        """
        if pool.nareas != 1:
            raise ValueError("a restricted pool has one area")
        return cls(revision, [pool], pool.nslabs, 1, can_grow=False, dynamic=dynamic, track_hiwater=track_hiwater)

    # ---- searching -------------------------------------------------------

    def attempts(self, cpu: int) -> Iterator[tuple[Pool, int]]:
        """The areas a search on ``cpu`` asks, in turn. Read lazily: see :mod:`swiotlb_top.allocator.order`."""
        return self.order(self, cpu)

    def find_slots(self, cpu: int, request: Request) -> Found | None:
        """Where ``swiotlb_find_slots()`` finds room in the existing pools; None if it finds none. Changes nothing.

        The answer is None, too, if the kernel's search would never end.

        :raises TooManyAreasError: :attr:`patience` is used up.
        """
        if request.alloc_size_bytes > MAX_ALLOC_BYTES:
            # Some kernels do search then, but find nothing: no free run is that long.
            return None
        for pool, area_index in self.order(self, cpu):
            slot = pool.search(area_index, request)
            if pool.slots_looked_at:
                self.charge(pool)
            if slot >= 0:
                return Found(pool, slot)
            if slot == NEVER_ENDS:
                break
            self.patience -= 1
            if self.patience < 0:
                raise TooManyAreasError
        return None

    def charge(self, pool: Pool) -> None:
        """Count the slots that searches of a pool looked at. :raises TooManyAreasError: :attr:`patience` is used up."""
        areas, pool.slots_looked_at = pool.slots_looked_at // _SLOTS_AN_AREA, 0
        self.spend(areas)

    def spend(self, areas: int) -> None:
        """Count areas that were asked elsewhere. :raises TooManyAreasError: :attr:`patience` is used up."""
        self.patience -= areas
        if self.patience < 0:
            raise TooManyAreasError

    def grows_for(self, request: Request) -> bool:
        """Whether ``swiotlb_find_slots()``, having found nothing, goes on to growth and a transient pool."""
        return self.can_grow and not self.revision.refuses(request)

    def transient_pool(self, request: Request, pages: Pages) -> Pool:
        """The pool for one mapping, in the memory the kernel got: as many slots as it takes, one area."""
        nslabs = nr_slots(request.alloc_size_bytes)
        largest = self.revision.largest_nslabs or nslabs
        return Pool(pages.address, pages.start, min(nslabs, largest), 1, transient=True, rule=self.revision.rule)

    # ---- mapping ---------------------------------------------------------

    def map(
        self,
        cpu: int,
        dev: int,
        orig_addr: int,
        mapping_size_bytes: int,
        alloc_align_mask: int,
        limits: Limits,
        pages: Pages | None = None,
        alloc_size: int | None = None,
    ) -> int:
        """``swiotlb_tbl_map_single()``: the bounce buffer's address, or :data:`DMA_MAPPING_ERROR`.

        If the pools have no room and the allocator can grow, growth is scheduled (:meth:`run_worker` does it),
        and this mapping gets a transient pool if there is memory for it.

        :param pages: memory for that pool, or None; it is not used if it ends above the device's limit.
        :param alloc_size: see :meth:`Revision.request`.
        """
        if not self.pools or (alloc_size is not None and alloc_size < mapping_size_bytes):
            return DMA_MAPPING_ERROR
        request = self.revision.request(mapping_size_bytes, orig_addr, alloc_align_mask, limits, alloc_size)
        found = self.find_slots(cpu, request)
        if found is None and self.grows_for(request):
            self.growth_pending = True
            found = self._find_beyond_pools(request, pages)
        if found is None:
            return DMA_MAPPING_ERROR
        pool, slot = found
        self._take(pool, slot, request, dev)
        if pool.transient:
            self.add_transient(dev, pool)
        return self.revision.tlb_addr(pool.start, slot, request)

    def unmap(self, dev: int, address: int, min_align_mask: int) -> Mapping | None:
        """``__swiotlb_tbl_unmap_single()``: what was released, None where nothing is mapped there.

        A transient pool goes with its mapping; its memory after a grace period.
        """
        pool = self.find_pool(dev, address)
        mapping = pool.find_mapping(address, min_align_mask) if pool else None
        if pool is None or mapping is None:
            return None
        self._held_slots -= mapping.nslots
        if pool.transient:
            self.delete_transient(dev, pool)
            self.awaiting_grace += (pool,)
        else:
            pool.release(mapping)
        return mapping

    def alloc(self, cpu: int, dev: int, size_bytes: int, limits: Limits) -> int | None:
        """``swiotlb_alloc()``, of restricted pools: the address of the page handed out, None for none.

        Kernels up to 6.8 may hand out a page whose first half is somebody else's.

        :param size_bytes: at least 1.
        :raises ValueError: the allocator can grow; no restricted one can.
        """
        if self.can_grow:
            raise ValueError("pages are handed out by restricted pools, which do not grow")
        request = Request(0, size_bytes, self.revision.alloc_align_mask(size_bytes), limits)
        found = self.find_slots(cpu, request)
        if found is None:
            return None
        pool, slot = found
        mapping = self._take(pool, slot, request, dev)
        address = slot_addr(pool.start, slot)
        if self.revision.checks_page and address % PAGE_SIZE:
            self._held_slots -= mapping.nslots
            pool.release(mapping)
            return None
        return address // PAGE_SIZE * PAGE_SIZE

    def free(self, dev: int, address: int) -> Mapping | None:
        """``swiotlb_free()``: what was released, None where no page was handed out there."""
        return self.unmap(dev, address, 0)

    def _find_beyond_pools(self, request: Request, pages: Pages | None) -> Found | None:
        """A transient pool, if there are pages the device can reach and they align."""
        if pages is None:
            return None
        pool = self.transient_pool(request, pages)
        if pool.end - 1 > request.limits.phys_limit:
            return None
        slot = pool.search(0, request)
        if slot >= 0:
            return Found(pool, slot)
        if not self.revision.frees_misfit_at_once:
            self.awaiting_grace += (pool,)
        return None

    def _take(self, pool: Pool, slot: int, request: Request, dev: int) -> Mapping:
        mapping = pool.take(slot, request, dev).mapping
        self._held_slots += mapping.nslots
        if self._held_slots > self._hiwater_slots:
            self._hiwater_slots = self._held_slots
        return mapping

    # ---- pools -----------------------------------------------------------

    def find_pool(self, dev: int, address: int) -> Pool | None:
        """The pool an address lies in, as ``__swiotlb_find_pool()``: transient pools of ``dev`` last."""
        for pool in self.pools + self.transient.get(dev, ()):
            if pool.start <= address < pool.end:
                return pool
        return None

    def run_worker(self, page_source: PageSource) -> Pool | None:
        """``swiotlb_dyn_alloc()``: the pool added, None where there was no memory of any size tried.

        :param page_source: is asked for one size after the other, largest first.
        :raises ValueError: nothing is scheduled.
        """
        if not self.growth_pending:
            raise ValueError("no growth is pending")
        self.growth_pending = False
        for nslabs, nareas in self.revision.grow_sizes(self.default_nslabs, self.default_nareas):
            pages = page_source(nslabs)
            if pages is not None and slot_addr(pages.start, nslabs) - 1 <= self.phys_limit:
                pool = Pool(pages.address, pages.start, nslabs, nareas, rule=self.revision.rule)
                self.add_pool(pool)
                return pool
        self.growth_failures += 1
        return None

    def add_pool(self, pool: Pool) -> None:
        """``add_mem_pool()``: to the head of the list, so that the newest is searched first.

        :raises ValueError: static builds add none.
        """
        if not self.dynamic and self.pools:
            raise ValueError("a static allocator has one pool")
        self.pools = (pool, *self.pools)

    def add_transient(self, dev: int, pool: Pool) -> None:
        """``swiotlb_find_slots()`` puts a transient pool on its device's list."""
        self.transient[dev] = (pool, *self.transient.get(dev, ()))

    def delete_transient(self, dev: int, pool: Pool) -> None:
        """``swiotlb_del_transient()``, with whatever was mapped in it.

        :raises KeyError: the device has no such pool.
        """
        kept = tuple(other for other in self.transient[dev] if other is not pool)
        if len(kept) == len(self.transient[dev]):
            raise KeyError(f"device {dev:#x} has no such transient pool")
        if kept:
            self.transient[dev] = kept
        else:
            del self.transient[dev]

    def end_grace_period(self) -> tuple[Pool, ...]:
        """``swiotlb_dyn_free()``: the pools whose memory is free from now on."""
        freed, self.awaiting_grace = self.awaiting_grace, ()
        return freed

    # ---- counters --------------------------------------------------------

    @property
    def nslabs(self) -> int:
        """``io_tlb_nslabs``: slots of all pools, the transient ones left out."""
        return sum(pool.nslabs for pool in self.pools)

    @property
    def transient_nslabs(self) -> int:
        """``io_tlb_transient_nslabs``: slots of all transient pools."""
        return sum(pool.nslabs for pools in self.transient.values() for pool in pools)

    @property
    def total_used(self) -> int:
        """``io_tlb_used``, as ``mem_used()`` has it: slots in use; with those of transient pools or without."""
        listed = sum(pool.used_slots for pool in self.pools)
        if self.revision.used is Used.LISTED and not self._tracks_by_boot:
            return listed
        return listed + sum(pool.used_slots for pools in self.transient.values() for pool in pools)

    @property
    def used_hiwater(self) -> int:
        """``io_tlb_used_hiwater``: the most slots :meth:`map` and :meth:`alloc` ever had; -1 where it is not there."""
        if self.revision.hiwater is Hiwater.NEVER:
            return -1
        return self._hiwater_slots if self.revision.hiwater is Hiwater.ALWAYS or self._tracks_by_boot else 0

    def reset_hiwater(self) -> None:
        """Somebody wrote 0 to ``io_tlb_used_hiwater``."""
        self._hiwater_slots = 0

    @property
    def _tracks_by_boot(self) -> bool:
        return self._track_hiwater and self.revision.hiwater is Hiwater.AT_BOOT
