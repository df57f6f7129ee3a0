"""From events to operations: what an event's addresses mean at the time it ended.

Kernel addresses are used again: the pool at an address is the one last allocated there, so
events are resolved in the order they ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from swiotlb_top.allocator import Limits, Pool, Request, Revision
from swiotlb_top.allocator.geometry import IO_TLB_SHIFT, IO_TLB_SIZE, nr_slots
from swiotlb_top.events import (
    ENTRY_UNKNOWN,
    NOT_FOUND,
    Device,
    Find,
    Free,
    Grow,
    Map,
    PoolAdd,
    PoolAlloc,
    PoolFree,
    Unmap,
)
from swiotlb_top.verify.add_pool import AddPool
from swiotlb_top.verify.operation import Operation
from swiotlb_top.verify.release import Release
from swiotlb_top.verify.take import ADDRESS_UNSEEN, Take
from swiotlb_top.verify.unseen import earliest_entry_ns

_MOST_SLOTS: Final = 1 << 22
"""Slots of a pool (8 GiB): far more than growth ever gives, and few enough to believe a damaged record."""
OLDER_POOL: Final = "pool from before the recording"
NEVER_INTRODUCED: Final = "device never introduced"
_UNKNOWN: Final = Limits()
"""What a device can do that never introduced itself."""
_OFFSET_IN_SLOT: Final = IO_TLB_SIZE - 1
_LONG_ENOUGH_TO_MOVE_NS: Final = 1_000_000
"""A call that took as long may have been put off its CPU, and back on: that is not to be seen."""
_NO_RESTRICTED: Final = "page given back to a pool that hands out none"
_NO_SIZE: Final = "request for no bytes"


class UnresolvedError(Exception):
    """An event refers to what was never seen, and need not have been."""


class ElsewhereError(Exception):
    """An event is of another allocator than the one that is judged."""


class Resolver:
    """Knows devices and pools by address.

    :param cpus: numbers of the CPUs there may be, on any of which a search may have begun that was not seen to begin.
    """

    def __init__(self, revision: Revision, *, pools_announced: bool, cpus: Collection[int]) -> None:
        self.pools: dict[int, Pool] = {}
        self._cpus = tuple(cpus)
        self._revision = revision
        self._pools_announced = pools_announced
        self._mem = 0
        self._devices: dict[int, tuple[int, Limits]] = {}
        self._judged: dict[int, Limits] = {}
        self._listed: set[int] = set()
        self._allocated_ns: dict[int, int] = {}
        self._last_alloc: dict[int, PoolAlloc] = {}
        self._last_hit: Pool | None = None
        self.resolve: dict[type, Callable[[Any], Operation | None]] = {
            PoolFree: lambda _: None,
            Find: self._find,
            Map: self._map,
            Unmap: self._unmap,
            Free: self._freed,
            Device: self._introduced,
            PoolAlloc: self._allocated,
            PoolAdd: self._added,
            Grow: self._added,
        }
        """By kind of event, the operation it stands for; None where it only tells something. Raises
        :class:`UnresolvedError` where it refers to a pool never seen, :class:`ElsewhereError` where its
        device has an allocator of its own."""

    def begin_from(self, mem: int, pools: Iterable[Pool]) -> None:
        """Forget all pools but these, which are on the list of the allocator at ``mem``."""
        self._mem = mem
        self._judged = {dev: limits for dev, (of, limits) in self._devices.items() if of == mem}
        self.pools = {pool.address: pool for pool in pools}
        self._listed = set(self.pools)
        self._last_hit = None

    def _introduced(self, event: Device) -> None:
        limits = Limits(event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit)
        self._devices[event.dev] = event.mem, limits
        self._judged.pop(event.dev, None)
        if event.mem == self._mem:
            self._judged[event.dev] = limits

    def _find(self, event: Find) -> Take:
        limits = self._limits_of(event.dev)
        if not event.alloc_size_bytes:
            raise UnresolvedError(_NO_SIZE)
        request = Request(event.orig_addr, event.alloc_size_bytes, event.alloc_align_mask, limits)
        pool = self._had_in_vain(event, request) if event.slot < 0 else self._known(self.pools.get(event.pool))
        entry_ns, exit_ns, cpu, moved = event[:4]
        elsewhere: tuple[int, ...] = ()
        if moved or exit_ns - entry_ns >= _LONG_ENOUGH_TO_MOVE_NS:
            entry_ns, elsewhere = earliest_entry_ns(event), self._elsewhere(cpu)
        take = Take(event, entry_ns, exit_ns, cpu, event.dev, request, pool, event.slot, ADDRESS_UNSEEN, elsewhere)
        return take if limits is not _UNKNOWN else _given(take)

    def _map(self, event: Map) -> Take:
        limits = self._limits_of(event.dev)
        introduced = limits is not _UNKNOWN
        if not introduced:
            # Which of the buffer's low bits had to be kept shows in those that were.
            kept = _OFFSET_IN_SLOT | (event.alloc_align_mask if self._revision.pads_slots else 0)
            limits = Limits(min_align_mask=0 if event.failed else event.tlb_addr & kept)
        sizes = event.mapping_size_bytes, event.orig_addr, event.alloc_align_mask
        request = self._revision.request(*sizes, limits, event.alloc_size_bytes or None)
        if not request.alloc_size_bytes:
            raise UnresolvedError(_NO_SIZE)
        entry_ns, exit_ns, cpu, moved = event[:4]
        elsewhere: tuple[int, ...] = ()
        tlb_addr = event.tlb_addr
        if moved or exit_ns - entry_ns >= _LONG_ENOUGH_TO_MOVE_NS:
            entry_ns, elsewhere = earliest_entry_ns(event), self._elsewhere(cpu)
        if event.failed:
            pool, slot, tlb_addr = self._had_in_vain(event, request), NOT_FOUND, ADDRESS_UNSEEN
        else:
            pool = self._known(self._pool_at(tlb_addr))
            slot = ((tlb_addr - pool.start) >> IO_TLB_SHIFT) - self._revision.pad_slots(request) if pool else 0
        take = Take(event, entry_ns, exit_ns, cpu, event.dev, request, pool, slot, tlb_addr, elsewhere)
        return take if introduced else _given(take)

    def _elsewhere(self, cpu: int) -> tuple[int, ...]:
        """CPUs other than the one it ended on, on which a search may have begun: the kernel looks at its
        CPU's number inside, the probe at the end."""
        return tuple(other for other in self._cpus if other != cpu)

    def _unmap(self, event: Unmap) -> Release:
        limits = self._limits_of(event.dev)
        given = limits is _UNKNOWN
        pool = self.pools.get(event.pool) if event.pool else self._pool_at(event.tlb_addr)
        if pool is None:
            raise UnresolvedError(OLDER_POOL)
        entry_ns, exit_ns, _, dev, _, tlb_addr, size_bytes, _, _ = event
        if entry_ns == ENTRY_UNKNOWN:
            entry_ns = earliest_entry_ns(event)
        return Release(event, entry_ns, exit_ns, dev, pool, tlb_addr, limits.min_align_mask, size_bytes, given)

    def _freed(self, event: Free) -> None:
        self._limits_of(event.dev)  # which says whose it is
        raise UnresolvedError(_NO_RESTRICTED)

    def _allocated(self, event: PoolAlloc) -> None:
        self._last_alloc[event.cpu] = event
        # One on the list stays there for good: then this is how it came, and the state has it.
        if event.pool and event.pool not in self._listed:
            self._allocated_ns[event.pool] = event.exit_ns
            self._new_pool(event.pool, event.start, event.nslabs, event.nareas)

    def _new_pool(self, address: int, start: int, nslabs: int, nareas: int) -> Pool:
        if not 1 <= nareas <= nslabs <= _MOST_SLOTS:
            raise UnresolvedError("pool that cannot be")
        pool = Pool(address, start, nslabs, nareas, True, rule=self._revision.rule)
        self.pools[address] = pool
        self._listed.discard(address)
        self._last_hit = None
        return pool

    def _added(self, event: PoolAdd | Grow) -> AddPool | None:
        if not event.pool or event.pool in self._listed or event.mem != self._mem:
            return None
        pool = self.pools.get(event.pool)
        if pool is None:
            pool = self._new_pool(event.pool, event.start, event.nslabs, event.nareas)
        pool.transient = False
        self._listed.add(event.pool)
        # What growth allocated cannot be on the list before it was allocated.
        entry_ns = max(earliest_entry_ns(event), self._allocated_ns.get(event.pool, 0))
        return AddPool(event, entry_ns, event.exit_ns, pool)

    def _had_in_vain(self, event: Find | Map, request: Request) -> Pool | None:
        """The transient pool that was allocated for a search and did not fit after all."""
        alloc = self._last_alloc.get(event.cpu)
        if alloc is None or not alloc.pool or not earliest_entry_ns(event) <= alloc.exit_ns <= event.exit_ns:
            return None
        return self.pools.get(alloc.pool) if alloc.nslabs == nr_slots(request.alloc_size_bytes) else None

    def _pool_at(self, tlb_addr: int) -> Pool | None:
        pool = self._last_hit
        if pool is not None and pool.start <= tlb_addr < pool.end:
            return pool
        # Pages of a freed transient pool may be another pool's by now: the youngest is the one.
        self._last_hit = next((p for p in reversed(self.pools.values()) if p.start <= tlb_addr < p.end), None)
        return self._last_hit

    def _limits_of(self, dev: int) -> Limits:
        limits = self._judged.get(dev)
        if limits is not None:
            return limits
        if dev in self._devices and self._mem:
            raise ElsewhereError
        return _UNKNOWN

    def _known(self, pool: Pool | None) -> Pool | None:
        """Nothing stands for a pool nobody announced: a fault where every new pool announces itself."""
        if pool is None and not self._pools_announced:
            raise UnresolvedError(OLDER_POOL)
        return pool


def _given(take: Take) -> Take:
    """A search of a device that never introduced itself. :raises UnresolvedError: it changed nothing that is known."""
    if take.pool is None or take.slot < 0:
        raise UnresolvedError(NEVER_INTRODUCED)
    take.given = True
    return take
