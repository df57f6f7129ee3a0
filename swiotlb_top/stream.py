"""The one way of the data: a stream of items, from a kernel or from a recording, is delivered to a consumer.

A recording is a stream from its first state to its end. A burst of the live source is one too: names, a gap since the
burst before, a state, and the records that came after it. Whoever wants to know what happened is a :class:`Consumer`,
and :func:`deliver` tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.records import RECORD_BYTES, count, decode, exits_ns, known, raw, split_after
from swiotlb_top.state import DeviceName, MemState


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive ``struct record``s, 64 bytes each, as they left the ring buffer."""

    data: bytes

    @property
    def count(self) -> int:
        """Number of records."""
        return count(self.data)

    @property
    def last_ns(self) -> int:
        """When the last call was over; 0 if there is no record."""
        return raw(self.data, self.count - 1).exit_ns if self.data else 0

    def split(self, time_ns: int) -> tuple[Records, Records | None]:
        """Split behind the first call that returned after ``time_ns``; the second part is None if nothing is left."""
        first, rest = split_after(self.data, time_ns)
        return (Records(first), Records(rest)) if rest else (self, None)

    def events(self) -> Iterator[Event]:
        """Decode them. :raises UnreadableError: a record has a kind that this swiotlb-top does not know."""
        try:
            yield from decode(self.data)
        except ValueError as error:
            raise UnreadableError(f"the recording holds events this swiotlb-top does not know: {error}") from None


class Batch(Sequence[Event]):
    """Events that are still packed. They are decoded when somebody looks at one of them, and then all at once.

    :param data: records of known kinds.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._events: list[Event] | None = None

    def __len__(self) -> int:
        return len(self.data) // RECORD_BYTES

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Event]: ...
    def __getitem__(self, at: int | slice) -> Event | Sequence[Event]:
        return self._decoded()[at]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._decoded())

    def part(self, begin: int, end: int) -> Iterable[Event]:
        """Those from one place on up to before another. The others are not decoded for that."""
        if self._events is not None:
            return self._events[begin:end]
        return decode(memoryview(self.data)[begin * RECORD_BYTES : end * RECORD_BYTES])

    def _decoded(self) -> list[Event]:
        if self._events is None:
            self._events = list(decode(self.data))
        return self._events


def ended_ns(events: Sequence[Event]) -> list[int]:
    """When each of these events was over."""
    return exits_ns(events.data) if isinstance(events, Batch) else [event.exit_ns for event in events]


@dataclass(frozen=True, slots=True)
class End:
    """How a recording ended. ``counters`` are the kernel side's own, to check the records against."""

    counters: Mapping[str, int]
    duration_ns: int
    lost: int
    """Records the ring buffer had no room for, over the whole recording."""


@dataclass(frozen=True, slots=True)
class Known:
    """Every call that was entered before ``before_ns`` has returned, and its record precedes this in the stream."""

    before_ns: int


Item: TypeAlias = MemState | Records | DeviceName | Gap | Known | End
Stream: TypeAlias = Iterable[Item]


class Consumer:
    """Receives a stream, item by item. A consumer overrides the methods for the items that it needs."""

    def state(self, mem: MemState) -> None:
        """The allocator's state was read: at the beginning, after a gap, or in between."""

    def feed(self, events: Sequence[Event]) -> None:
        """The next calls, in roughly the order in which they ended."""

    def gap(self, gap: Gap) -> None:
        """Events were lost, or not recorded for a while."""

    def name(self, name: DeviceName) -> None:
        """Name and driver of the device at an address."""

    def known_before(self, time_ns: int) -> None:
        """Every call that was entered before ``time_ns`` has returned, and was fed."""

    def end(self, end: End) -> None:
        """The stream is over, and nothing of it is missing."""


def deliver(stream: Stream, consumer: Consumer) -> None:
    """Deliver a whole stream to a consumer.

    :raises UnreadableError: the rest of the stream cannot be read. What precedes it has been delivered.
    """
    for item in stream:
        tell(item, consumer)


def tell(item: Item, consumer: Consumer) -> None:
    """Deliver one item to a consumer.

    :raises UnreadableError: it holds an event of an unknown kind. The events before that have been delivered.
    """
    if isinstance(item, Records):
        data = item.data[: known(item.data) * RECORD_BYTES]
        consumer.feed(Batch(data))
        for _ in Records(item.data[len(data) :]).events():
            pass  # the first of these, if there are any, is of an unknown kind
    elif isinstance(item, MemState):
        consumer.state(item)
    elif isinstance(item, DeviceName):
        consumer.name(item)
    elif isinstance(item, Gap):
        consumer.gap(item)
    elif isinstance(item, Known):
        consumer.known_before(item.before_ns)
    else:
        consumer.end(item)
