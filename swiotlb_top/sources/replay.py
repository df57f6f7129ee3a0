"""A recording, shown as it was at any time of it.

What is shown is made of the file and the position alone. It is the same whether the position was played to, stepped to
or sought, and however often it was looked at on the way. Who drives the source tells it how much time has passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias, TypeGuard

from swiotlb_top.accounting.frame import HISTORY, Recorded
from swiotlb_top.accounting.journal import Entry, Journal, disagreement
from swiotlb_top.accounting.past import DevicePast, Past
from swiotlb_top.accounting.snapshot import Playback, Snapshot
from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.events import Event, Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.sources import PlayOrder
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import End, Known, Records, TraceReader
from swiotlb_top.trace.length import length_ns

_AHEAD_NS: Final = 1_000_000_000
"""The judge is given events this much early: what overlaps an operation comes after it in the
stream, and what is shown of slots and of verdicts should belong to one time."""
_MARK_NS: Final = 100_000_000
"""Totals are kept once in so much recorded time: for rates, and for charts, which have a cell for each."""
_RATES_NS: Final = 1_000_000_000
"""Rates are of so much recorded time before the position, and of up to one mark more."""
_RECENT: Final = _RATES_NS // _MARK_NS + 2
"""So many marks are kept as whole snapshots."""

SLOWEST: Final = 0.01
FASTEST: Final = 64.0

_Step: TypeAlias = Event | MemState | DeviceName


class ReplaySource:
    """Feeds a recording to a pipeline up to a position.

    :param speed: how much faster than it was recorded, :data:`SLOWEST` to :data:`FASTEST`.
    :param start_ns: where it begins, and begins again.
    :param loops: whether it begins again after its end.
    :raises UnreadableError: the file is no recording, or holds no event.
    :raises UsageError: the recording is over before ``start_ns``.
    """

    def __init__(self, path: Path, speed: float = 1.0, start_ns: int = 0, *, loops: bool = False) -> None:
        self._path = path
        self._trace = TraceReader(path)
        self._speed = speed
        self._loops = loops
        self._start_ns = start_ns
        self._stopped = False
        self._length_ns = -1
        self._damage = ""
        self._end: End | None = None
        self._steps: Iterator[_Step | Known] = iter(())
        self._ahead: deque[_Step] = deque()
        self._shown: Snapshot | None = None
        self._begin_ns = self._latest_ns = self._accounted_ns = self._position_ns = 0
        self._rewind()
        if not any(_is_event(step) for step in self._ahead):
            raise UnreadableError(self._damage or f"{path} holds no events: record again while devices are busy")
        self._target_ns = start_ns
        self._go_on()
        if start_ns > self._length_ns >= 0:
            raise UsageError(
                f"the recording is {self._length_ns / 1e9:.2f} s long: it cannot begin at {start_ns / 1e9:g} s"
            )

    def snapshot(self) -> Snapshot:
        """What was to be seen at the position."""
        self._go_on()
        if self._shown is None:
            self._shown = self._take()
        playback = Playback(
            self._position_ns, self._length_ns, self._speed, self._stopped, self._loops, damage=self._damage
        )
        return replace(self._shown, playback=playback)

    def play(self, order: PlayOrder) -> None:
        """Move about in it. Back is the way from its beginning, so it takes as long as judging all that."""
        if order.passed_ns and not self._stopped:
            if self._loops and self._target_ns >= self._length_ns >= 0:
                self._target_ns = self._start_ns
            else:
                self._target_ns += int(order.passed_ns * self._speed)
        self._speed = min(max(self._speed * order.faster, SLOWEST), FASTEST)
        self._stopped ^= order.stop_or_go
        if self._length_ns >= 0:
            self._target_ns = min(self._target_ns, self._length_ns)
        self._target_ns = max(0, self._target_ns + order.seek_ns)

    def close(self) -> None:
        """Nothing is held open."""
        self._steps = iter(())
        self._ahead.clear()

    def _rewind(self) -> None:
        self._pipeline = Pipeline(self._trace.header.kernel)
        self._journal = Journal()
        self._steps = self._read()
        self._ahead.clear()
        self._marks: deque[Past] = deque(maxlen=HISTORY + 1)
        self._recent: deque[Snapshot] = deque(maxlen=_RECENT)
        self._begin_ns = self._latest_ns = 0
        self._look_ahead(0)
        self._accounted_ns = self._begin_ns
        self._move_to(0)
        self._mark()

    def _go_on(self) -> None:
        """Move to where the source was told to be, past one mark after the other."""
        if self._target_ns < self._position_ns:
            self._rewind()
        while True:
            if self._length_ns >= 0:
                self._target_ns = min(self._target_ns, self._length_ns)
            if self._position_ns >= self._target_ns:
                return
            mark_ns = max(self._position_ns // _MARK_NS + 1, self._next_worth_a_mark()) * _MARK_NS
            self._look_ahead(min(mark_ns, self._target_ns) + _AHEAD_NS)
            if self._length_ns >= 0:
                self._target_ns = min(self._target_ns, self._length_ns)
            self._move_to(min(mark_ns, self._target_ns))
            if self._position_ns == mark_ns:
                self._mark()

    def _next_worth_a_mark(self) -> int:
        """Number of the first mark that is looked back at from the target or from an event: others are passed over."""
        ahead = (step.exit_ns - self._begin_ns for step in self._ahead if _is_event(step))
        return min(next(ahead, self._target_ns), self._target_ns) // _MARK_NS - HISTORY

    def _move_to(self, position_ns: int) -> None:
        self._position_ns = position_ns
        self._shown = None
        until_ns = self._begin_ns + position_ns
        self._account(until_ns)
        if self._is_quiet():
            return
        if self._ahead:
            self._pipeline.advance(until_ns + _AHEAD_NS)
        else:
            self._pipeline.finish(whole=False)

    def _is_quiet(self) -> bool:
        """Nothing has happened for so long that all of it was judged before."""
        quiet_ns = self._begin_ns + self._position_ns - self._accounted_ns
        return bool(self._ahead) and quiet_ns > 2 * _AHEAD_NS + _MARK_NS

    def _mark(self) -> None:
        time_ns = self._begin_ns + self._position_ns
        if self._marks and self._accounted_ns <= self._marks[-1].time_ns:
            # Nothing has happened since: the totals are the same.
            self._marks.append(replace(self._marks[-1], time_ns=time_ns))
            self._recent.append(replace(self._recent[-1], time_ns=time_ns))
            return
        account = self._pipeline.account
        devices = {
            device.dev: DevicePast(device.maps, device.map_failures, device.mapped_bytes)
            for device in account.devices.values()
        }
        mapped_bytes = sum(device.mapped_bytes for device in devices.values())
        self._marks.append(Past(time_ns, account.used_slots, account.maps, account.map_failures, mapped_bytes, devices))
        self._recent.append(self._totals())

    def _totals(self) -> Snapshot:
        release = self._trace.header.kernel.release
        reason = f"a recording of {release} ({self._path.name})"
        return self._pipeline.snapshot(self._begin_ns + self._position_ns, "replay", reason)

    def _take(self) -> Snapshot:
        now = self._totals()
        since_ns = now.time_ns - HISTORY * _MARK_NS
        # The last cell of a chart is of half a mark at least.
        history = tuple(past for past in self._marks if since_ns <= past.time_ns <= now.time_ns - _MARK_NS // 2)
        before = [then for then in self._recent if then.time_ns <= now.time_ns - _RATES_NS] or [*self._recent][:1]
        journal = self._journal.entries(self._pipeline.account.begun_to_fail(), self._disagreement(now))
        return replace(
            now,
            recorded=Recorded(before[-1] if self._position_ns else None, history, journal),
            watched_ns=self._position_ns,
            uncounted=now.lost,
            notes=(*now.notes, *([f"not all of the recording can be read: {self._damage}"] if self._damage else [])),
        )

    def _disagreement(self, now: Snapshot) -> Entry | None:
        first = self._pipeline.judge.findings.first
        if first is None or first.time_ns > now.time_ns or now.verdict is None:
            return None
        return disagreement(first.time_ns, now.verdict.first_disagreement)

    def _read(self) -> Iterator[_Step | Known]:
        try:
            for item in self._trace:
                if isinstance(item, Records):
                    yield from item.events()
                elif isinstance(item, MemState | DeviceName | Gap | Known):
                    yield item
                elif isinstance(item, End):
                    self._end = item
        except UnreadableError as error:
            self._damage = str(error)

    def _look_ahead(self, position_ns: int) -> None:
        """Give the judge what comes up to then, and one event more."""
        batch: list[Event] = []
        for step in self._steps:
            if isinstance(step, Known):
                self._pipeline.judge.feed(batch)
                batch = []
                self._pipeline.known_before(step.before_ns)
                continue
            self._ahead.append(step)
            if isinstance(step, MemState):
                self._begin_ns = self._begin_ns or step.begin_ns
                self._pipeline.judge.feed(batch)
                batch = []
                self._pipeline.judge.state(step)
            elif not isinstance(step, DeviceName):
                batch.append(step)
                self._begin_ns = self._begin_ns or step.exit_ns
                self._latest_ns = max(self._latest_ns, step.exit_ns)
                if step.exit_ns > self._begin_ns + position_ns:
                    break
        else:
            self._length_ns = length_ns(self._begin_ns, self._latest_ns, self._end)
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
                    self._accounted_ns = step.begin_ns
                    self._journal.state(step)
                    account.state(step)
                else:
                    account.name(step)
            elif step.exit_ns > until_ns:
                break
            elif isinstance(step, Gap):
                account.feed(batch)
                batch = []
                self._accounted_ns = step.exit_ns
                self._journal.happened(step)
                account.gap(step)
            else:
                self._accounted_ns = step.exit_ns
                self._journal.happened(step)
                batch.append(step)
            self._ahead.popleft()
        account.feed(batch)


def _is_event(step: _Step) -> TypeGuard[Event]:
    return not isinstance(step, MemState | DeviceName)
