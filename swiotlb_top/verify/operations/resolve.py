"""From events to operations: what an event's addresses mean at the time it ended.

Kernel addresses are used again: the pool at an address is the one last allocated there, so
events are resolved in the order they ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from swiotlb_top.allocator import Limits, Pool, Request, Revision
from swiotlb_top.allocator.geometry import IO_TLB_SHIFT, nr_slots
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
from swiotlb_top.verify.findings import Doubt
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.intervals import assumed_entry_ns
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.pools_by_address import PoolsByAddress
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import ADDRESS_UNSEEN, SlotSearch

_MOST_SLOTS: Final = 1 << 22
"""Slots of a pool (8 GiB): far more than growth ever gives, and few enough to believe a damaged record."""
_UNKNOWN: Final = Limits()
"""What a device can do that never introduced itself."""
_LONG_ENOUGH_TO_MOVE_NS: Final = 1_000_000
"""A call that took as long may have been put off its CPU, and back on: that is not to be seen."""


class UnresolvedError(Exception):
    """An event refers to what was never seen, and need not have been."""

    def __init__(self, doubt: Doubt) -> None:
        super().__init__(doubt.value)
        self.doubt = doubt


class OtherAllocatorError(Exception):
    """An event is of another allocator than the one that is judged."""


class Resolver:
    """Knows devices and pools by address.

    :param cpus: numbers of the CPUs there may be, on any of which a search may have begun that was not seen to begin.
    """

    def __init__(self, revision: Revision, *, pools_announced: bool, cpus: Collection[int]) -> None:
        self.pools: PoolsByAddress[Pool] = PoolsByAddress()
        self._cpus = tuple(cpus)
        self._revision = revision
        self._pools_announced = pools_announced
        self._mem = 0
        self._devices: dict[int, tuple[int, Limits]] = {}
        self._judged: dict[int, Limits] = {}
        self._listed: set[int] = set()
        self._last_alloc: dict[int, tuple[int, Pool]] = {}
        """By CPU, when a pool was allocated on it that nobody has slots of yet, and which."""
        self.resolve: dict[type, Callable[[Any], Operation | None]] = {
            PoolFree: self._pool_freed,
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
        listed = tuple(pools)
        self.pools = PoolsByAddress(listed)
        self._listed = {pool.address for pool in listed}

    def _introduced(self, event: Device) -> None:
        limits = Limits(event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit)
        self._devices[event.dev] = event.mem, limits
        self._judged.pop(event.dev, None)
        if event.mem == self._mem:
            self._judged[event.dev] = limits

    def _find(self, event: Find) -> SlotSearch:
        limits = self._limits_of(event.dev)
        if not event.alloc_size_bytes:
            raise UnresolvedError(Doubt.NO_SIZE)
        request = Request(event.orig_addr, event.alloc_size_bytes, event.alloc_align_mask, limits)
        pool = self._had_in_vain(event, request) if event.slot < 0 else self._known(self.pools.now(event.pool))
        entry_ns, exit_ns, cpu, moved = event[:4]
        elsewhere: tuple[int, ...] = ()
        if moved or exit_ns - entry_ns >= _LONG_ENOUGH_TO_MOVE_NS:
            entry_ns, elsewhere = assumed_entry_ns(event), self._elsewhere(cpu)
        take = SlotSearch(
            event, entry_ns, exit_ns, cpu, event.dev, request, pool, event.slot, ADDRESS_UNSEEN, elsewhere
        )
        return take if limits is not _UNKNOWN else _unchecked(take)

    def _map(self, event: Map) -> SlotSearch | None:
        limits = self._limits_of(event.dev)
        if event.failed and 0 < event.alloc_size_bytes < event.mapping_size_bytes:
            return None  # it is turned down for that, before any search
        introduced = limits is not _UNKNOWN
        request = self._revision.request_of(event, limits if introduced else None)
        if not request.alloc_size_bytes:
            raise UnresolvedError(Doubt.NO_SIZE)
        entry_ns, exit_ns, cpu, moved = event[:4]
        elsewhere: tuple[int, ...] = ()
        tlb_addr = event.tlb_addr
        if moved or exit_ns - entry_ns >= _LONG_ENOUGH_TO_MOVE_NS:
            entry_ns, elsewhere = assumed_entry_ns(event), self._elsewhere(cpu)
        if event.failed:
            pool, slot, tlb_addr = self._had_in_vain(event, request), NOT_FOUND, ADDRESS_UNSEEN
        else:
            pool = self._known(self.pools.now_around(tlb_addr))
            slot = ((tlb_addr - pool.start) >> IO_TLB_SHIFT) - self._revision.pad_slots(request) if pool else 0
        take = SlotSearch(event, entry_ns, exit_ns, cpu, event.dev, request, pool, slot, tlb_addr, elsewhere)
        return take if introduced else _unchecked(take)

    def _elsewhere(self, cpu: int) -> tuple[int, ...]:
        """CPUs other than the one it ended on, on which a search may have begun: the kernel looks at its
        CPU's number inside, the probe at the end."""
        return tuple(other for other in self._cpus if other != cpu)

    def _unmap(self, event: Unmap) -> Release:
        limits = self._limits_of(event.dev)
        given = limits is _UNKNOWN
        entry_ns, exit_ns, _, dev, address, tlb_addr, size_bytes, _, _ = event
        until_ns = entry_ns
        if entry_ns == ENTRY_UNKNOWN:
            entry_ns, until_ns = assumed_entry_ns(event), exit_ns
        pools = self.pools.released_in(address, tlb_addr, entry_ns, until_ns)
        if len(pools) != 1:
            raise UnresolvedError(Doubt.SEVERAL_POOLS if pools else Doubt.OLDER_POOL)
        (pool,) = pools
        return Release(event, entry_ns, exit_ns, dev, pool, tlb_addr, limits.min_align_mask, size_bytes, given)

    def _freed(self, event: Free) -> None:
        self._limits_of(event.dev)  # which says whose it is
        raise UnresolvedError(Doubt.NO_RESTRICTED)

    def _allocated(self, event: PoolAlloc) -> None:
        self._last_alloc.pop(event.cpu, None)
        # One on the list stays there for good: then this is how it came, and the state has it.
        if event.pool and event.pool not in self._listed:
            pool = self._new_pool(event.pool, event.start, event.nslabs, event.nareas, event.exit_ns)
            self._last_alloc[event.cpu] = event.exit_ns, pool

    def _pool_freed(self, event: PoolFree) -> None:
        if event.pool not in self._listed:
            self.pools.free(event.pool, event.exit_ns)

    def _new_pool(self, address: int, start: int, nslabs: int, nareas: int, since_ns: int) -> Pool:
        if not 1 <= nareas <= nslabs <= _MOST_SLOTS:
            raise UnresolvedError(Doubt.IMPOSSIBLE_POOL)
        pool = Pool(address, start, nslabs, nareas, True, rule=self._revision.rule)
        self.pools.add(pool, since_ns)
        self._listed.discard(address)
        return pool

    def _added(self, event: PoolAdd | Grow) -> AddPool | None:
        if not event.pool or event.pool in self._listed or event.mem != self._mem:
            return None
        entry_ns = assumed_entry_ns(event)
        pool = self.pools.now(event.pool)
        if pool is None:
            pool = self._new_pool(event.pool, event.start, event.nslabs, event.nareas, entry_ns)
        pool.transient = False
        self._listed.add(event.pool)
        # What growth allocated cannot be on the list before it was allocated.
        entry_ns = max(entry_ns, self.pools.since_ns(event.pool))
        return AddPool(event, entry_ns, event.exit_ns, pool)

    def _had_in_vain(self, event: Find | Map, request: Request) -> Pool | None:
        """The transient pool that was allocated for a search and did not fit after all. Its memory may be another
        pool's by the time the search returns."""
        allocated_ns, pool = self._last_alloc.get(event.cpu, (-1, None))
        if pool is None or not assumed_entry_ns(event) <= allocated_ns <= event.exit_ns:
            return None
        return pool if pool.nslabs == nr_slots(request.alloc_size_bytes) else None

    def _limits_of(self, dev: int) -> Limits:
        limits = self._judged.get(dev)
        if limits is not None:
            return limits
        if dev in self._devices and self._mem:
            raise OtherAllocatorError
        return _UNKNOWN

    def _known(self, pool: Pool | None) -> Pool | None:
        """The pool of slots that were found. Nothing stands for one nobody announced: a fault where every new pool
        announces itself."""
        if pool is None and not self._pools_announced:
            raise UnresolvedError(Doubt.OLDER_POOL)
        if pool is not None and pool.transient:
            self._last_alloc = {cpu: last for cpu, last in self._last_alloc.items() if last[1] is not pool}
        return pool


def _unchecked(take: SlotSearch) -> SlotSearch:
    """A search of a device that never introduced itself. :raises UnresolvedError: it changed nothing that is known."""
    if take.pool is None or take.slot < 0:
        raise UnresolvedError(Doubt.NEVER_INTRODUCED)
    take.unchecked = True
    return take
