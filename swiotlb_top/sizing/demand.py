"""What a recording asked of swiotlb, independently of the pool that it was asked of.

A need is slots from one time to another. Two lists of needs bracket what the recording cannot know: ``least``
takes what failed to be over as soon as can be, ``most`` as late as can be (:mod:`swiotlb_top.sizing.retries`).
Where nothing failed they are one list.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from swiotlb_top.allocator import DMA_MAPPING_ERROR, Limits, Request, Revision, adopt, check_slot_sets
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Device, Event, Find, Free, Gap, Grow, Map, PoolAdd, PoolAlloc, Unmap
from swiotlb_top.sizing.assumptions import Assumption, assumptions, queue
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.retries import Attempts, bracket
from swiotlb_top.sizing.starts import starts_of
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Consumer, Stream, tell
from swiotlb_top.verify.operations.intervals import NEVER_NS, assumed_entry_ns

THIS_MACHINE: Final = "this machine"
"""How a recording is called that was made only to be sized."""
MOST_NEEDS: Final = 1_000_000
"""Of one recording; each takes a kilobyte of memory here."""
_SLOT: Final = ~(IO_TLB_SIZE - 1)


@dataclass(frozen=True)
class Demand:
    """What a recording asked of its kernel's default allocator, as requests of one revision."""

    called: str
    """How people call what was recorded: the name of a file, or :data:`THIS_MACHINE`."""
    release: str
    revision: Revision
    today: MemState
    """The first state: what it was booted with, and may have grown to."""
    least: Sequence[Need]
    most: Sequence[Need]
    """Both in the order of ``asked_ns``."""
    maps: int
    """Recorded maps that got slots."""
    failures: int
    """Those that failed, each attempt counted."""
    failed_needs: int
    """Buffers that failed, each counted once however often it was tried."""
    failures_of: Counter[int]
    names: dict[int, DeviceName]
    growth_wait_ns: int
    """The longest from a full pool to a new one that was recorded; 0 where none was."""
    damage: str
    """Why the recording could not be read to its end; the rest is not in the demand."""
    assumptions: tuple[Assumption, ...]

    @property
    def is_one(self) -> bool:
        """Whether nothing is between ``least`` and ``most``."""
        return self.least is self.most

    @cached_property
    def devices(self) -> tuple[int, ...]:
        """Those that asked, in the order in which they first did; 0 stands for what was mapped before."""
        return tuple(dict.fromkeys(need.dev for need in self.most))

    def name_of(self, dev: int) -> str:
        """As ``/sys/bus`` names a device."""
        if not dev:
            return "mapped before"
        known = self.names.get(dev)
        return known.name if known and known.name else f"{dev:#x}"


def demand_of(
    called: str, release: str, stream: Stream, recorded: Revision, revision: Revision | None = None
) -> Demand:
    """The demand of a stream, in one pass over it.

    :param called: how people call what was recorded.
    :param recorded: what the kernel that was recorded has; it says how its records are to be read.
    :param revision: what other configurations have; None: the same.
    :raises UnreadableError: the stream holds no state, no map, or too many; or nothing before its damage.
    """
    reader = DemandReader(called, recorded, revision or recorded)
    try:
        for item in stream:
            tell(item, reader)
    except UnreadableError as error:
        reader.damage = str(error)
    return reader.demand(release)


class _Open(NamedTuple):
    """A mapping that is not released yet."""

    asked_ns: int
    had_ns: int
    cpu: int
    dev: int
    request: Request
    until_ns: int = NEVER_NS
    """When another had its slots."""


