"""What the kernel did, counted from its events: pools, slots, devices, failures.

Knows where slots lie only as far as their number goes; where they *should* lie is the
reference's business. So the two can be held against each other, and both against debugfs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, PoolView
from swiotlb_top.allocator import Explanation, Limits, adopt, align_offset, request_for
from swiotlb_top.allocator.geometry import IO_TLB_SEGSIZE, IO_TLB_SHIFT, nr_slots
from swiotlb_top.events import Device, Event, Find, Gap, Grow, Map, PoolAdd, PoolAlloc, PoolFree, Unmap
from swiotlb_top.state import DeviceName, MemState


@dataclass(slots=True)
class DeviceAccount:
    """One device's totals."""

    dev: int
    name: str = ""
    driver: str = ""
    limits: Limits = field(default_factory=Limits)
    maps: int = 0
    map_failures: int = 0
    unmaps: int = 0
    mapped_bytes: int = 0
    unmapped_bytes: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    last_failure: str = ""

    def view(self) -> DeviceView:
        """An immutable copy."""
        return DeviceView(
            dev=self.dev,
            name=self.name or f"device {self.dev & 0xFFFF:04x}",
            driver=self.driver,
            maps=self.maps,
            map_failures=self.map_failures,
            unmaps=self.unmaps,
            mapped_bytes=self.mapped_bytes,
            unmapped_bytes=self.unmapped_bytes,
            causes=tuple(self.causes.most_common()),
            last_failure=self.last_failure,
        )


@dataclass(slots=True)
class PoolAccount:
    """One pool: its geometry, and the slots of its live mappings by the slot their buffer begins in."""

    address: int
    start: int
    nslabs: int
    nareas: int
    transient: bool
    default: bool = False
    used_slots: int = 0
    live: dict[int, int] = field(default_factory=dict)

    def view(self, longest_free_slots: int = UNKNOWN) -> PoolView:
        """An immutable copy."""
        return PoolView(
            address=self.address,
            start=self.start,
            nslabs=self.nslabs,
            nareas=self.nareas,
            used_slots=self.used_slots,
            transient=self.transient,
            default=self.default,
            longest_free_slots=longest_free_slots,
        )


