"""Counts what a recording holds, in one walk that decodes and judges no event."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from swiotlb_top import records
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Gap
from swiotlb_top.records import Kind
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Consumer, End, Item, Records, tell
from swiotlb_top.trace.reader import TraceReader


@dataclass(slots=True)
class Survey(Consumer):
    """What one stream holds. Times are on the kernel's monotonic clock."""

    begin_ns: int = 0
    """When the first state was read or the first call returned, whichever is recorded first; 0 if there is neither."""
    last_ns: int = 0
    """When the last call returned."""
    kinds: Counter[Kind] = field(default_factory=Counter)
    first_state: MemState | None = None
    states: int = 0
    gaps: int = 0
    lost: int = 0
    names: dict[int, DeviceName] = field(default_factory=dict)
    """The latest name of each device, by the address of its ``struct device``."""
    devices: set[int] = field(default_factory=set)
    """The addresses of all devices that introduced themselves, or that have a name."""
    ended: End | None = None
    damage: str = ""
    """Why it cannot be read to its end; empty if it can."""

    @property
    def length_ns(self) -> int:
        """From the beginning to the last call, or to when recording stopped if the recording says that."""
        return max(0, self.last_ns - self.begin_ns, self.ended.duration_ns if self.ended else 0)

    @property
    def events(self) -> int:
        return self.kinds.total()

    def take(self, item: Item) -> None:
        """Count the next item.

        :raises UnreadableError: it holds records of a kind that is not known.
        """
        if isinstance(item, Records):
            self._records(item.data)
        else:
            tell(item, self)

    def state(self, mem: MemState) -> None:
        self.states += 1
        self.begin_ns = self.begin_ns or mem.begin_ns
        if self.first_state is None:
            self.first_state = mem

    def gap(self, gap: Gap) -> None:
        self.gaps += 1
        self.lost += gap.lost
        self.last_ns = max(self.last_ns, gap.exit_ns)

    def name(self, name: DeviceName) -> None:
        self.names[name.dev] = name
        self.devices.add(name.dev)

    def end(self, end: End) -> None:
        self.ended = end

    def _records(self, data: bytes) -> None:
        exits_ns = records.exits_ns(data)
        if not exits_ns:
            return
        self.begin_ns = self.begin_ns or exits_ns[0]
        self.last_ns = max(self.last_ns, max(exits_ns))
        self.devices.update(records.raw(data, place).object for place in records.of_kind(data, Kind.DEVICE))
        for kind, count in Counter(records.kinds(data)).items():
            try:
                self.kinds[Kind(kind)] += count
            except ValueError:
                raise UnreadableError(f"the recording holds records of kind {kind}, which nobody knows") from None


def survey(trace: TraceReader) -> Survey:
    """Walk a recording up to its end, or to where it is damaged."""
    found = Survey()
    try:
        for item in trace.stream():
            found.take(item)
    except UnreadableError as error:
        found.damage = str(error)
    return found
