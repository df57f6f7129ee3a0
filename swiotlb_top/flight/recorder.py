"""The flight recorder: records into memory, and writes a file when a trigger fires.

By itself it stops the probes for a file, as at the end of any recording, so that its counters are those of its events.
They start again as soon as it is written; what happens in between, some tenths of a second, is in no file. Where others
use the probes, too, they do not stop (``hosted.py``).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.in_use import of_state
from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.errors import CannotError
from swiotlb_top.flight.beside import Beside, Both
from swiotlb_top.flight.segments import Segments
from swiotlb_top.flight.shelf import Shelf
from swiotlb_top.flight.triggers import ASKED, DISAGREEMENT, Alarm, Sight, Trigger
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.read.program import Calls, Mode
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.recorder import Recorder, header_of
from swiotlb_top.signals import noted
from swiotlb_top.trace.introductions import Introductions

_LOOK_S: Final = 0.2
"""A look costs the same whether anything happened or not, and the ring has room for a million events a second."""
_TAIL_NS: Final = 1_000_000_000
"""For how long it still records after a trigger."""
_USE_INTERVAL_NS: Final = 1_000_000_000
_MOST_POSTPONED: Final = 5
"""After so many looks (a second) a segment begins even if transient pools are in use."""
STOPPING: Final = frozenset({signal.SIGINT, signal.SIGTERM})
"""The signals that end a flight."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a flight recorder."""

    directory: Path
    window_ns: int
    """How long a time before the trigger a file covers at least, if it was recorded that long."""
    limit_bytes: int
    """How much memory the segments may take. If they would take more, files begin later."""
    keep: int
    """How many files stay in the directory."""
    triggers: tuple[Trigger, ...]
    rearm_ns: int
    """For how long no trigger must have been true before one fires again."""
    images: Images = COMPILED
    """What has the program of the probes compiled."""


