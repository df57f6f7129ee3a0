"""The calls around some events of a recording: before each, at the same time, and after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Free, Grow, Map, PoolAdd, PoolAlloc, Unmap
from swiotlb_top.state import MemState
from swiotlb_top.stream import Consumer, tell
from swiotlb_top.trace import TraceReader

_Call: TypeAlias = Find | Map | Unmap | Free | PoolAdd | Grow
_LATEST_NS: Final = 1_000_000_000
"""A call that is recorded this long after the event began after it."""
_MOST_OVERLAPPING: Final = 20


@dataclass(frozen=True, slots=True)
class Call:
    """One call, in a line."""

    relation: str
    """"before", "overlaps", "it" or "after"."""
    entry_ns: int
    """-1 if the entry was not seen."""
    exit_ns: int
    cpu: int
    """-1 if it is not recorded."""
    what: str

    def line(self, zero_ns: int) -> str:
        """For a table; times in microseconds from ``zero_ns``."""
        mark = {"overlaps": "*", "it": ">"}.get(self.relation, " ")
        entry = f"{(self.entry_ns - zero_ns) / 1000:.1f}" if self.entry_ns >= 0 else "?"
        exit_ = f"{(self.exit_ns - zero_ns) / 1000:.1f}"
        cpu = f"CPU {self.cpu}" if self.cpu >= 0 else ""
        return f"{mark} {entry:>9} {exit_:>9}  {cpu:6} {self.what}".rstrip()


def around(path: Path, moments: Sequence[tuple[Event | None, int]], count: int) -> list[tuple[Call, ...]]:
    """The calls around each of some events, in the order in which they returned, as far as the recording can be read.

    The recording is read once, up to the last of them.

    :param moments: the events, each with the time at which it returned; None for the calls around that time.
    :param count: how many calls before an event, and how many after it; in addition come up to 20 that overlap it.
    """
    found = _AroundEach([_Around(event, time_ns, count) for event, time_ns in moments])
    with suppress(UnreadableError):  # the report says so
        for item in TraceReader(path).stream():
            if found.is_over:
                break
            tell(item, found)
    return [one.calls() for one in found.each]


class _AroundEach(Consumer):
    """Passes a stream on to those whose event is not over yet."""

    def __init__(self, each: list[_Around]) -> None:
        self.each = each

    @property
    def is_over(self) -> bool:
        return all(one.is_over for one in self.each)

    def state(self, mem: MemState) -> None:
        for one in self.each:
            one.state(mem)

    def feed(self, events: Sequence[Event]) -> None:
        for one in self.each:
            if not one.is_over:
                one.feed(events)


class _Around(Consumer):
    """Sorts the calls of a stream into those before, at the same time as, and after one of its events."""

    def __init__(self, event: Event | None, time_ns: int, count: int) -> None:
        self._event = event
        self._time_ns = time_ns
        self._begin_ns = event.entry_ns if isinstance(event, _Call) and event.entry_ns >= 0 else time_ns
        self._count = count
        self._starts: dict[int, int] = {}
        """Where each pool begins, by its address."""
        self.before: deque[Call] = deque(maxlen=count)
        self.there: list[Call] = []
        self.after: list[Call] = []
        self.is_over = False
        """Whether no call is still to come that began before the event was over."""

    def calls(self) -> tuple[Call, ...]:
        """All of them, in the order in which they returned."""
        return tuple(sorted((*self.before, *self.there, *self.after), key=lambda call: call.exit_ns))

    def state(self, mem: MemState) -> None:
        self._starts.update((pool.address, pool.start) for pool in mem.pools)

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, PoolAlloc | PoolAdd | Grow):
                self._starts[event.pool] = event.start
            if isinstance(event, _Call) and not self.is_over:
                self._sort_in(event)

    def _sort_in(self, call: _Call) -> None:
        if call == self._event:
            self.there.append(self._told("it", call))
        elif call.exit_ns < self._begin_ns:
            self.before.append(self._told("before", call))
        elif call.entry_ns == ENTRY_UNKNOWN or call.entry_ns <= self._time_ns:
            if len(self.there) < _MOST_OVERLAPPING:
                self.there.append(self._told("overlaps", call))
        elif len(self.after) < self._count:
            self.after.append(self._told("after", call))
        elif call.exit_ns > self._time_ns + _LATEST_NS:
            self.is_over = True

    def _told(self, relation: str, call: _Call) -> Call:
        return Call(relation, call.entry_ns, call.exit_ns, getattr(call, "cpu", -1), _in_words(call, self._starts))


def _in_words(call: _Call, starts: dict[int, int]) -> str:
    match call:
        case Find():
            place = "failed" if call.failed else f"slot {call.slot} of {_pool(call.pool, starts)}"
            return f"search {call.alloc_size_bytes} bytes: {place}"
        case Map():
            place = "failed" if call.failed else f"{call.tlb_addr:#x}"
            return f"map {call.mapping_size_bytes} bytes: {place}"
        case Unmap() | Free():
            return f"release {call.tlb_addr:#x}"
        case PoolAdd() | Grow():
            return f"pool {call.start:#x} of {call.nslabs} slots added" if call.pool else "no growth"


def _pool(address: int, starts: dict[int, int]) -> str:
    return f"{starts[address]:#x}" if address in starts else "an unknown pool"
