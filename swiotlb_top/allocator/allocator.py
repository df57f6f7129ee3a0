"""All of swiotlb for one ``struct io_tlb_mem``: its pools, and the transient pools of devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from swiotlb_top.allocator.geometry import MAX_ALLOC_BYTES, nr_slots
from swiotlb_top.allocator.order import SearchOrder
from swiotlb_top.allocator.pool import Mapping, Pool
from swiotlb_top.allocator.request import Limits, Request, request_for, tlb_addr
from swiotlb_top.allocator.revision import Revision

DMA_MAPPING_ERROR: Final = 0xFFFF_FFFF_FFFF_FFFF


class Found(NamedTuple):
    """Where a search ended."""

    pool: Pool
    slot: int


class Pages(NamedTuple):
    """Memory for a transient pool, which only the kernel can have had: where it lies."""

    address: int
    """Of its ``struct io_tlb_pool``."""
    start: int


class Allocator:
    """``struct io_tlb_mem``, deterministic: CPU, sizes and page addresses come from the caller.

    :param pools: in search order, newest first.
    :param default_nareas: as the kernel's variable; bounds the area offsets of a dynamic search.
    :param can_grow: new pools may be had (dynamic only).
    :param dynamic: built with CONFIG_SWIOTLB_DYNAMIC.
    :raises ValueError: a static allocator with more than one pool, or one that can grow.

    >>> from swiotlb_top.allocator import REVISIONS
    >>> swiotlb = Allocator(REVISIONS["6.12"], [Pool(1, 0x10000000, 512, 1)], 512, 1, can_grow=False, dynamic=False)
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
    ) -> None:
        self.revision = revision
        self.pools = tuple(pools)
        self.default_nslabs = default_nslabs
        self.default_nareas = default_nareas
        self.can_grow = can_grow
        self.dynamic = dynamic
        self.transient: dict[int, tuple[Pool, ...]] = {}
        """Transient pools of each device, newest first; no empty entries."""
        if not dynamic and (can_grow or len(self.pools) > 1):
            raise ValueError("a static allocator has one pool and does not grow")
        self._order: SearchOrder = revision.order if dynamic else revision.static_order

    def attempts(self, cpu: int) -> Iterator[tuple[Pool, int]]:
        """The areas a search on ``cpu`` asks, in turn. Read lazily: see :mod:`swiotlb_top.allocator.order`."""
        return self._order(self, cpu)

    def find_slots(self, cpu: int, request: Request) -> Found | None:
        """Where ``swiotlb_find_slots()`` finds room among the pools that are there. Takes nothing."""
        if request.alloc_size_bytes > MAX_ALLOC_BYTES:
            # A static kernel does search, and never finds: no free run is that long.
            return None
        for pool, area_index in self._order(self, cpu):
            slot = pool.search(area_index, request)
            if slot >= 0:
                return Found(pool, slot)
        return None

    def find_transient(self, request: Request, pages: Pages) -> Found | None:
        """A new pool for one mapping in the memory the kernel got; None where it does not align."""
        nslabs = nr_slots(request.alloc_size_bytes)
        pool = Pool(pages.address, pages.start, nslabs, 1, transient=True, rule=self.revision.rule)
        slot = pool.search(0, request)
        return Found(pool, slot) if slot >= 0 else None

    def map(
        self,
        cpu: int,
        dev: int,
        orig_addr: int,
        mapping_size_bytes: int,
        alloc_align_mask: int,
        limits: Limits,
        pages: Pages | None = None,
    ) -> int:
        """``swiotlb_tbl_map_single()``: the bounce buffer's address, or :data:`DMA_MAPPING_ERROR`.

        :param pages: memory for a transient pool, should no pool have room and growth be allowed.
        """
        request = request_for(mapping_size_bytes, orig_addr, alloc_align_mask, limits)
        found = self.find_slots(cpu, request)
        if found is None and pages is not None and self.can_grow and request.alloc_size_bytes <= MAX_ALLOC_BYTES:
            found = self.find_transient(request, pages)
        if found is None:
            return DMA_MAPPING_ERROR
        pool, slot = found
        pool.take(slot, request, dev)
        if pool.transient:
            self.add_transient(dev, pool)
        return tlb_addr(pool.start, slot, request)

    def unmap(self, dev: int, address: int, min_align_mask: int) -> Mapping | None:
        """``__swiotlb_tbl_unmap_single()``: what was released, None where nothing is mapped there.

        A transient pool goes with its mapping.
        """
        pool = self.find_pool(dev, address)
        mapping = pool.find_mapping(address, min_align_mask) if pool else None
        if pool is None or mapping is None:
            return None
        if pool.transient:
            self.delete_transient(dev, pool)
        else:
            pool.release(mapping)
        return mapping

    def find_pool(self, dev: int, address: int) -> Pool | None:
        """The pool an address lies in, as ``__swiotlb_find_pool()``: transient pools of ``dev`` last."""
        for pool in self.pools + self.transient.get(dev, ()):
            if pool.start <= address < pool.end:
                return pool
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
        """``io_tlb_used``: slots in use, transient pools included (since 6.6's ``total_used``)."""
        transient = (pool.used_slots for pools in self.transient.values() for pool in pools)
        return sum(pool.used_slots for pool in self.pools) + sum(transient)
