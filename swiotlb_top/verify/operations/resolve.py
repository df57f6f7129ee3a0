"""From events to operations: what the addresses in a record meant when the call returned.

The kernel reuses addresses. The pool at an address is the one that was allocated there last, so events have to be
resolved in the order of their responses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from swiotlb_top.allocator import Limits, Pool, Request, Revision
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.constants import DMA_ATTR_CC_SHARED, IO_TLB_SHIFT, NOT_FOUND
from swiotlb_top.events import ENTRY_UNKNOWN, Device, Find, Free, Grow, Map, PoolAdd, PoolAlloc, PoolFree, Unmap
from swiotlb_top.verify.findings import Doubt
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.intervals import NEVER_NS, assumed_entry_ns
from swiotlb_top.verify.operations.lone_calls import Meaning
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.pools_by_address import PoolsByAddress, are_apart
from swiotlb_top.verify.operations.refusal import Refusal
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import ADDRESS_UNSEEN, SlotSearch

_MAX_NSLABS: Final = 1 << 22
"""The largest pool that is believed, in slots (8 GiB): larger than growth ever makes one, so that more is damage."""
_UNKNOWN_LIMITS: Final = Limits()
"""The limits of a device that never introduced itself. Compared by identity."""
_MANY: Final = 64
"""Of so many pools or devices none is found at once: :meth:`Resolver.meaning`."""
_CAN_MIGRATE_NS: Final = 1_000_000
"""After this many nanoseconds a call may have been moved off its CPU and back, which the record does not show."""


class UnresolvedError(Exception):
    """An event refers to something that was never seen, which is no fault of the kernel.

    :ivar doubt: why its operation is inconclusive.
    """

    def __init__(self, doubt: Doubt) -> None:
        super().__init__(doubt.value)
        self.doubt = doubt


class OtherAllocatorError(Exception):
    """An event belongs to another allocator (``struct io_tlb_mem``) than the one that is judged."""


class Resolver:
    """Makes operations of events. It knows devices and pools by address.

    :param revision: the swiotlb that the kernel is supposed to have.
    :param pools_announced: whether every new pool is announced by an event before it is used.
    :param cpus: numbers of the CPUs that the kernel may have. A search that migrated may have begun on any of them.
    """

    def __init__(self, revision: Revision, *, pools_announced: bool, cpus: Collection[int]) -> None:
        self.pools: PoolsByAddress[Pool] = PoolsByAddress()
        self._cpus = tuple(cpus)
        self._revision = revision
        self._pools_announced = pools_announced
        self._mem = 0
        self._devices: dict[int, tuple[int, Limits]] = {}
        self._own_devices: dict[int, Limits] = {}
        self._listed: set[int] = set()
        self._shared: bool | None = None
        """Whether the pools' memory is shared with the host; None where that is not known, or not checked."""
        self._of_this_kind: set[int] = set()
        """Devices that the kernel mapped for: this kind of memory is theirs."""
        self._last_alloc: dict[int, tuple[int, Pool]] = {}
        """By CPU, the pool allocated on it last, with the time, if no search has found slots in it yet."""
        self._meaning: Meaning | None = None
        """What addresses mean now; None if that has changed since it was asked for."""
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
        """By type of event, the function that makes its operation.

        It returns None if the event is no operation, and raises :class:`UnresolvedError` if the event refers to
        something that was never seen, :class:`OtherAllocatorError` if its device has an allocator of its own.
        """

    def begin_from(self, mem: int, pools: Iterable[Pool], cc_shared: int = -1) -> None:
        """Forget all pools but these.

        :param mem: the address of the allocator that is judged, a ``struct io_tlb_mem``.
        :param pools: the pools on its list.
        :param cc_shared: see :class:`~swiotlb_top.state.MemState`.
        """
        self._mem = mem
        self._shared = cc_shared == 1 if self._revision.checks_kind and cc_shared >= 0 else None
        self._meaning = None
        self._own_devices = {dev: limits for dev, (of, limits) in self._devices.items() if of == mem}
        is_in_listed_pool = tuple(pools)
        self.pools = PoolsByAddress(is_in_listed_pool)
        self._listed = {pool.address for pool in is_in_listed_pool}

    def meaning(self) -> Meaning:
        """What addresses mean now, of pools on the list and of devices that introduced themselves.

        Of nothing, where these are very many, or a pool has memory of another. Where pools are shared with the host, a
        device is one of these from its first map on, which tells that this kind of memory is its own.
        """
        if self._meaning is None:
            self._meaning = Meaning({}, {}, NEVER_NS - 1, self._revision)
            if max(len(self._listed), len(self._own_devices)) <= _MANY:
                lives = {address: (self.pools.now(address), self.pools.since_ns(address)) for address in self._listed}
                pools = {address: (pool, since_ns) for address, (pool, since_ns) in lives.items() if pool}
                listed = [pool for pool, _ in pools.values()]
                own = self._own_devices.items()
                devices = {dev: limits for dev, limits in own if not self._shared or dev in self._of_this_kind}
                if are_apart(listed):
                    self._meaning = Meaning(pools, devices, self.pools.told_from_ns(listed), self._revision)
        return self._meaning

    def _introduced(self, event: Device) -> None:
        limits = Limits(event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit)
        self._devices[event.dev] = event.mem, limits
        self._of_this_kind.discard(event.dev)
        self._meaning = None
        self._own_devices.pop(event.dev, None)
        if event.mem == self._mem:
            self._own_devices[event.dev] = limits

    def _find(self, event: Find) -> SlotSearch:
        limits = self._limits_of(event.dev)
        if not event.alloc_size_bytes:
            raise UnresolvedError(Doubt.NO_SIZE)
        request = Request(event.orig_addr, event.alloc_size_bytes, event.alloc_align_mask, limits)
        pool = (
            self._misfit_transient_pool(event, request)
            if event.slot < 0
            else self._announced(self.pools.now(event.pool))
        )
        entry_ns, exit_ns, cpu, moved = event[:4]
        other_cpus: tuple[int, ...] = ()
        if moved or exit_ns - entry_ns >= _CAN_MIGRATE_NS:
            entry_ns, other_cpus = assumed_entry_ns(event), self._other_cpus(cpu)
        take = SlotSearch(
            event, entry_ns, exit_ns, cpu, event.dev, request, pool, event.slot, ADDRESS_UNSEEN, other_cpus
        )
        if self._shared and take.slot >= 0:
            self._note_kind(take)
        return take if limits is not _UNKNOWN_LIMITS else _unchecked(take)

    def _map(self, event: Map) -> SlotSearch | Refusal | None:
        limits = self._limits_of(event.dev)
        if event.failed and 0 < event.alloc_size_bytes < event.mapping_size_bytes:
            return None  # the kernel turns it down for its sizes, before any search
        introduced = limits is not _UNKNOWN_LIMITS
        request = self._revision.request_of(event, limits if introduced else None)
        if not request.alloc_size_bytes:
            raise UnresolvedError(Doubt.NO_SIZE)
        entry_ns, exit_ns, cpu, moved = event[:4]
        other_cpus: tuple[int, ...] = ()
        tlb_addr = event.tlb_addr
        if moved or exit_ns - entry_ns >= _CAN_MIGRATE_NS:
            entry_ns, other_cpus = assumed_entry_ns(event), self._other_cpus(cpu)
        if event.failed and self._refused_for_its_kind(event):
            return Refusal(event, entry_ns, exit_ns, cpu, event.dev, request, bool(self._shared))
        if event.failed:
            pool, slot, tlb_addr = self._misfit_transient_pool(event, request), NOT_FOUND, ADDRESS_UNSEEN
        else:
            pool = self._announced(self.pools.now_around(tlb_addr))
            slot = ((tlb_addr - pool.start) >> IO_TLB_SHIFT) - self._revision.pad_slots(request) if pool else 0
        take = SlotSearch(event, entry_ns, exit_ns, cpu, event.dev, request, pool, slot, tlb_addr, other_cpus)
        if self._shared:
            self._note_kind(take)
        return take if introduced else _unchecked(take)

    def _refused_for_its_kind(self, event: Map) -> bool:
        """Whether the attributes show that no search was made: before a search, the kernel makes them say the kind of
        the pool's memory. It compares the kinds only where memory is encrypted, and pools are shared there."""
        return self._shared is not None and bool(event.attrs & DMA_ATTR_CC_SHARED) != self._shared

    def _note_kind(self, take: SlotSearch) -> None:
        """Note that a device maps shared memory. Of one that never did so before, the caller's own attributes may say
        that, and the map be refused all the same."""
        if take.dev in self._of_this_kind:
            return
        if take.slot >= 0:
            self._of_this_kind.add(take.dev)
            self._meaning = None
        else:
            take.excuse = Doubt.KIND

    def _other_cpus(self, cpu: int) -> tuple[int, ...]:
        """Numbers of the CPUs other than ``cpu``, on which a search that returned on ``cpu`` may have begun.

        The kernel reads its CPU number at the beginning of the search, the probe at its end.
        """
        return tuple(other for other in self._cpus if other != cpu)

    def _unmap(self, event: Unmap) -> Release:
        limits = self._limits_of(event.dev)
        given = limits is _UNKNOWN_LIMITS
        entry_ns, exit_ns, _, dev, address, tlb_addr, size_bytes = event[:7]
        until_ns = entry_ns
        if entry_ns == ENTRY_UNKNOWN:
            entry_ns, until_ns = assumed_entry_ns(event), exit_ns
        pools = self.pools.released_in(address, tlb_addr, entry_ns, until_ns)
        if len(pools) != 1:
            unknown = Doubt.OLDER_POOL if self._pools_announced else Doubt.UNTOLD_POOL
            raise UnresolvedError(Doubt.SEVERAL_POOLS if pools else unknown)
        (pool,) = pools
        reach = limits.phys_limit if event.unreachable else 0
        return Release(event, entry_ns, exit_ns, dev, pool, tlb_addr, limits.min_align_mask, size_bytes, given, reach)

    def _freed(self, event: Free) -> None:
        self._limits_of(event.dev)  # raises if the device has an allocator of its own
        raise UnresolvedError(Doubt.NO_RESTRICTED)

    def _allocated(self, event: PoolAlloc) -> None:
        self._last_alloc.pop(event.cpu, None)
        # A listed pool is never freed: then this is the allocation of a pool that the snapshot shows already.
        if event.pool and event.pool not in self._listed:
            pool = self._new_pool(event.pool, event.start, event.nslabs, event.nareas, event.exit_ns)
            self._last_alloc[event.cpu] = event.exit_ns, pool

    def _pool_freed(self, event: PoolFree) -> None:
        if event.pool not in self._listed:
            self.pools.free(event.pool, event.exit_ns)
            self._meaning = None

    def _new_pool(self, address: int, start: int, nslabs: int, nareas: int, since_ns: int) -> Pool:
        if not 1 <= nareas <= nslabs <= _MAX_NSLABS:
            raise UnresolvedError(Doubt.IMPOSSIBLE_POOL)
        pool = Pool(address, start, nslabs, nareas, True, rule=self._revision.rule)
        self.pools.add(pool, since_ns)
        self._listed.discard(address)
        self._meaning = None
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
        self._meaning = None
        # A pool cannot be on the list before it was allocated.
        entry_ns = max(entry_ns, self.pools.since_ns(event.pool))
        return AddPool(event, entry_ns, event.exit_ns, pool)

    def _misfit_transient_pool(self, event: Find | Map, request: Request) -> Pool | None:
        """The transient pool that was allocated for a failed search and could not hold the request; None if none was.

        It is freed before the search returns, so that its memory may be another pool's by then.
        """
        allocated_ns, pool = self._last_alloc.get(event.cpu, (-1, None))
        if pool is None or not assumed_entry_ns(event) <= allocated_ns <= event.exit_ns:
            return None
        return pool if pool.nslabs == nr_slots(request.alloc_size_bytes) else None

    def _limits_of(self, dev: int) -> Limits:
        """The limits of a device, or :data:`_UNKNOWN_LIMITS`.

        :raises OtherAllocatorError: the device has an allocator of its own.
        """
        limits = self._own_devices.get(dev)
        if limits is not None:
            return limits
        if dev in self._devices and self._mem:
            raise OtherAllocatorError
        return _UNKNOWN_LIMITS

    def _announced(self, pool: Pool | None) -> Pool | None:
        """The pool in which a search found slots; None if it was never announced, which is a fault of the kernel.

        :raises UnresolvedError: it was never announced, and need not have been.
        """
        if pool is None and not self._pools_announced:
            raise UnresolvedError(Doubt.UNTOLD_POOL)
        if pool is not None and pool.transient:
            self._last_alloc = {cpu: last for cpu, last in self._last_alloc.items() if last[1] is not pool}
        return pool


def _unchecked(take: SlotSearch) -> SlotSearch:
    """Mark the search of a device that never introduced itself.

    :raises UnresolvedError: it changed nothing in a known pool, so that there is nothing to apply.
    """
    if take.pool is None or take.slot < 0:
        raise UnresolvedError(Doubt.NEVER_INTRODUCED)
    take.unchecked = True
    return take
