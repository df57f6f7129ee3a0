"""A recording, shown in the time it was recorded in, over and over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias, TypeGuard

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap, decode
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Records, TraceReader

_AHEAD_NS: Final = 1_000_000_000
"""The judge is given events this much early: what overlaps an operation comes after it in the
stream, and what is shown of slots and of verdicts should belong to one time."""

_Step: TypeAlias = Event | MemState | DeviceName


class ReplaySource:
    """Feeds a recording to a pipeline as time goes by.

    :param clock: nanoseconds of a monotonic clock.
    :raises UnreadableError: the file is no recording, or holds no event.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._trace = TraceReader(path)
        self._clock = clock
        self._steps: Iterator[_Step] = iter(())
        self._ahead: deque[_Step] = deque()
        self._rewind()
        if not any(_is_event(step) for step in self._ahead):
            raise UnreadableError(f"{path} holds no events: record again while devices are busy")

    def snapshot(self) -> Snapshot:
        """What was to be seen as long after the recording's start as the screen is open."""
        if not self._ahead:
            self._rewind()
        until_ns = self._first_ns + self._clock() - self._opened_ns
        self._look_ahead(until_ns + _AHEAD_NS)
        self._account(until_ns)
        if self._ahead:
            self._pipeline.advance(until_ns + _AHEAD_NS)
        else:
            self._pipeline.finish()
        release = self._trace.header.kernel.release
        return self._pipeline.snapshot(until_ns, "replay", f"a recording of {release} ({self._path.name})")

    def close(self) -> None:
        """Nothing is held open."""
        self._steps = iter(())
        self._ahead.clear()

    def _rewind(self) -> None:
        self._pipeline = Pipeline(self._trace.header.kernel)
        self._steps = self._read()
        self._ahead.clear()
        self._look_ahead(0)
        self._first_ns = min((step.exit_ns for step in self._ahead if _is_event(step)), default=0)
        self._opened_ns = self._clock()

    def _read(self) -> Iterator[_Step]:
        for item in self._trace:
            if isinstance(item, Records):
                try:
                    yield from decode(item.data)
                except ValueError as error:
                    raise UnreadableError(
                        f"{self._path} holds events this swiotlb-top does not know: {error}"
                    ) from None
            elif isinstance(item, MemState | DeviceName | Gap):
                yield item

    def _look_ahead(self, until_ns: int) -> None:
        """Give the judge what comes up to then, and one event more."""
        batch: list[Event] = []
        for step in self._steps:
            self._ahead.append(step)
            if isinstance(step, MemState):
                self._pipeline.judge.feed(batch)
                batch = []
                self._pipeline.judge.state(step)
            elif not isinstance(step, DeviceName):
                batch.append(step)
                if step.exit_ns > until_ns:
                    break
        self._pipeline.judge.feed(batch)

    def _account(self, until_ns: int) -> None:
        """Account for what happened up to then."""
        account, batch = self._pipeline.account, list[Event]()
        while self._ahead:
            step = self._ahead[0]
            if isinstance(step, MemState | DeviceName):
                account.feed(batch)
                batch = []
                if isinstance(step, MemState):
                    account.state(step)
                else:
                    account.name(step)
            elif step.exit_ns > until_ns:
                break
            elif isinstance(step, Gap):
                account.feed(batch)
                batch = []
                account.gap(step)
            else:
                batch.append(step)
            self._ahead.popleft()
        account.feed(batch)


def _is_event(step: _Step) -> TypeGuard[Event]:
    return not isinstance(step, MemState | DeviceName)


def open_replay(path: Path) -> ReplaySource:
    """A recording as a source. :raises UnreadableError: it is none."""
    return ReplaySource(path)