class Account:
    """Running totals of one stream of events.

    ``used_slots``, ``nslabs`` and ``transient_slots`` are what debugfs calls ``io_tlb_used``,
    ``io_tlb_nslabs`` and ``io_tlb_transient_nslabs``.
    """

    def __init__(self) -> None:
        self.devices: dict[int, DeviceAccount] = {}
        self.pools: dict[int, PoolAccount] = {}
        """On the allocator's list, newest last."""
        self.transient: dict[int, PoolAccount] = {}
        self.events = 0
        self.maps = 0
        self.map_failures = 0
        self.unmaps = 0
        self.growths = 0
        self.pools_added = 0
        self.pools_freed = 0
        self.transient_pools = 0
        self.used_slots = 0
        self.used_hiwater_slots = 0
        self.transient_slots = 0
        self.first_ns = 0
        self.last_ns = 0
        self.lost = 0
        self._blind = True
        self._allocated: dict[int, PoolAlloc] = {}

    @property
    def nslabs(self) -> int:
        return sum(pool.nslabs for pool in self.pools.values())

    def state(self, mem: MemState) -> None:
        """A state read out of the kernel: start from it, or correct what a gap left out."""
        if self._blind and mem.settled:
            self._begin(mem)
            self._blind = False

    def gap(self, gap: Gap) -> None:
        """Events were lost: slots and pools are only known again from the next state."""
        self.lost += gap.lost
        self._blind = True

    def _begin(self, mem: MemState) -> None:
        self.pools = {}
        self.transient = {}
        for state in reversed(mem.pools):
            pool = PoolAccount(state.address, state.start, state.nslabs, state.nareas, False, default=not self.pools)
            for mapping in adopt(state).pool.mappings():
                pool.live[mapping.slot + mapping.pad_slots] = mapping.nslots
                pool.used_slots += mapping.nslots
            self.pools[state.address] = pool
        self.transient_slots = max(0, mem.transient_nslabs)
        self.used_slots = sum(pool.used_slots for pool in self.pools.values()) + self.transient_slots
        self.used_hiwater_slots = max(self.used_hiwater_slots, self.used_slots, mem.used_hiwater)

    def name(self, name: DeviceName) -> None:
        """Who a device address is."""
        device = self._device(name.dev)
        device.name, device.driver = name.name, name.driver

    def failed(self, dev: int, explanation: Explanation) -> None:
        """Why a mapping of this device's failed, as the reference explains it."""
        device = self._device(dev)
        device.causes[explanation.cause.value] += 1
        device.last_failure = explanation.sentence

    def feed(self, events: Iterable[Event]) -> None:
        """Count events, in the order they were recorded."""
        for event in events:
            self.events += 1
            self.last_ns = event.exit_ns
            if isinstance(event, Find):
                self._find(event)
            elif isinstance(event, Unmap):
                self._unmap(event)
            elif isinstance(event, Map):
                self._map(event)
            else:
                self._rare(event)
        if not self.first_ns and self.last_ns:
            self.first_ns = self.last_ns

    def _rare(self, event: Event) -> None:
        if isinstance(event, Device):
            self._device(event.dev).limits = Limits(
                event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit
            )
        elif isinstance(event, PoolAlloc):
            self._allocated[event.pool] = event
        elif isinstance(event, PoolFree):
            self.pools_freed += 1
        elif isinstance(event, PoolAdd | Grow):
            if isinstance(event, Grow):
                self.growths += 1
            if event.pool and event.pool not in self.pools:
                self._listed(event)

    def _find(self, event: Find) -> None:
        device = self._device(event.dev)
        size_bytes = event.alloc_size_bytes
        if event.slot < 0:
            self._fail(device)
            return
        pool = self.pools.get(event.pool) or self._unlisted(event)
        before_bytes = align_offset(event.alloc_align_mask, event.orig_addr, device.limits.min_align_mask)
        self._take(pool, event.slot + (before_bytes >> IO_TLB_SHIFT), nr_slots(size_bytes))
        self._mapped(device, size_bytes - before_bytes)

    def _map(self, event: Map) -> None:
        device = self._device(event.dev)
        if event.failed:
            self._fail(device)
            return
        size_bytes = event.mapping_size_bytes
        request = request_for(size_bytes, event.orig_addr, event.alloc_align_mask, device.limits)
        for pool in (*self.pools.values(), *reversed(self.transient.values())):
            slot = (event.tlb_addr - pool.start) >> IO_TLB_SHIFT
            if 0 <= slot < pool.nslabs:
                break
        else:
            pool = self._unlisted_at(event.tlb_addr)
            slot = (event.tlb_addr - pool.start) >> IO_TLB_SHIFT
        self._take(pool, slot, nr_slots(request.alloc_size_bytes))
        self._mapped(device, size_bytes)

    def _unmap(self, event: Unmap) -> None:
        device = self._device(event.dev)
        device.unmaps += 1
        device.unmapped_bytes += event.mapping_size_bytes
        self.unmaps += 1
        pool = self.pools.get(event.pool)
        if pool is None:
            gone = self.transient.pop(event.pool, None)
            if gone:
                self.used_slots -= gone.nslabs
                self.transient_slots -= gone.nslabs
            return
        nslots = pool.live.pop((event.tlb_addr - pool.start) >> IO_TLB_SHIFT, 0)
        pool.used_slots -= nslots
        self.used_slots -= nslots

    def _take(self, pool: PoolAccount, slot: int, nslots: int) -> None:
        pool.live[slot] = nslots
        pool.used_slots += nslots
        self.used_slots += nslots
        if self.used_slots > self.used_hiwater_slots:
            self.used_hiwater_slots = self.used_slots

    def _unlisted(self, event: Find) -> PoolAccount:
        """The pool of a search that nobody has told to be on the list."""
        alloc = self._allocated.get(event.pool)
        if alloc is None:
            return self._new_transient(PoolAccount(event.pool, 0, nr_slots(event.alloc_size_bytes), 1, True))
        return self._allocated_for_search(alloc)

    def _unlisted_at(self, tlb_addr: int) -> PoolAccount:
        """The pool allocated last around an address."""
        for alloc in reversed(self._allocated.values()):
            if alloc.start <= tlb_addr < alloc.start + (alloc.nslabs << IO_TLB_SHIFT):
                return self._allocated_for_search(alloc)
        return PoolAccount(0, tlb_addr, 0, 1, True)

    def _allocated_for_search(self, alloc: PoolAlloc) -> PoolAccount:
        """A transient pool is as large as its one mapping (``swiotlb_find_slots()``). A larger one is on
        the list already, and will be told of when ``swiotlb_dyn_alloc()`` returns."""
        if alloc.nslabs > IO_TLB_SEGSIZE:
            return self._listed(alloc)
        return self._new_transient(PoolAccount(alloc.pool, alloc.start, alloc.nslabs, 1, True))

    def _listed(self, new: PoolAlloc | PoolAdd | Grow) -> PoolAccount:
        self.pools_added += 1
        pool = self.pools[new.pool] = PoolAccount(new.pool, new.start, new.nslabs, new.nareas, False)
        return pool

    def _new_transient(self, pool: PoolAccount) -> PoolAccount:
        self.transient[pool.address] = pool
        self.transient_pools += 1
        self.transient_slots += pool.nslabs
        return pool

    def _fail(self, device: DeviceAccount) -> None:
        device.map_failures += 1
        self.map_failures += 1

    def _mapped(self, device: DeviceAccount, size_bytes: int) -> None:
        device.maps += 1
        device.mapped_bytes += size_bytes
        self.maps += 1

    def _device(self, dev: int) -> DeviceAccount:
        device = self.devices.get(dev)
        if device is None:
            device = self.devices[dev] = DeviceAccount(dev)
        return device
