"""How many calls were under way at the same time as another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Free, Map, Unmap
from swiotlb_top.stream import Consumer

MOST: Final = 255
"""The largest count, since a count is one byte. A call that overlaps more has this count."""
_LONGEST_NS: Final = 5_000_000_000
"""More than any call takes: a record can hold at most 4.3 s."""
_BATCH: Final = 1 << 16


class Overlaps(Consumer):
    """Counts for each call of a stream how many other maps and unmaps it overlaps.

    A call whose beginning was not seen is taken for one that took no time.
    """

    def __init__(self) -> None:
        self.counts = bytearray()
        """One byte for each event of the stream, of any kind; 0 for what is no call."""
        self._waiting: list[tuple[int, int, int]] = []
        """Exit time, entry time and number of each call that is not counted yet, or that calls to come may overlap."""
        self._counted_ns = -1
        """The calls that returned before this time are counted."""
        self._latest_ns = 0
        self._count_at = _BATCH

    def feed(self, events: Sequence[Event]) -> None:
        place = len(self.counts)
        self.counts += bytes(len(events))
        for event in events:
            if isinstance(event, Find | Map | Unmap | Free):
                entry_ns = event.exit_ns if event.entry_ns == ENTRY_UNKNOWN else event.entry_ns
                self._waiting.append((event.exit_ns, entry_ns, place))
                self._latest_ns = max(self._latest_ns, event.exit_ns)
            place += 1
        if len(self._waiting) >= self._count_at:
            self._count(self._latest_ns - _LONGEST_NS)
            self._count_at = len(self._waiting) + _BATCH

    def finish(self) -> bytearray:
        """The stream is over: count the calls that are left, and return all counts."""
        self._count(self._latest_ns + 1)
        return self.counts

    def _count(self, before_ns: int) -> None:
        """Count for the calls that returned before a time, and forget those that no call to come can overlap."""
        exits_ns = sorted(span[0] for span in self._waiting)
        entries_ns = sorted(span[1] for span in self._waiting)
        for exit_ns, entry_ns, place in self._waiting:
            if self._counted_ns <= exit_ns < before_ns:
                others = bisect_right(entries_ns, exit_ns) - bisect_left(exits_ns, entry_ns) - 1
                self.counts[place] = min(others, MOST)
        self._counted_ns = max(self._counted_ns, before_ns)
        self._waiting = [span for span in self._waiting if span[0] >= before_ns - _LONGEST_NS]