class Flight(Recorder):
    """From one start of the probes to the next stop: a recording of which only the latest part is kept.

    :param judge: is told the same; None if nobody judges.
    """

    def __init__(
        self, session: Session, plan: Plan, known: Introductions, counted: Calls, judge: Beside | None = None
    ) -> None:
        self._header = header_of(session)
        self._segments = Segments(self._header, plan.limit_bytes, known)
        self._judge = judge
        super().__init__(session, Both(self._segments, judge) if judge else self._segments)
        self._introductions = known
        self._window_ns = plan.window_ns
        self._counted = counted
        self._used_ns = 0
        self._postponed = 0
        self._credible = True

    @property
    def size_bytes(self) -> int:
        """How much is held, packed as in a file."""
        return self._segments.size_bytes

    def begin(self) -> None:
        """Read the first state, once the calls are over that nobody saw begin."""
        self._begin()

    def watch(self, alarm: Alarm, came: list[int], looked: Callable[[], object] = lambda: None) -> str:
        """Record until there is a reason to write a file.

        :param came: fills with the signals that come.
        :param looked: is called after each look.
        :returns: the reason; empty if a signal says to stop.
        """
        while not STOPPING.intersection(came):
            reason = ASKED if signal.SIGUSR1 in came else alarm.reason(self._sight(alarm))
            if reason:
                return reason
            self._segments.forget_before(now_ns() - self._window_ns)
            looked()
            time.sleep(_LOOK_S)
        return ""

    def finish(self, came: list[int]) -> None:
        """Record a little longer, read the last state, and stop the probes."""
        self._go_on(came)
        state, counted, quiet = self._stop()
        self._end_file(state, counted, 0, quiet=quiet)

    def pause(self, came: list[int]) -> None:
        """Record a little longer, and read a state with which a file can end. What follows it is kept, too.

        The file has no counts of the kernel side, since these go on.
        """
        self._go_on(came)
        state, quiet = self._read_state()
        since = self._drain_to_what_is_known()
        self._tell_late_names()
        self._end_file(state, {}, 0, quiet=quiet and not since)

    def write(self, path: Path) -> int:
        """Write what is kept, after :meth:`finish` or :meth:`pause`. Returns how long that is, in nanoseconds.

        :raises CannotError: the file cannot be written.
        """
        now = now_ns()
        length_ns = now - (self._segments.begin_ns or now)
        # By the wall clock as it is now: it may have been set since the probes were started.
        header = replace(
            self._header, started_monotonic_ns=now - length_ns, started_realtime_ns=time.time_ns() - length_ns
        )
        self._segments.write(path, header, self._counted)
        return length_ns

    def _go_on(self, came: list[int]) -> None:
        """Record until a little after a trigger."""
        until_ns = now_ns() + _TAIL_NS
        while now_ns() < until_ns and not STOPPING.intersection(came):
            time.sleep(_LOOK_S)
            self._drain()

    def _sight(self, alarm: Alarm) -> Sight:
        self._drain()
        time_ns, used, of_all = now_ns(), UNKNOWN, UNKNOWN
        if not self._blind and self._segments.is_due(time_ns - self._window_ns // 2):
            self._begin_segment()
        if alarm.watches_use and time_ns - self._used_ns >= _USE_INTERVAL_NS:
            self._used_ns = time_ns
            mem = self._session.sizes()
            in_use = of_state(mem, credible=self._credible)
            self._credible, used = in_use.credible, in_use.used_slots
            of_all = mem.nslabs + max(0, mem.transient_nslabs)
        disagreements = self._judge.take_disagreements() if self._judge else 0
        return Sight(time_ns, self._segments.take_failures(), used, of_all, disagreements)

    def _begin_segment(self) -> None:
        """Read the state, from which on a file can be judged, at a moment that suits.

        No state tells of the mappings in transient pools: a moment without any is awaited, but for so long only.
        """
        self._postponed += 1
        if self._postponed <= _MOST_POSTPONED and self._session.sizes().transient_nslabs > 0:
            return
        self._postponed = 0
        self._read_state()


def fly(
    plan: Plan,
    say: Callable[[str], object],
    complain: Callable[[str], object],
    attached: Callable[[], object] = lambda: None,
) -> None:
    """Record until SIGINT or SIGTERM, and write a file whenever a trigger fires or SIGUSR1 comes.

    :param say: is told that recording begins, and of each file.
    :param complain: is told when one cannot be written; the recorder goes on.
    :param attached: is called once the probes are attached; it may give up privileges.
    :raises CannotError: this kernel, these privileges or the directory do not allow it.
    """
    # Signals first: who reads the process id may send one at once.
    with (
        noted(*STOPPING, signal.SIGUSR1) as came,
        Shelf(plan.directory, plan.keep) as shelf,
        Session(images=plan.images) as session,
    ):
        attached()
        shelf.check()
        alarm, known, counted = Alarm(plan.triggers, plan.rearm_ns), Introductions(), Calls()
        judge = Beside(session.kernel, known, complain, now_ns) if alarm.needs_judge else None
        say(f"{plan.window_ns / 1e9:g} s are held in memory; files go to {plan.directory}; Ctrl-C ends it")
        while not STOPPING.intersection(came):
            flight = Flight(session, plan, known, counted, judge)
            flight.begin()
            if reason := flight.watch(alarm, came):
                path = shelf.place_for(time.time_ns(), reason)
                flight.finish(came)
                more = also(judge, reason)
                try:
                    say(put(flight, shelf, path) + more)
                except CannotError as error:
                    complain(str(error))
                answered(came)
                _, counted = session.program.counted()
                session.set_mode(Mode.RECORD)


def put(flight: Flight, shelf: Shelf, path: Path) -> str:
    """Write what a flight holds as the latest file of a shelf. Returns what is to be said of it.

    :raises CannotError: the file cannot be written.
    """
    length_ns = flight.write(path)
    shelf.put(path)
    return f"{path}: {length_ns / 1e9:.1f} s, {path.stat().st_size:,} bytes"


def answered(came: list[int]) -> None:
    """Whoever asked for a file until now has it."""
    while signal.SIGUSR1 in came:
        came.remove(signal.SIGUSR1)


def also(judge: Beside | None, reason: str) -> str:
    """What else a file shows than its reason says: a disagreement that became known while it was written."""
    if judge and judge.take_disagreements() and reason != DISAGREEMENT:
        return "; the reference disagrees with what is in it"
    return ""
