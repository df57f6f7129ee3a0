"""A recording, shown as it was at any time of it.

A snapshot depends on the file and the position alone: it is the same whether the position was played to, stepped to or
sought, and however many snapshots were taken on the way. The source has no clock: :meth:`ReplaySource.play` tells it
how much time has passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.frame import HISTORY, Recorded
from swiotlb_top.accounting.journal import Entry, Journal
from swiotlb_top.accounting.onlooker import Scenes
from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.readings import Reading, with_reading
from swiotlb_top.accounting.snapshot import Playback, Snapshot
from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.ahead import AHEAD_NS, JudgedAhead, Upcoming
from swiotlb_top.sources.disagreements import Disagreements, neighbour
from swiotlb_top.stream import deliver
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace.items import PARTIAL

_MARK_NS: Final = 100_000_000
"""The totals are kept at a mark every tenth of a second of recorded time: for rates, and for the cells of charts."""
_RATES_NS: Final = 1_000_000_000
"""A rate is taken over this much recorded time before the position, and over up to one mark more."""
_RECENT: Final = _RATES_NS // _MARK_NS + 2
"""How many of the latest marks are kept as whole snapshots."""

SLOWEST: Final = 0.01
FASTEST: Final = 64.0


class _Noted(Disagreements, Scenes):
    """What is shown of a recording besides what is counted."""


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
        self._told = ""
        self._disagreements_at: dict[int, str] | None = None
        """By each position from which on more disagreements are known than before, the first of these in words; None:
        nobody asked."""
        self._shown: Snapshot | None = None
        self._position_ns = 0
        self._rewind()
        if self._pipeline.backlog.next_ns is None:
            raise UnreadableError(self._damage or f"{path} holds no events: record again while devices are busy")
        self._target_ns = start_ns
        self._go_on()
        if start_ns > self._length_ns >= 0:
            raise UsageError(
                f"the recording is {self._length_ns / 1e9:.2f} s long: it cannot begin at {start_ns / 1e9:g} s"
            )

    @property
    def recording(self) -> Path:
        """The file."""
        return self._path

    def snapshot(self) -> Snapshot:
        """The snapshot at the position."""
        self._go_on()
        if self._shown is None:
            self._shown = self._take()
        playback = Playback(
            self._position_ns, self._length_ns, self._speed, self._stopped, self._loops, damage=self._damage
        )
        notes = (*self._shown.notes, self._told) if self._told else self._shown.notes
        return replace(self._shown, playback=playback, notes=notes)

    def play(self, order: PlayOrder) -> None:
        """Change position, speed, or whether it plays. To move back, it is judged again from the beginning."""
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
        if order._replace(passed_ns=0) != PlayOrder():
            self._told = ""
        if order.to_disagreement:
            self._go_to_disagreement(order.to_disagreement)

    def close(self) -> None:
        """Nothing is held open."""
        self._upcoming.give_up()

    def _go_to_disagreement(self, step: int) -> None:
        """Stop where the next disagreement is known, or the previous one. If there is none it stays where it is.

        The first time the whole recording is judged.
        """
        if self._disagreements_at is None:
            self._disagreements_at = type(self)(self._path)._find_disagreements()
        found_ns = neighbour([*self._disagreements_at], self._target_ns, step)
        if found_ns is None:
            there = "after this" if step > 0 else "before this"
            self._told = f"there is no disagreement {there if self._disagreements_at else 'in this recording'}"
        else:
            self._target_ns, self._stopped, self._told = found_ns, True, self._disagreements_at[found_ns]

    def _find_disagreements(self) -> dict[int, str]:
        """Go through the recording in steps of a mark. See :attr:`_disagreements_at`."""
        found: dict[int, str] = {}
        known: set[Entry] = set()
        while True:
            begin_ns, before = self._pipeline.begin_ns, known
            known = set(self._disagreements.until(begin_ns + self._position_ns))
            if new := known - before:
                first = min(new, key=lambda entry: (entry.time_ns, entry.sentence))
                found[self._position_ns] = f"disagreement at {(first.time_ns - begin_ns) / 1e9:.6f}s: {first.sentence}"
            if self._position_ns >= self._length_ns >= 0:
                return found
            self._target_ns = self._position_ns + _MARK_NS
            self._go_on()

    @property
    def _disagreements(self) -> Disagreements:
        """What is claimed of the kernel; nothing if it is unknown."""
        judge = self._pipeline.judge
        return judge.listener if judge.left and isinstance(judge.listener, Disagreements) else Disagreements()

    def _rewind(self) -> None:
        self._journal = Journal()
        self._pipeline = JudgedAhead(self._trace.header.kernel, self._journal)
        self._pipeline.judge.listen(_Noted)
        self._upcoming = Upcoming(iter(self._trace.stream()))
        self._marks: deque[Past] = deque(maxlen=HISTORY + 1)
        self._readings: tuple[Reading, ...] = ()
        self._recent: deque[Snapshot] = deque(maxlen=_RECENT)
        self._look_ahead(0)
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
            self._look_ahead(min(mark_ns, self._target_ns) + AHEAD_NS)
            if self._length_ns >= 0:
                self._target_ns = min(self._target_ns, self._length_ns)
            self._move_to(min(mark_ns, self._target_ns))
            if self._position_ns == mark_ns:
                self._mark()

    def _next_worth_a_mark(self) -> int:
        """Number of the first mark that a chart at the target, or at the next event, reaches back to."""
        next_ns = self._pipeline.backlog.next_ns
        worth_ns = self._target_ns if next_ns is None else min(next_ns - self._pipeline.begin_ns, self._target_ns)
        return worth_ns // _MARK_NS - HISTORY

    def _move_to(self, position_ns: int) -> None:
        self._position_ns = position_ns
        self._shown = None
        self._pipeline.show(self._pipeline.begin_ns + position_ns)

    def _mark(self) -> None:
        time_ns = self._pipeline.begin_ns + self._position_ns
        if self._marks and self._pipeline.accounted_ns <= self._marks[-1].time_ns:
            # Nothing has happened since: the totals are the same.
            self._marks.append(replace(self._marks[-1], time_ns=time_ns))
            self._recent.append(replace(self._recent[-1], time_ns=time_ns))
        else:
            now = self._pipeline.counts(time_ns)
            self._marks.append(Past.of(now))
            self._recent.append(now)
        if len(self._marks) > 1:
            self._readings = with_reading(self._readings, self._marks[-2], self._marks[-1])

    def _take(self) -> Snapshot:
        release = self._trace.header.kernel.release
        reason = f"a recording of {release} ({self._path.name})"
        now = self._pipeline.snapshot(self._pipeline.begin_ns + self._position_ns, "replay", reason)
        since_ns = now.time_ns - HISTORY * _MARK_NS
        # The last cell of a chart is of half a mark at least.
        history = tuple(past for past in self._marks if since_ns <= past.time_ns <= now.time_ns - _MARK_NS // 2)
        before = [then for then in self._recent if then.time_ns <= now.time_ns - _RATES_NS] or [*self._recent][:1]
        last, readings = self._marks[-1], self._readings
        if now.time_ns - last.time_ns >= _MARK_NS // 2:
            readings = with_reading(readings, last, Past.of(now))
        known = self._disagreements.until(now.time_ns) if now.verdict else []
        journal = self._journal.entries(self._pipeline.account.devices.begun_to_fail(), known)
        return replace(
            now,
            recorded=Recorded(before[-1] if self._position_ns else None, history, journal, readings),
            watched_ns=self._position_ns,
            notes=(*now.notes, *self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self._trace.header.partial:
            yield f"the recording is partial: {PARTIAL}"
        if self._damage:
            yield f"not all of the recording can be read: {self._damage}"

    def _look_ahead(self, position_ns: int) -> None:
        """Deliver the stream to the pipeline up to ``position_ns``, and one event more."""
        pipeline = self._pipeline
        try:
            deliver(self._upcoming.until(lambda: pipeline.begin_ns + position_ns), pipeline)
        except UnreadableError as error:
            self._damage = str(error)
            self._upcoming.give_up()
        if self._upcoming.is_over:
            self._length_ns = pipeline.length_ns
