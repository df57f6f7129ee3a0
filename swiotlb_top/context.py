"""What went on around one event of a recording: the calls before it, at the same time, and after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Free, Grow, Map, PoolAdd, PoolAlloc, Unmap
from swiotlb_top.state import MemState
from swiotlb_top.trace import Records, TraceReader

_Call: TypeAlias = Find | Map | Unmap | Free | PoolAdd | Grow
_LATEST_NS: Final = 1_000_000_000
"""What is written so much later began later."""
_MOST_OVERLAPPING: Final = 20


@dataclass(frozen=True, slots=True)
class Call:
    """One call, in a line."""

    relation: str
    """"before", "overlaps", "it" or "after"."""
    entry_ns: int
    """-1 where it was not seen."""
    exit_ns: int
    cpu: int
    """-1 where it is not recorded."""
    what: str

    def line(self, zero_ns: int) -> str:
        """For a table; times in microseconds from ``zero_ns``."""
        mark = {"overlaps": "*", "it": ">"}.get(self.relation, " ")
        entry = f"{(self.entry_ns - zero_ns) / 1000:.1f}" if self.entry_ns >= 0 else "?"
        exit_ = f"{(self.exit_ns - zero_ns) / 1000:.1f}"
        cpu = f"CPU {self.cpu}" if self.cpu >= 0 else ""
        return f"{mark} {entry:>9} {exit_:>9}  {cpu:6} {self.what}".rstrip()


def around(path: Path, event: Event | None, time_ns: int, count: int) -> tuple[Call, ...]:
    """The calls around an event, in the order they ended.

    :param event: None for something that is no event, at ``time_ns``.
    :param count: how many before it and how many after it; of what overlaps it, there may be more.
    """
    begin_ns = event.entry_ns if isinstance(event, _Call) and event.entry_ns >= 0 else time_ns
    before: deque[Call] = deque(maxlen=count)
    there: list[Call] = []
    after: list[Call] = []
    for call, what in _calls(path):
        cpu = getattr(call, "cpu", -1)
        if call == event:
            there.append(Call("it", call.entry_ns, call.exit_ns, cpu, what))
        elif call.exit_ns < begin_ns:
            before.append(Call("before", call.entry_ns, call.exit_ns, cpu, what))
        elif call.entry_ns == ENTRY_UNKNOWN or call.entry_ns <= time_ns:
            if len(there) < _MOST_OVERLAPPING:
                there.append(Call("overlaps", call.entry_ns, call.exit_ns, cpu, what))
        elif len(after) < count:
            after.append(Call("after", call.entry_ns, call.exit_ns, cpu, what))
        elif call.exit_ns > time_ns + _LATEST_NS:
            break
    return tuple(sorted((*before, *there, *after), key=lambda call: call.exit_ns))


def _calls(path: Path) -> Iterator[tuple[_Call, str]]:
    """Every call of a recording, and what it did, as far as the file can be read."""
    starts: dict[int, int] = {}
    try:
        for item in TraceReader(path):
            if isinstance(item, MemState):
                starts.update((pool.address, pool.start) for pool in item.pools)
            elif isinstance(item, Records):
                for event in item.events():
                    if isinstance(event, PoolAlloc | PoolAdd | Grow):
                        starts[event.pool] = event.start
                    if isinstance(event, _Call):
                        yield event, _in_words(event, starts)
    except UnreadableError:
        return  # the report says so


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
    return f"{starts[address]:#x}" if address in starts else "a pool nobody announced"
