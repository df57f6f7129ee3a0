"""A recording, shown in the time it was recorded in, over and over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap, decode
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Item, Records, TraceReader


class ReplaySource:
    """Feeds a recording to a pipeline as time goes by.

    :param clock: nanoseconds of a monotonic clock.
    :raises UnreadableError: the file is no recording, or holds no event.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._trace = TraceReader(path)
        self._clock = clock
        self._items: Iterator[Item] = iter(())
        self._events: Iterator[Event] = iter(())
        self._next: Event | None = None
        self._rewind()
        if self._next is None:
            raise UnreadableError(f"{path} holds no events: record again while devices are busy")

    def snapshot(self) -> Snapshot:
        """What was to be seen as long after the recording's start as the screen is open."""
        if self._next is None:
            self._rewind()
        until_ns = self._first_ns + self._clock() - self._opened_ns
        batch: list[Event] = []
        while self._next is not None and self._next.exit_ns <= until_ns:
            batch.append(self._next)
            self._advance(batch)
        self._pipeline.feed(batch)
        if self._next is None:
            self._pipeline.finish()
        else:
            self._pipeline.advance(until_ns)
        release = self._trace.header.kernel.release
        return self._pipeline.snapshot(until_ns, "replay", f"a recording of {release} ({self._path.name})")

    def close(self) -> None:
        """Nothing is held open."""
        self._items = iter(())
        self._next = None

    def _rewind(self) -> None:
        self._pipeline = Pipeline(self._trace.header.kernel)
        self._items = iter(self._trace)
        self._events = iter(())
        self._advance([])
        self._first_ns = self._next.exit_ns if self._next is not None else 0
        self._opened_ns = self._clock()

    def _advance(self, batch: list[Event]) -> None:
        """Step to the next event; what else stands between two events goes to the pipeline in its place."""
        while True:
            self._next = self._next_event()
            if self._next is not None:
                return
            item = next(self._items, None)
            if item is None:
                return
            if isinstance(item, Records):
                self._events = decode(item.data)
            else:
                self._pipeline.feed(batch)
                batch.clear()
                if isinstance(item, MemState):
                    self._pipeline.state(item)
                elif isinstance(item, DeviceName):
                    self._pipeline.name(item)
                elif isinstance(item, Gap):
                    self._pipeline.gap(item)

    def _next_event(self) -> Event | None:
        try:
            return next(self._events, None)
        except ValueError as error:
            raise UnreadableError(f"{self._path} holds events this swiotlb-top does not know: {error}") from None


def open_replay(path: Path) -> ReplaySource:
    """A recording as a source. :raises UnreadableError: it is none."""
    return ReplaySource(path)
