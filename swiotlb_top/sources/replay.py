"""A recording, shown in the time it was recorded in, or faster, or stopped; over and over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias, TypeGuard

from swiotlb_top.accounting.snapshot import Playback, Snapshot
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.sources import PlayOrder
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Records, TraceReader

_AHEAD_NS: Final = 1_000_000_000
"""The judge is given events this much early: what overlaps an operation comes after it in the
stream, and what is shown of slots and of verdicts should belong to one time."""

SLOWEST: Final = 0.01
FASTEST: Final = 64.0

_Step: TypeAlias = Event | MemState | DeviceName


class ReplaySource:
    """Feeds a recording to a pipeline as time goes by.

    :param clock: nanoseconds of a monotonic clock.
    :param speed: how much faster than it was recorded, :data:`SLOWEST` to :data:`FASTEST`.
    :raises UnreadableError: the file is no recording, or holds no event.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.monotonic_ns, speed: float = 1.0) -> None:
        self._path = path
        self._trace = TraceReader(path)
        self._clock = clock
        self._speed = speed
        self._stopped = False
        self._length_ns = -1
        self._position_ns = 0
        self._steps: Iterator[_Step] = iter(())
        self._ahead: deque[_Step] = deque()
        self._rewind()
        if not any(_is_event(step) for step in self._ahead):
            raise UnreadableError(f"{path} holds no events: record again while devices are busy")

    def snapshot(self) -> Snapshot:
        """What was to be seen at the position that playing has come to; from the end on, it begins anew."""
        self._move_on()
        if not self._ahead and not self._stopped:
            self._rewind()
        until_ns = self._first_ns + self._position_ns
        self._look_ahead(until_ns + _AHEAD_NS)
        self._account(until_ns)
        if self._ahead:
            self._pipeline.advance(until_ns + _AHEAD_NS)
        else:
            self._pipeline.finish()
        release = self._trace.header.kernel.release
        reason = f"a recording of {release} ({self._path.name})"
        position_ns = self._position_ns if self._length_ns < 0 else min(self._position_ns, self._length_ns)
        playback = Playback(position_ns, self._length_ns, self._speed, self._stopped)
        now = self._pipeline.snapshot(until_ns, "replay", reason)
        return replace(now, playback=playback, watched_ns=position_ns, uncounted=now.lost)

    def play(self, order: PlayOrder) -> None:
        """Move about in it. Back is the way from its beginning, so it takes as long as judging all that."""
        self._move_on()
        self._speed = min(max(self._speed * order.faster, SLOWEST), FASTEST)
        if order.stop_or_go:
            self._stopped = not self._stopped
        if not order.seek_ns:
            return
        position_ns = max(0, self._position_ns + order.seek_ns)
        if self._length_ns >= 0:
            position_ns = min(position_ns, self._length_ns)
        if order.seek_ns < 0:
            self._rewind()
        self._position_ns = position_ns

    def close(self) -> None:
        """Nothing is held open."""
        self._steps = iter(())
        self._ahead.clear()

    def _rewind(self) -> None:
        self._pipeline = Pipeline(self._trace.header.kernel)
        self._steps = self._read()
        self._ahead.clear()
        self._position_ns = 0
        self._first_ns = self._latest_ns = 0
        self._moved_ns = self._clock()
        self._look_ahead(0)

    def _move_on(self) -> None:
        """Let the time since the last call go by."""
        now_ns = self._clock()
        if not self._stopped:
            self._position_ns += int((now_ns - self._moved_ns) * self._speed)
        self._moved_ns = now_ns

    def _read(self) -> Iterator[_Step]:
        for item in self._trace:
            if isinstance(item, Records):
                yield from item.events()
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
                self._first_ns = self._first_ns or step.exit_ns
                self._latest_ns = max(self._latest_ns, step.exit_ns)
                if step.exit_ns > until_ns:
                    break
        else:
            self._length_ns = self._latest_ns - self._first_ns
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