class DemandReader(Consumer):
    """Pairs each map with its release, by the address of the slot that its buffer begins in."""

    def __init__(self, called: str, recorded: Revision, revision: Revision) -> None:
        self._called = called
        self._recorded = recorded
        self._revision = revision
        self._same = recorded == revision
        self._state: MemState | None = None
        self._blind = True
        self._starts: dict[int, int] = {}
        """Where each pool that was announced begins."""
        self._listed: set[int] = set()
        self._limits: dict[int, Limits] = {}
        self._elsewhere: set[int] = set()
        """Devices with an allocator of their own."""
        self._open: defaultdict[int, deque[_Open]] = defaultdict(deque)
        """By the address of a slot, or of a pool whose place nobody told; of several, the oldest is released first."""
        self._attempts = Attempts()
        self.damage = ""
        """Why the stream could not be read to its end."""
        self._names: dict[int, DeviceName] = {}
        self._count: Counter[str] = Counter()
        self._maps = 0
        """Those that failed, and what was mapped before, among them."""
        self._last_ns = 0
        self._full_since_ns = 0
        """When a search first found no room in the pools on the list; 0: since the latest growth none did."""
        self._growth_wait_ns = 0

    # ---- the stream ----------------------------------------------------

    def state(self, mem: MemState) -> None:
        """:raises CannotError: the kernel's slot sets are not those that the reference knows."""
        check_slot_sets(mem)
        self._state = self._state or mem
        self._last_ns = max(self._last_ns, mem.begin_ns)
        for pool in mem.pools:
            self._starts[pool.address] = pool.start
            self._listed.add(pool.address)
        if self._blind:
            self._blind = False
            if mem.settled:
                self._adopt(mem)
            else:
                self._count["unsettled"] += 1

    def gap(self, gap: Gap) -> None:
        """What was mapped is taken to be over: the next state shows what is not."""
        self._count["lost"] += max(gap.lost, 1)
        self._blind = True
        self._last_ns = max(self._last_ns, gap.begin_ns)
        self._close_all(gap.begin_ns)

    def name(self, name: DeviceName) -> None:
        if name.name:
            self._names[name.dev] = name

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Find):
                self._find(event)
            elif isinstance(event, Unmap):
                self._unmap(event)
            elif isinstance(event, Map):
                self._map(event)
            else:
                self._rare(event)
        if events:
            self._last_ns = max(self._last_ns, max(event.exit_ns for event in events))

    def _rare(self, event: Event) -> None:
        if isinstance(event, Device):
            self._limits[event.dev] = Limits(
                event.seg_boundary_mask, event.min_align_mask, event.dma_mask, event.bus_dma_limit
            )
            if self._state and event.mem != self._state.address:
                self._elsewhere.add(event.dev)
            else:
                self._elsewhere.discard(event.dev)
        elif isinstance(event, PoolAlloc | PoolAdd | Grow):
            if event.pool:
                self._starts[event.pool] = event.start
            if isinstance(event, Grow):
                self._grown(event)
        elif isinstance(event, Free):
            self._count["elsewhere"] += 1

    def _grown(self, event: Grow) -> None:
        self._listed.add(event.pool)
        since_ns = self._full_since_ns or assumed_entry_ns(event)
        self._growth_wait_ns = max(self._growth_wait_ns, event.exit_ns - since_ns)
        self._full_since_ns = 0

    # ---- maps and releases ---------------------------------------------

    def _find(self, event: Find) -> None:
        if event.dev in self._elsewhere:
            self._count["elsewhere"] += 1
            return
        limits = self._limits.get(event.dev)
        if limits is None:
            limits = self._unknown(event.dev)
        asked = Request(event.orig_addr, event.alloc_size_bytes, event.alloc_align_mask, limits)
        request = asked if self._same else self._as_asked_of(asked)
        if event.slot < 0:
            self._failed(event, request)
            return
        start = self._starts.get(event.pool)
        data_slot = event.slot + self._recorded.pad_slots(asked)
        if not self._full_since_ns and event.pool not in self._listed:
            self._full_since_ns = event.exit_ns
        self._mapped(event, request, event.pool if start is None else slot_addr(start, data_slot))

    def _map(self, event: Map) -> None:
        if event.dev in self._elsewhere:
            self._count["elsewhere"] += 1
            return
        limits = self._limits.get(event.dev)
        if limits is None:
            self._unknown(event.dev)
        request = self._recorded.request_of(event, limits)
        if not self._same:
            allocated = None if self._revision.rounds_size else event.alloc_size_bytes or None
            sizes = event.mapping_size_bytes, event.orig_addr, event.alloc_align_mask
            request = self._revision.request(*sizes, request.limits, allocated)
        if event.tlb_addr == DMA_MAPPING_ERROR:
            self._failed(event, request)
        else:
            self._mapped(event, request, event.tlb_addr & _SLOT)

    def _unknown(self, dev: int) -> Limits:
        self._count["unknown"] += 1
        return Limits()

    def _as_asked_of(self, asked: Request) -> Request:
        """What the mapping behind a search would ask of another revision."""
        padding_bytes = self._recorded.padding_bytes(asked.orig_addr, asked.alloc_align_mask, asked.limits)
        size_bytes = max(asked.alloc_size_bytes - padding_bytes, 1)
        return self._revision.request(size_bytes, asked.orig_addr, asked.alloc_align_mask, asked.limits)

    def _failed(self, event: Find | Map, request: Request) -> None:
        self._check_count()
        if request.alloc_size_bytes > 0:
            end_ns = event.exit_ns
            starts = starts_of(self._revision, request)
            asked_ns = assumed_entry_ns(event)
            self._attempts.failed.append(Need(asked_ns, end_ns, end_ns, end_ns, event.cpu, event.dev, request, starts))

    def _mapped(self, event: Find | Map, request: Request, key: int) -> None:
        self._check_count()
        if request.alloc_size_bytes > 0:
            there = self._open[key]
            if there:  # it was given back before, whenever that is told
                there[-1] = there[-1]._replace(until_ns=event.exit_ns)
            there.append(_Open(assumed_entry_ns(event), event.exit_ns, event.cpu, event.dev, request))

    def _unmap(self, event: Unmap) -> None:
        if event.dev in self._elsewhere:
            self._count["elsewhere"] += 1
            return
        for key in (event.tlb_addr & _SLOT, event.pool):
            there = self._open.get(key)
            if there:
                opened = there.popleft()
                if not there:
                    del self._open[key]
                self._close(opened, assumed_entry_ns(event), event.exit_ns)
                return
        self._count["unpaired"] += 1

    def _adopt(self, mem: MemState) -> None:
        """What is mapped before the first record; nobody knows since when, or for whom."""
        begin_ns = mem.begin_ns
        for state in mem.pools:
            for mapping in adopt(state, rule=self._recorded.rule, check=False).pool.mappings():
                self._check_count()
                self._count["before"] += 1
                request = Request(mapping.orig_addr, mapping.nslots * IO_TLB_SIZE, 0, Limits())
                key = slot_addr(state.start, mapping.slot + mapping.pad_slots)
                self._open[key].append(_Open(begin_ns, begin_ns, 0, 0, request))

    def _close(self, opened: _Open, freeing_ns: int, freed_ns: int) -> None:
        asked_ns, had_ns, cpu, dev, request, until_ns = opened
        freeing_ns = max(min(freeing_ns, until_ns), had_ns)
        freed_ns = max(freeing_ns, freed_ns)
        starts = starts_of(self._revision, request)
        self._attempts.had.append(Need(asked_ns, had_ns, freeing_ns, freed_ns, cpu, dev, request, starts))

    def _close_all(self, freeing_ns: int) -> None:
        for there in self._open.values():
            for opened in there:
                self._close(opened, freeing_ns, self._last_ns)
        self._open.clear()

    def _check_count(self) -> None:
        self._maps += 1
        if self._maps > MOST_NEEDS:
            raise UnreadableError(
                f"{self._called}: more than {MOST_NEEDS:,} maps are more than are sized at once; record for less time"
            )

    # ---- what came of it -------------------------------------------------

    def demand(self, release: str) -> Demand:
        """All of it. :raises UnreadableError: there was no state, or no map."""
        if self.damage and not (self._state and self._maps):
            raise UnreadableError(self.damage)
        if self._state is None:
            raise UnreadableError(
                f"{self._called}: there is no state of the allocator, so nothing can be sized; record anew"
            )
        self._close_all(self._last_ns)
        if not self._attempts.had and not self._attempts.failed:
            raise UnreadableError(f"{self._called}: there is no map to size swiotlb by; record while devices work")
        self._count["damage"] = int(bool(self.damage))
        bracketed = bracket(self._attempts, self._last_ns)
        failures_of = Counter(need.dev for need in self._attempts.failed)
        failed = [self._names[dev] for dev in failures_of if dev in self._names]
        return Demand(
            self._called,
            release,
            self._revision,
            self._state,
            bracketed.least,
            bracketed.most,
            len(self._attempts.had) - self._count["before"],
            len(self._attempts.failed),
            bracketed.failed_needs,
            failures_of,
            self._names,
            self._growth_wait_ns,
            self.damage,
            (
                *assumptions(self._count, len(self._attempts.failed), bracketed),
                *(queue(_shown(name), name.queue_requests) for name in failed if name.queue_requests),
            ),
        )


def _shown(name: DeviceName) -> str:
    """As people know a device."""
    return f"{name.name} ({name.known_as})" if name.known_as else name.name
