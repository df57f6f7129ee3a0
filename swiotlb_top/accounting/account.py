"""What the kernel did, counted from its events: pools, slots, devices, failures.

It counts slots, and does not decide where a mapping *should* lie: that is what the reference
does. So the two can be compared with each other, and both with debugfs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from swiotlb_top.accounting.device import DeviceAccount
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.in_core import cost_of, count_at_once
from swiotlb_top.accounting.in_use import of_state
from swiotlb_top.accounting.pool_account import NOTHING, Held, PoolAccount
from swiotlb_top.accounting.snapshot import UNKNOWN, FailureView, Starved
from swiotlb_top.accounting.totals import Totals
from swiotlb_top.accounting.watcher import Watcher
from swiotlb_top.allocator import Explanation, Revision
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, NOT_FOUND
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
from swiotlb_top.native.pause import Pause
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Batch, Consumer
from swiotlb_top.verify.operations.intervals import assumed_entry_ns, latest_entry_ns
from swiotlb_top.verify.operations.pools_by_address import PoolsByAddress

_OWN_HIWATER: Final = "the kernel kept no high water: shown is the highest since the recording began"


class Account(Consumer):
    """Running totals of one stream of events.

    ``used_slots``, ``nslabs`` and ``transient_slots`` are what debugfs calls ``io_tlb_used``,
    ``io_tlb_nslabs`` and ``io_tlb_transient_nslabs``.

    :param revision: that of the kernel; it decides how many slots a mapping takes, and where its buffer begins in them.
    :param devices: what is known of the devices; None: nothing yet.
    :param watcher: is told each mapping.
    """

    def __init__(self, revision: Revision, devices: Devices | None = None, watcher: Watcher | None = None) -> None:
        self.revision = revision
        self._watcher = watcher or Watcher()
        self.devices = Devices() if devices is None else devices
        self.pools: dict[int, PoolAccount] = {}
        """On the allocator's list, newest last."""
        self.transient: dict[PoolAccount, None] = {}
        """Transient pools with a mapping, newest last. Two may have had their struct at the same address."""
        self.events = 0
        self.maps = 0
        self.map_failures = 0
        self.unmaps = 0
        self.growths = 0
        self.pools_added = 0
        self.pools_freed = 0
        self.transient_pools = 0
        self.nslabs = 0
        """Slots of the pools on the list."""
        self.used_slots = 0
        self.used_hiwater_slots = 0
        self.hiwater_is_its_own = False
        """Whether the kernel keeps no high water, so that ``used_hiwater_slots`` comes from the events alone."""
        self.transient_slots = 0
        self.lost = 0
        self.sure = True
        """Whether ``used_slots`` is exact: no event left open how many slots were taken or released."""
        self.kernel_counts_alike = True
        """Whether the kernel's own count of used slots and the sum over its areas were equal at the last state."""
        self._pause = Pause()
        self._blind = True
        self._known: PoolsByAddress[PoolAccount] = PoolsByAddress()
        """Every pool that was seen, those that were only allocated among them."""

    def told_from_ns(self) -> int:
        """After this time the address of a slot tells which pool of the list has it."""
        return self._known.told_from_ns(self.pools.values())

    def since_ns(self, pool: PoolAccount) -> int:
        """Since when a pool is there; 0 if that was not seen."""
        return self._known.since_ns(pool.address)

    @property
    def blind(self) -> bool:
        """Whether the next state is one to start from, so that what is held now is forgotten then."""
        return self._blind

    def state(self, mem: MemState) -> None:
        """A state read out of the kernel: start from it, or correct what a gap left out."""
        self.devices.state(mem)
        if self._blind:
            self._begin(mem)
            self._blind = not mem.settled
            self.sure = mem.settled

    def gap(self, gap: Gap) -> None:
        """Events are missing: slots and pools are only known again from the next state.

        Until then only what is mapped anew is counted as held. What was held before may have been released, and its
        slots are others' then.
        """
        self.lost += gap.lost
        self._blind = True
        self._forget_held()

    def _forget_held(self) -> None:
        for pool in (*self.pools.values(), *self.transient):
            pool.forget_held()
        for device in self.devices.values():
            device.forget_held()
        self.transient = {}
        self.transient_slots = self.used_slots = 0

    def _begin(self, mem: MemState) -> None:
        self._forget_held()
        before, self.pools = self.pools, {}
        for state in reversed(mem.pools):
            known = before.get(state.address)
            since_ns = known.since_ns if known else UNKNOWN
            default = not self.pools
            self.pools[state.address] = PoolAccount.of_state(state, 0 if default else since_ns, default=default)
        self._known = PoolsByAddress(self.pools.values())
        self.nslabs = sum(pool.nslabs for pool in self.pools.values())
        self.transient_slots = max(0, mem.transient_nslabs)
        self.used_slots = sum(pool.used_slots for pool in self.pools.values()) + self.transient_slots
        self.kernel_counts_alike = mem.total_used == self.used_slots
        kept_slots = of_state(mem).used_hiwater_slots
        self.hiwater_is_its_own = kept_slots < 0
        self.used_hiwater_slots = max(self.used_hiwater_slots, self.used_slots, kept_slots)

    def name(self, name: DeviceName) -> None:
        """Name and driver of the device at an address."""
        self.devices.name(name)

    def failed(self, dev: int, explanation: Explanation, event: Event | None = None) -> None:
        """Why a mapping of this device's failed, as the reference explains it."""
        self.devices.explained(dev, explanation, event)

    def failures(self, disputed: Event | None = None) -> tuple[FailureView, ...]:
        """The latest failed maps, newest first; ``disputed`` is the first event of a disagreement."""
        return self.devices.failures(disputed=disputed)

    def totals(self) -> Totals:
        """What the events add up to, and the pools, newest first and transient ones last."""
        return Totals(
            nslabs=self.nslabs,
            # A recording may hold more releases than mappings.
            used_slots=UNKNOWN if self._blind or self.used_slots < 0 else self.used_slots,
            used_hiwater_slots=self.used_hiwater_slots,
            transient_slots=UNKNOWN if self._blind else self.transient_slots,
            maps=self.maps,
            map_failures=self.map_failures,
            unmaps=self.unmaps,
            growths=self.growths,
            pools_added=self.pools_added,
            lost=self.lost,
            pools=() if self._blind else (*reversed(self.pools.values()), *self.transient),
            devices={dev: device.totals() for dev, device in self.devices.items()},
            notes=(_OWN_HIWATER,) if self.hiwater_is_its_own else (),
            uncounted=self.lost,
            hiwater_is_own=self.hiwater_is_its_own,
        )

    def feed(self, events: Sequence[Event]) -> None:
        """Count events, in the order they were recorded."""
        self.events += len(events)
        if isinstance(events, Batch) and type(self._watcher) is Watcher:
            self._count_packed(events)  # nobody wants to be told of each
        else:
            self._count(events)

    def _count_packed(self, batch: Batch) -> None:
        """Count events that are packed: many at once where that can be, and those between one by one."""
        at = 0
        while at < len(batch):
            left, cost = len(batch) - at, cost_of(self.pools.values(), len(self.devices))
            if not self._pause.left and left >= cost:
                counted = count_at_once(self, batch.data, at)
                self._pause.tried(counted, cost)
                at += counted
                left -= counted
            one_by_one = min(left, self._pause.left or (1 if left >= cost else left))
            self._pause.pass_by(one_by_one)
            self._count(batch.part(at, at + one_by_one))
            at += one_by_one

    def _count(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Find):
                self._find(event)
            elif isinstance(event, Unmap):
                self._unmap(event)
            elif isinstance(event, Map):
                self._map(event)
            else:
                self._rare(event)

    def _rare(self, event: Event) -> None:
        if isinstance(event, Device):
            self.devices.introduced(event)
        elif isinstance(event, Free):
            self.devices[event.dev].unmapped(event.size_bytes, Direction.NONE)
            self.unmaps += 1
            self._watcher.released(event, None, NOT_FOUND, NOTHING)
        elif isinstance(event, PoolAlloc):
            if event.pool and event.pool not in self.pools:
                self._known.add(PoolAccount.of_event(event), event.exit_ns)
        elif isinstance(event, PoolFree):
            self.pools_freed += 1
            if event.pool not in self.pools:
                self._known.free(event.pool, event.exit_ns)
        elif isinstance(event, PoolAdd | Grow):
            if isinstance(event, Grow):
                self.growths += 1
            self._added(event)

    def _find(self, event: Find) -> None:
        device = self.devices[event.dev]
        self.devices.searched(device, event)
        size_bytes = event.alloc_size_bytes
        nslots = nr_slots(size_bytes)
        device.asked(nslots)
        if event.slot < 0:
            self._fail(device, event, size_bytes, nslots)
            return
        padding_bytes = self.revision.padding_bytes(event.orig_addr, event.alloc_align_mask, device.limits)
        pool = None
        if not device.restricted:
            pool = self._known.now(event.pool) or self._unannounced(event)
            self._take(pool, event.slot + (padding_bytes >> IO_TLB_SHIFT), nslots, event)
            device.lifetimes.began(event)
        self.maps += 1
        device.mapped(size_bytes - padding_bytes, nslots)
        self._watcher.mapped(event, size_bytes - padding_bytes, nslots, pool, event.slot)

    def _map(self, event: Map) -> None:
        device = self.devices[event.dev]
        self.devices.searched(device, event)
        request = self.revision.request_of(event, device.limits if device.mem else None)
        nslots = nr_slots(request.alloc_size_bytes)
        device.asked(nslots)
        if event.failed:
            self._fail(device, event, event.mapping_size_bytes, nslots)
            return
        pool, slot = None, NOT_FOUND
        if not device.restricted:
            pool = self._known.now_around(event.tlb_addr)
            if pool is None:
                self.sure = False  # its pool is not known, nor how many slots that pool has
            else:
                slot = pool.slot(event.tlb_addr)
                self._take(pool, slot, nslots, event)
                device.lifetimes.began(event)
                slot -= self.revision.pad_slots(request)
        self.maps += 1
        device.mapped(event.mapping_size_bytes, nslots)
        self._watcher.mapped(event, event.mapping_size_bytes, nslots, pool, slot)

    def _unmap(self, event: Unmap) -> None:
        device = self.devices[event.dev]
        device.unmapped(event.mapping_size_bytes, event.direction)
        self.unmaps += 1
        if event.unreachable:
            device.refused(None)
            self.map_failures += 1
            self.devices.map_failed(event)
            self._watcher.unreachable(event, event.mapping_size_bytes, nr_slots(event.mapping_size_bytes))
        if device.restricted:
            self._watcher.released(event, None, NOT_FOUND, NOTHING)
            return
        pool = self._released_in(event)
        if pool is None:
            self.sure = False  # the pool is older than the state, which tells only how many slots such pools had
            self._watcher.released(event, None, NOT_FOUND, NOTHING)
            return
        slot = pool.slot(event.tlb_addr)
        if pool in self.transient:
            self._forget_transient(pool)
            released = [*pool.live.values()] or [NOTHING]
        else:
            released = [pool.release(slot)]
            self.used_slots -= released[0].nslots
        for held in released:
            self._give_back(held, event.exit_ns)
            self._watcher.released(event, pool, slot, held)

    def _released_in(self, event: Unmap) -> PoolAccount | None:
        """The pool of a mapping that is released; if it may be one of several, the oldest with a mapping there."""
        pools = self._known.released_in(event.pool, event.tlb_addr, assumed_entry_ns(event), latest_entry_ns(event))
        if len(pools) == 1:
            return pools[0]
        return next((pool for pool in pools if pool.slot(event.tlb_addr) in pool.live), pools[0] if pools else None)

    def _give_back(self, held: Held, exit_ns: int) -> None:
        if held.dev != UNKNOWN_DEVICE:
            self.devices[held.dev].released(held.nslots, held.call, exit_ns)

    def _take(self, pool: PoolAccount, slot: int, nslots: int, call: Find | Map) -> None:
        if pool.transient and pool not in self.transient:
            self._in_use(pool, call)
        self.used_slots += pool.take(slot, nslots, call)
        if self.used_slots > self.used_hiwater_slots:
            self.used_hiwater_slots = self.used_slots

    def _in_use(self, pool: PoolAccount, call: Find | Map) -> None:
        """A mapping has slots of a pool that is not known to be on the allocator's list.

        A transient pool is as large as its one mapping (``swiotlb_find_slots()``). A larger one is
        on the list already, and will be told of when ``swiotlb_dyn_alloc()`` returns.
        """
        if pool.nslabs > IO_TLB_SEGSIZE:
            self._list(pool)
            return
        self.transient[pool] = None
        self.transient_pools += 1
        self.transient_slots += pool.nslabs

    def _forget_transient(self, pool: PoolAccount) -> None:
        del self.transient[pool]
        self.transient_slots -= pool.nslabs
        self.used_slots -= pool.nslabs

    def _unannounced(self, event: Find) -> PoolAccount:
        """The pool of a search, if its allocation was not seen: it is assumed to be transient."""
        pool = PoolAccount(event.pool, 0, nr_slots(event.alloc_size_bytes), 1, True)
        self._known.add(pool, assumed_entry_ns(event))
        return pool

    def _added(self, event: PoolAdd | Grow) -> None:
        """The pool at the head of the list, which may be known from an earlier growth."""
        if not event.pool or event.pool in self.pools:
            return
        pool = self._known.now(event.pool)
        if pool is None:
            pool = PoolAccount.of_event(event)
            self._known.add(pool, assumed_entry_ns(event))
        elif pool in self.transient:
            # Somebody was faster, and it is as small as a transient one.
            del self.transient[pool]
            self.transient_slots -= pool.nslabs
            self.transient_pools -= 1
        self._list(pool)

    def _list(self, pool: PoolAccount) -> None:
        pool.transient = False
        self.pools_added += 1
        self.pools[pool.address] = pool
        self.nslabs += pool.nslabs

    def _fail(self, device: DeviceAccount, call: Find | Map, size_bytes: int, nslots: int) -> None:
        device.refused(None if device.restricted else self._starved(device.held_slots))
        self.map_failures += 1
        self.devices.map_failed(call)
        self._watcher.refused(call, size_bytes, nslots)

    def _starved(self, held_slots: int) -> Starved | None:
        if self._blind or not self.sure or self.used_slots < held_slots:
            return None
        return Starved(held_slots, self.used_slots, self.nslabs + self.transient_slots)
