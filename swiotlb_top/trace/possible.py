"""Checks that a recording is possible: that it keeps to the limits of :mod:`.format`, and tells what a kernel can do.

A reader checks each item before it yields it. Of a block of records, it yields those before the first impossible one.
Whether the kernel did right is not checked here but by the judge: that a slot is given out twice is possible, that a
pool does not begin on a page is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from swiotlb_top import records
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.constants import DMA_MAPPING_ERROR, IO_TLB_SEGSIZE, PAGE_SIZE
from swiotlb_top.events import Gap
from swiotlb_top.records import DURATION_UNKNOWN, Kind, RawRecord
from swiotlb_top.state import DeviceName, MemState, PoolState
from swiotlb_top.trace.format import (
    MAX_CPUS,
    MAX_DEVICES,
    MAX_LATE_NS,
    MAX_PHYS_ADDR,
    MAX_POOLS,
    MAX_POOLS_AREAS,
    MAX_POOLS_SLOTS,
    MAX_STATE_SLOTS,
    MAX_TIME_NS,
)
from swiotlb_top.trace.items import Header, Item, Records

_NEW_POOL: Final = frozenset({Kind.POOL_ALLOC, Kind.POOL_ADD, Kind.GROW})
_LOOKED_AT: Final = _NEW_POOL | {Kind.POOL_FREE, Kind.DEVICE}
"""Kinds of records that are always checked one by one; they are rare."""
_OTHERS: Final = bytes({*Kind} - _LOOKED_AT)
_DEVICE: Final = bytes({Kind.DEVICE})


_MAX_LIST: Final = 0xFFFF
"""``list`` is an unsigned short."""


class ImpossibleError(ValueError):
    """The next item of a recording is impossible; the message says why."""


def check_state(mem: MemState) -> None:
    """Check that an allocator can be in this state. :raises ImpossibleError: it cannot."""
    if not mem.dynamic and (mem.can_grow or len(mem.pools) > 1):
        raise ImpossibleError("a static allocator that grows, or has several pools")
    for pool in mem.pools:
        _check_pool(pool)
    in_memory = sorted(mem.pools, key=lambda pool: pool.start)
    if any(slot_addr(one.start, one.nslabs) > other.start for one, other in pairwise(in_memory)):
        raise ImpossibleError("two pools that overlap")
    if len({pool.address for pool in mem.pools}) < len(mem.pools):
        raise ImpossibleError("two pools at one address")


def _check_pool(pool: PoolState) -> None:
    _check_geometry(pool.start, pool.nslabs, pool.nareas)
    if pool.area_nslabs != pool.nslabs // pool.nareas:
        raise ImpossibleError(f"{pool.nslabs} slots in {pool.nareas} areas of {pool.area_nslabs} slots")
    if pool.transient:
        raise ImpossibleError("a transient pool on the list of pools")
    if pool.end_ns < pool.begin_ns:
        raise ImpossibleError("a pool that was read before reading it began")
    # Slot sets may be larger than IO_TLB_SEGSIZE, where a vendor changed it: swiotlb_top.allocator.slot_sets.
    if max(pool.list_) > min(max(pool.nslabs, IO_TLB_SEGSIZE), _MAX_LIST):
        raise ImpossibleError(f"{max(pool.list_)} free slots in a row, of {pool.nslabs}")


def _check_geometry(start: int, nslabs: int, nareas: int) -> None:
    if not (1 <= nareas <= min(nslabs, MAX_CPUS) and nslabs <= MAX_STATE_SLOTS):
        raise ImpossibleError(f"a pool of {nslabs} slots in {nareas} areas")
    if start % PAGE_SIZE or slot_addr(start, nslabs) - 1 > MAX_PHYS_ADDR:
        raise ImpossibleError(f"a pool of {nslabs} slots at {start:#x}")


class Possible:
    """Checks the items of one recording, from its beginning on, and passes those that are possible."""

    def __init__(self) -> None:
        self._latest_ns = 0
        self._static = False
        self._partial = False
        """Whether the recording says that calls are left out in it."""
        self._from_a_state = False
        """Whether no gap came after the latest state, so that a judge would begin from it."""
        self._cpus = frozenset(range(MAX_CPUS))
        """Numbers of the CPUs that the kernel may have."""
        self._devices: set[int] = set()
        self._pools: dict[int, tuple[int, int]] = {}
        """Number of slots and of areas of each pool that exists, by the pool's address."""
        self._slots = 0
        self._areas = 0

    def passed(self, item: Item) -> Iterator[Item]:
        """The possible part of an item, nearly always all. :raises ImpossibleError: after it, if there is more."""
        if isinstance(item, Records):
            yield from self._records(item)
            return
        if isinstance(item, MemState):
            self._state(item)
        elif isinstance(item, Header):
            self._partial = item.partial
            if item.kernel.page_size_bytes:  # the first recordings tell neither
                self._cpus = frozenset(item.kernel.cpus.numbers())
        elif isinstance(item, DeviceName):
            self._count_devices({item.dev})
        elif isinstance(item, Gap):
            self._check_gap(item)
        yield item

    # ---- states, gaps ------------------------------------------------------

    def _state(self, mem: MemState) -> None:
        check_state(mem)
        self._from_a_state = True
        self._static = not mem.dynamic
        for pool in mem.pools:
            self._at(pool.begin_ns)
            self._at(pool.end_ns)
            self._is_there(pool.address, pool.nslabs, pool.nareas)

    def _check_gap(self, gap: Gap) -> None:
        if gap.exit_ns < gap.begin_ns:
            raise ImpossibleError("a gap that ends before it begins")
        self._from_a_state = False
        self._pools.clear()
        self._slots = self._areas = 0

    # ---- records -----------------------------------------------------------

    def _records(self, block: Records) -> Iterator[Item]:
        if self._partial and self._from_a_state and records.kinds(block.data).translate(None, _DEVICE):
            raise ImpossibleError("calls of which others are left out, after a state and without a gap that says so")
        for place in self._to_be_looked_at(block.data):
            try:
                self._look_at(records.raw(block.data, place))
            except ImpossibleError as wrong:
                if place:
                    yield Records(records.select(block.data, range(place)))
                raise ImpossibleError(f"record {place + 1} of a block: {wrong}") from None
        yield block

    def _to_be_looked_at(self, data: bytes) -> Iterable[int]:
        """The records of a block that must be checked one by one: all, if any value is beyond the limits."""
        exits_ns = records.exits_ns(data)
        if not exits_ns:
            return ()
        self._count_devices(records.objects(data))
        earliest_ns, latest_ns = min(exits_ns), max(exits_ns)
        kinds = records.kinds(data)
        rare = (
            [place for place, kind in enumerate(kinds) if kind in _LOOKED_AT] if kinds.translate(None, _OTHERS) else ()
        )
        addresses = records.addresses(data)
        for place in rare:
            addresses[place] = 0
        results = {*records.results(data)} - {DMA_MAPPING_ERROR}
        if (
            earliest_ns > DURATION_UNKNOWN
            and max(latest_ns, self._latest_ns) - earliest_ns <= MAX_LATE_NS
            and latest_ns <= MAX_TIME_NS
            and self._cpus.issuperset(records.cpus(data))
            and max(addresses) <= MAX_PHYS_ADDR
            and max(results, default=0) <= MAX_PHYS_ADDR
        ):
            self._latest_ns = max(latest_ns, self._latest_ns)
            return rare
        return range(len(kinds))

    def _look_at(self, record: RawRecord) -> None:
        self._at(record.exit_ns)
        if record.exit_ns < record.duration_ns != DURATION_UNKNOWN:
            raise ImpossibleError("a call that began before the clock did")
        if record.cpu not in self._cpus:
            raise ImpossibleError(f"CPU {record.cpu}, which the kernel does not have")
        if record.kind == Kind.DEVICE:
            if record.result & (record.result + 1):
                raise ImpossibleError(f"a segment boundary of mask {record.result:#x}")
        elif record.address > MAX_PHYS_ADDR:
            raise ImpossibleError(f"physical address {record.address:#x}")
        if record.kind == Kind.MAP and MAX_PHYS_ADDR < record.result != DMA_MAPPING_ERROR:
            raise ImpossibleError(f"physical address {record.result:#x}")
        if record.kind == Kind.POOL_FREE:
            self._is_gone(record.pool)
        elif record.kind in _NEW_POOL and record.pool:
            if self._static:
                raise ImpossibleError("a static allocator that grows")
            _check_geometry(record.address, record.size, record.align_mask)
            self._is_there(record.pool, record.size, record.align_mask)

    # ---- what is bounded over the whole recording --------------------------

    def _at(self, time_ns: int) -> None:
        if time_ns > MAX_TIME_NS:
            raise ImpossibleError(f"a time of {time_ns} ns")
        if time_ns < self._latest_ns - MAX_LATE_NS:
            raise ImpossibleError(f"time runs back, by {(self._latest_ns - time_ns) / 1e9:.0f} s")
        self._latest_ns = max(self._latest_ns, time_ns)

    def _count_devices(self, devices: Iterable[int]) -> None:
        self._devices.update(devices)
        if len(self._devices) > MAX_DEVICES:
            raise ImpossibleError(f"more than {MAX_DEVICES} devices")

    def _is_there(self, address: int, nslabs: int, nareas: int) -> None:
        self._is_gone(address)
        self._pools[address] = nslabs, nareas
        self._slots += nslabs
        self._areas += nareas
        if len(self._pools) > MAX_POOLS or self._slots > MAX_POOLS_SLOTS or self._areas > MAX_POOLS_AREAS:
            raise ImpossibleError(
                f"{len(self._pools)} pools at one time, of {self._slots} slots in {self._areas} areas together"
            )

    def _is_gone(self, address: int) -> None:
        nslabs, nareas = self._pools.pop(address, (0, 0))
        self._slots -= nslabs
        self._areas -= nareas
