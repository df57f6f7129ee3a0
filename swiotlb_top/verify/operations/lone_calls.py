"""Calls that overlap no other, as they lie in memory: a run of them is judged at once, or one after the other.

A :class:`Run` is cut out of a block of records before anything is known of what they mean. :class:`LoneCalls` are those
of which the pools and devices are known, so that each has an operation, which is only made if it is needed.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final, NamedTuple

from swiotlb_top.allocator import Limits, Pool, Request, Revision
from swiotlb_top.constants import IO_TLB_SHIFT
from swiotlb_top.events import Event, Find, Map, Unmap
from swiotlb_top.native import core
from swiotlb_top.records import RECORD_BYTES, decode
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import ADDRESS_UNSEEN, SlotSearch

SHORTEST: Final = 32
"""Fewer calls than this are judged one after the other: so many take as long as to prepare more."""
_MOST_RUNS: Final = 4096
_TIMES: Final = Struct("<QI")


class Run:
    """Packed records of calls, none of which overlaps any other of its block; each begins after those before it.

    :param data: a block of records.
    :param begin: the place of the first.
    :param end: that behind the last.
    """

    __slots__ = ("begin", "data", "end")

    def __init__(self, data: bytes, begin: int, end: int) -> None:
        self.data = data
        self.begin = begin
        self.end = end

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def entry_ns(self) -> int:
        """When the first was invoked."""
        return self._entry_ns(self.begin)

    @property
    def exit_ns(self) -> int:
        """When the last responded."""
        return self._exit_ns(self.end - 1)

    @property
    def first_exit_ns(self) -> int:
        """When the first responded."""
        return self._exit_ns(self.begin)

    @property
    def address(self) -> int:
        """Where the first lies in memory."""
        base = ctypes.cast(ctypes.c_char_p(self.data), ctypes.c_void_p).value
        return (base or 0) + self.begin * RECORD_BYTES

    def part(self, begin: int, end: int) -> Run:
        """Those from one place on up to before another."""
        return Run(self.data, begin, end)

    def events(self) -> Iterator[Event]:
        """Decode them."""
        return decode(memoryview(self.data)[self.begin * RECORD_BYTES : self.end * RECORD_BYTES])

    def overlapping(self, begin_ns: int, end_ns: int) -> tuple[int, int]:
        """Which of them were under way at some time from ``begin_ns`` to ``end_ns``: the first, and the one behind."""
        first, places = self.first_later(begin_ns), range(self.begin, self.end)
        return first, max(first, self.begin + bisect_right(places, end_ns, key=self._entry_ns))

    def first_later(self, time_ns: int) -> int:
        """The place of the first that responded at ``time_ns`` or later."""
        return self.begin + bisect_left(range(self.begin, self.end), time_ns, key=self._exit_ns)

    def _entry_ns(self, place: int) -> int:
        exit_ns, took_ns = _TIMES.unpack_from(self.data, place * RECORD_BYTES)
        return int(exit_ns - took_ns)

    def _exit_ns(self, place: int) -> int:
        return int(_TIMES.unpack_from(self.data, place * RECORD_BYTES)[0])


def runs_in(data: bytes) -> list[Run]:
    """The runs in a block of records that are worth it; none where the native core is not there."""
    library, count = core(), len(data) // RECORD_BYTES
    if library is None or count < SHORTEST:
        return []
    numbers = ctypes.c_uint64 * min(_MOST_RUNS, count // SHORTEST)
    begins, lengths, scratch = numbers(), numbers(), ctypes.create_string_buffer(count)
    found = library.lone_runs(data, count, SHORTEST, scratch, begins, lengths, len(begins))
    return [Run(data, begin, begin + length) for begin, length in zip(begins[:found], lengths[:found], strict=True)]


class Meaning(NamedTuple):
    """What the addresses in records mean, for a while."""

    pools: Mapping[int, tuple[Pool, int]]
    """Pools on the allocator's list, by address, and since when each is there."""
    devices: Mapping[int, Limits]
    """The limits of those devices that introduced themselves and map from this allocator."""
    told_from_ns: int
    """After this time the address of a slot tells the pool."""
    revision: Revision


class LoneCalls:
    """Searches and releases that overlap no other operation, in pools and of devices that are known.

    :param run: is used up as they are judged.
    :param meaning: what the addresses meant when they responded.
    """

    def __init__(self, run: Run, meaning: Meaning) -> None:
        self.run = run
        self.judged_ns = 0
        """The response of the last of those that were judged at once; 0 if none was."""
        self._events: Iterator[Event] | None = None
        """From the first on, if that was asked for before."""
        self.meaning = meaning
        self.entry_ns = run.entry_ns
        self.exit_ns = run.exit_ns

    @property
    def compared(self) -> int:
        """How many are not judged yet. All of them are compared."""
        return len(self.run)

    def first(self) -> Operation:
        """The first that is not judged yet. Asked for once, before :meth:`judged`."""
        if self._events is None:
            self._events = self.run.events()
        event = next(self._events)
        if isinstance(event, Find):
            return self._search(event)
        return self._map(event) if isinstance(event, Map) else self._release(event)  # type: ignore[arg-type]

    def _search(self, event: Find) -> SlotSearch:
        limits = self.meaning.devices[event.dev]
        request = Request(event.orig_addr, event.alloc_size_bytes, event.alloc_align_mask, limits)
        entry_ns, exit_ns, cpu, _ = event[:4]
        pool, _ = self.meaning.pools[event.pool]
        return SlotSearch(event, entry_ns, exit_ns, cpu, event.dev, request, pool, event.slot, ADDRESS_UNSEEN)

    def _map(self, event: Map) -> SlotSearch:
        revision = self.meaning.revision
        request = revision.request_of(event, self.meaning.devices[event.dev])
        entry_ns, exit_ns, cpu, _ = event[:4]
        pool = self._pool_around(event.tlb_addr)
        slot = ((event.tlb_addr - pool.start) >> IO_TLB_SHIFT) - revision.pad_slots(request)
        return SlotSearch(event, entry_ns, exit_ns, cpu, event.dev, request, pool, slot, event.tlb_addr)

    def _pool_around(self, tlb_addr: int) -> Pool:
        return next(pool for pool, _ in self.meaning.pools.values() if pool.start <= tlb_addr < pool.end)

    def _release(self, event: Unmap) -> Release:
        limits = self.meaning.devices[event.dev]
        pool = self.meaning.pools[event.pool][0] if event.pool else self._pool_around(event.tlb_addr)
        entry_ns, exit_ns, _, dev, _, tlb_addr, size_bytes = event[:7]
        return Release(event, entry_ns, exit_ns, dev, pool, tlb_addr, limits.min_align_mask, size_bytes)

    def judged(self) -> None:
        """The first is judged."""
        self.run.begin += 1

    def judged_at_once(self, calls: int) -> None:
        """So many from the first on are judged."""
        if calls:
            self.judged_ns = self.run.part(self.run.begin, self.run.begin + calls).exit_ns
            self.run.begin += calls
            self._events = None
