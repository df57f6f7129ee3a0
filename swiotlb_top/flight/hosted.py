"""A flight recorder beside the live source, on the same probes: what the exporter hosts.

The probes do not stop for a file, since the source goes on counting: the file has no counts of the kernel side. What
follows a file is held without a break. The recorder runs in a thread of its own, and who asks the source for a snapshot
never waits for a file.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from swiotlb_top.accounting.snapshot import FlightView, Snapshot
from swiotlb_top.errors import CannotError
from swiotlb_top.flight.beside import Beside
from swiotlb_top.flight.recorder import Flight, Plan, also, answered, put
from swiotlb_top.flight.shelf import Shelf
from swiotlb_top.flight.triggers import ASKED, Alarm
from swiotlb_top.probes.read.program import Calls
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.signals import noted
from swiotlb_top.sources import Source
from swiotlb_top.sources.live import LiveSource
from swiotlb_top.sources.logged import logged
from swiotlb_top.trace.introductions import Introductions


class Hosted:
    """A flight recorder that waits for the live source to be opened.

    :param came: fills with SIGUSR1, which asks for a file.
    :param say: is told of each file, and of each that cannot be written.
    """

    def __init__(self, plan: Plan, shelf: Shelf, came: list[int], say: Callable[[str], object]) -> None:
        self._plan, self._shelf, self._came, self._say = plan, shelf, came, say
        self._session: Session | None = None
        kinds = dict.fromkeys([*(trigger.kind for trigger in plan.triggers), ASKED], 0)
        self._view = FlightView(str(plan.directory), fired=tuple(kinds.items()))

    def open_live(self) -> Source:
        """The live source, on probes that record. :raises CannotError: as :func:`.open_live`."""
        session = Session(images=self._plan.images)
        source = logged(LiveSource(session.another()))
        self._session = session
        return source

    def retold(self, snapshot: Snapshot) -> Snapshot:
        """A snapshot of whatever source was opened, with how the recorder does."""
        return replace(snapshot, flight=self._view)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record in a thread until the end, if the live source is open. A file that is being written is finished.

        :raises CannotError: files cannot be written without the privileges that were given up.
        """
        if self._session is None:
            yield
            return
        self._shelf.check()
        thread = threading.Thread(target=self._run, args=(self._session,), name="flight", daemon=True)
        try:
            thread.start()
            yield
        finally:
            self._came.append(signal.SIGTERM)
            if thread.is_alive():
                thread.join()

    def _run(self, session: Session) -> None:
        try:
            self._fly(session)
        except CannotError as error:
            self._say(f"the flight recorder ends: {error}")
        finally:
            self._view = replace(self._view, recording=False, held_bytes=0)

    def _fly(self, session: Session) -> None:
        alarm, known = Alarm(self._plan.triggers, self._plan.rearm_ns), Introductions()
        judge = self._judge(session, known) if alarm.needs_judge else None
        flight = Flight(session, self._plan, known, Calls(), judge)
        flight.begin()

        def looked() -> None:
            self._view = replace(self._view, recording=True, held_bytes=flight.size_bytes)

        while reason := flight.watch(alarm, self._came, looked):
            wall_ns = time.time_ns()
            path = self._shelf.place_for(wall_ns, reason)
            self._fires(reason)
            flight.pause(self._came)
            more = also(judge, reason)
            try:
                self._say(put(flight, self._shelf, path) + more)
            except CannotError as error:
                self._view = replace(self._view, not_written=self._view.not_written + 1)
                self._say(str(error))
            else:
                self._wrote(path, reason, wall_ns)
            answered(self._came)

    def _judge(self, session: Session, known: Introductions) -> Beside | None:
        """The judge beside the recorder. Where none can be had, there are the other triggers."""
        try:
            return Beside(session.kernel, known, self._say, now_ns)
        except CannotError as error:
            self._say(f"no file is written for a disagreement: {error}")
            return None

    def _fires(self, reason: str) -> None:
        fired = dict(self._view.fired)
        fired[reason] += 1
        self._view = replace(self._view, fired=tuple(fired.items()))

    def _wrote(self, path: Path, reason: str, wall_ns: int) -> None:
        self._view = replace(
            self._view, files=self._view.files + 1, last_file=str(path), last_trigger=reason, last_wall_ns=wall_ns
        )


@contextmanager
def hosted(plan: Plan, say: Callable[[str], object]) -> Iterator[Hosted]:
    """A flight recorder in this process, whose main thread this is. SIGUSR1 asks it for a file.

    :raises CannotError: another one writes into its directory, or it cannot be written to.
    """
    # Signals first: who reads the process id may send one at once.
    with noted(signal.SIGUSR1) as came, Shelf(plan.directory, plan.keep) as shelf:
        yield Hosted(plan, shelf, came, say)
