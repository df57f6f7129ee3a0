"""What the kernel did, counted from its events: pools, slots, devices, failures.

Knows where slots lie only as far as their number goes; where they *should* lie is the
reference's business. So the two can be held against each other, and both against debugfs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from swiotlb_top.accounting.device import DeviceAccount, took_ns
from swiotlb_top.accounting.failures import FailureLog
from swiotlb_top.accounting.in_use import of_state
from swiotlb_top.accounting.slots import slots_view
from swiotlb_top.accounting.snapshot import UNKNOWN, FailureView, PoolView
from swiotlb_top.allocator import Explanation, Limits, Pool, adopt, align_offset, request_for
from swiotlb_top.allocator.geometry import IO_TLB_SEGSIZE, IO_TLB_SHIFT, nr_slots
from swiotlb_top.allocator.pool import UNKNOWN_DEVICE
from swiotlb_top.events import (
    Device,
    Direction,
    Event,
    Find,
    Free,
    Gap,
    Grow,
    Map,
    PoolAdd,
    PoolAlloc,
    PoolFree,
    Unmap,
)
from swiotlb_top.state import DeviceName, MemState

_NOTHING: Final = (0, UNKNOWN_DEVICE)


@dataclass(slots=True)
class PoolAccount:
    """One pool: its geometry, and its live mappings by the slot their buffer begins in: (slots, device)."""

    address: int
    start: int
    nslabs: int
    nareas: int
    transient: bool
    default: bool = False
    since_ns: int = UNKNOWN
    used_slots: int = 0
    live: dict[int, tuple[int, int]] = field(default_factory=dict)
    next: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Who has a slot already whose release ends later: another CPU can be faster."""

    def take(self, slot: int, nslots: int, dev: int) -> None:
        """A mapping got its slots."""
        if slot in self.live:
            self.next.setdefault(slot, []).append((nslots, dev))
        else:
            self.live[slot] = nslots, dev
        self.used_slots += nslots

    def release(self, slot: int) -> tuple[int, int]:
        """The oldest mapping there gives its slots back: how many, and whose."""
        nslots, dev = self.live.pop(slot, _NOTHING)
        if slot in self.next:
            self.live[slot] = self.next[slot].pop(0)
            if not self.next[slot]:
                del self.next[slot]
        self.used_slots -= nslots
        return nslots, dev

    def view(self, reference: Pool | None = None) -> PoolView:
        """An immutable copy, with where its slots are free as the reference has it."""
        slots = slots_view(reference) if reference else None
        return PoolView(
            address=self.address,
            start=self.start,
            nslabs=self.nslabs,
            nareas=self.nareas,
            used_slots=self.used_slots,
            transient=self.transient,
            default=self.default,
            longest_free_slots=slots.longest_free_slots if slots else UNKNOWN,
            slots=slots,
            since_ns=self.since_ns,
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
        self._failures = FailureLog()
        self._mem = 0
        self._blind = True
        self._allocated: dict[int, PoolAlloc] = {}

    @property
    def nslabs(self) -> int:
        return sum(pool.nslabs for pool in self.pools.values())

    def state(self, mem: MemState) -> None:
        """A state read out of the kernel: start from it, or correct what a gap left out."""
        self._mem = mem.address
        for device in self.devices.values():
            device.restricted = self._is_restricted(device)
        if self._blind and mem.settled:
            self._begin(mem)
            self._blind = False

    def gap(self, gap: Gap) -> None:
        """Events were lost: slots and pools are only known again from the next state."""
        self.lost += gap.lost
        self._blind = True

    def _begin(self, mem: MemState) -> None:
        before, self.pools = self.pools, {}
        self.transient = {}
        for device in self.devices.values():
            device.held_slots = 0
        for state in reversed(mem.pools):
            known = before.get(state.address)
            since_ns = known.since_ns if known else UNKNOWN
            default = not self.pools
            pool = PoolAccount(
                state.address,
                state.start,
                state.nslabs,
                state.nareas,
                False,
                default,
                since_ns=0 if default else since_ns,
            )
            for mapping in adopt(state).pool.mappings():
                pool.live[mapping.slot + mapping.pad_slots] = mapping.nslots, UNKNOWN_DEVICE
                pool.used_slots += mapping.nslots
            self.pools[state.address] = pool
        self.transient_slots = max(0, mem.transient_nslabs)
        self.used_slots = sum(pool.used_slots for pool in self.pools.values()) + self.transient_slots
        self.used_hiwater_slots = max(self.used_hiwater_slots, self.used_slots, of_state(mem).used_hiwater_slots)

    def name(self, name: DeviceName) -> None:
        """Who a device address is."""
        device = self._device(name.dev)
        device.name, device.driver = name.name, name.driver

    def failed(self, dev: int, explanation: Explanation, event: Event | None = None) -> None:
        """Why a mapping of this device's failed, as the reference explains it."""
        self._device(dev).failed(explanation)
        if event is not None:
            self._failures.explained(event, explanation)

    def failures(self, disputed: Event | None = None) -> tuple[FailureView, ...]:
        """The latest failed maps, newest first; ``disputed`` is the first event of a disagreement."""
        return self._failures.views(self._who, disputed)

    def _who(self, dev: int) -> tuple[str, str]:
        device = self._device(dev)
        return device.shown_name, device.driver

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
            device = self._device(event.dev)
            device.mem = event.mem
            device.restricted = self._is_restricted(device)
            device.limits = Limits(event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit)
        elif isinstance(event, Free):
            self._device(event.dev).unmapped(event.size_bytes, Direction.UNKNOWN)
            self.unmaps += 1
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
        nslots = nr_slots(size_bytes)
        device.asked(nslots, took_ns(event))
        if event.slot < 0:
            self._fail(device, event)
            return
        before_bytes = align_offset(event.alloc_align_mask, event.orig_addr, device.limits.min_align_mask)
        if not device.restricted:
            pool = self.pools.get(event.pool) or self._unlisted(event)
            self._take(pool, event.slot + (before_bytes >> IO_TLB_SHIFT), nslots, event.dev)
        self.maps += 1
        device.mapped(size_bytes - before_bytes, nslots)

    def _map(self, event: Map) -> None:
        device = self._device(event.dev)
        size_bytes = event.mapping_size_bytes
        request = request_for(size_bytes, event.orig_addr, event.alloc_align_mask, device.limits)
        nslots = nr_slots(request.alloc_size_bytes)
        device.asked(nslots, took_ns(event))
        if event.failed:
            self._fail(device, event)
            return
        if not device.restricted:
            pool = self._around(event.tlb_addr) or self._unlisted_at(event.tlb_addr)
            self._take(pool, (event.tlb_addr - pool.start) >> IO_TLB_SHIFT, nslots, event.dev)
        self.maps += 1
        device.mapped(size_bytes, nslots)

    def _unmap(self, event: Unmap) -> None:
        self._device(event.dev).unmapped(event.mapping_size_bytes, event.direction)
        self.unmaps += 1
        address = event.pool
        if not address:
            # Nobody says which it is.
            around = self._around(event.tlb_addr)
            address = around.address if around else 0
        pool = self.pools.get(address)
        if pool is None:
            gone = self.transient.pop(address, None)
            if gone:
                self.used_slots -= gone.nslabs
                self.transient_slots -= gone.nslabs
                for nslots, holder in gone.live.values():
                    self._give_back(nslots, holder)
            return
        nslots, holder = pool.release((event.tlb_addr - pool.start) >> IO_TLB_SHIFT)
        self.used_slots -= nslots
        self._give_back(nslots, holder)

    def _around(self, tlb_addr: int) -> PoolAccount | None:
        """The pool that an address lies in; of transient ones the newest."""
        for pool in (*self.pools.values(), *reversed(self.transient.values())):
            if 0 <= (tlb_addr - pool.start) >> IO_TLB_SHIFT < pool.nslabs:
                return pool
        return None

    def _is_restricted(self, device: DeviceAccount) -> bool:
        return 0 not in (device.mem, self._mem) and device.mem != self._mem

    def _give_back(self, nslots: int, holder: int) -> None:
        if holder != UNKNOWN_DEVICE:
            self.devices[holder].held_slots -= nslots

    def _take(self, pool: PoolAccount, slot: int, nslots: int, dev: int) -> None:
        pool.take(slot, nslots, dev)
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
        pool = PoolAccount(new.pool, new.start, new.nslabs, new.nareas, False, since_ns=new.exit_ns)
        self.pools[new.pool] = pool
        return pool

    def _new_transient(self, pool: PoolAccount) -> PoolAccount:
        self.transient[pool.address] = pool
        self.transient_pools += 1
        self.transient_slots += pool.nslabs
        return pool

    def _fail(self, device: DeviceAccount, event: Find | Map) -> None:
        device.map_failures += 1
        self.map_failures += 1
        self._failures.happened(event)

    def _device(self, dev: int) -> DeviceAccount:
        device = self.devices.get(dev)
        if device is None:
            device = self.devices[dev] = DeviceAccount(dev)
        return device
