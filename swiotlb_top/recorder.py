"""Record a running kernel: its state, then every event, until told to stop."""

from __future__ import annotations

import platform
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from swiotlb_top import __version__
from swiotlb_top.accounting.in_use import of_state
from swiotlb_top.command import Command, exit_status, in_words, refuse_what_cannot_run
from swiotlb_top.errors import UsageError
from swiotlb_top.events import Gap
from swiotlb_top.probes.compile.flags import RING_BYTES
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.read.program import Calls, Mode
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.records import count, exits_ns, quiet_before, split_at, split_before, tally
from swiotlb_top.signals import noted
from swiotlb_top.state import How, MemState
from swiotlb_top.trace import Header, Sink
from swiotlb_top.trace.files import Files, Limit, refuse_to_overwrite
from swiotlb_top.trace.introductions import Introductions
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS

_DRAIN_INTERVAL_S: Final = 0.05
COUNTED: Final = Calls._fields
"""What the kernel side counts of each device, and :func:`.tally` of records."""
_FIRST_STATE_TRIES: Final = 25
_KNOWN_INTERVAL_NS: Final = 1_000_000_000
"""How often the time up to which no call is missing is determined and written to the file."""
_LAST_RECORDS_S: Final = 0.1
"""How long records are still awaited after the probes stop, so that the records match the counters."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a recording is."""

    elapsed_ns: int
    records: int
    size_bytes: int
    lost: int


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What a recording holds."""

    names: str
    """Where it was written to."""
    replayable: Path | None
    """The file to replay: the last one; None: it went to standard output."""
    size_bytes: int
    records: int
    lost: int
    duration_ns: int
    counters: dict[str, int]
    """What the probes counted, by :data:`COUNTED`; empty if they did not count all."""
    command_status: int = 0
    """-N where signal N ended the command."""

    @property
    def exit_code(self) -> int:
        """That of the command."""
        return exit_status(self.command_status)

    def as_text(self) -> str:
        """A few lines for people."""
        counted, calls = self.counters, ""
        if counted:
            calls = f"maps {counted['maps']}, failed {counted['map_failures']}, unmaps {counted['unmaps']}, "
        lines = [
            f"{self.names}: {self.records} events in {self.duration_ns / 1e9:.1f} s, {self.size_bytes} bytes",
            f"{calls}lost {self.lost}",
        ]
        if self.command_status:
            lines.append(in_words(self.command_status))
        if self.replayable:
            lines.append(f"next: swiotlb-top replay {self.replayable}")
        return "\n".join(lines)


def record(
    output: Path | BinaryIO,
    duration_s: float | None,
    command: tuple[str, ...],
    *,
    limit: Limit | None = None,
    watch: Callable[[Standing], object] = lambda _: None,
    prefer: How = How.FENTRY,
    ring_bytes: int = RING_BYTES,
    images: Images = COMPILED,
) -> RecordReport:
    """Record into ``output`` until the command ends, ``duration_s`` is over, or SIGINT or SIGTERM comes.

    A command still running then is ended.

    :param output: a new file, or standard output. What the command writes on its own standard output goes to standard
        error in the latter case.
    :param limit: of each file, if there may be several. Each of them can be replayed by itself.
    :param watch: is told how far it is, some times a second.
    :param prefer: which kind of probe to try first.
    :param ring_bytes: size of the ring buffer, a power of two times the page size.
    :param images: what has the program compiled.
    :raises CannotError: this kernel or these privileges do not allow it, or the file cannot be written.
    :raises UnreadableError: as :meth:`.Images.image`.
    :raises UsageError: the command cannot be started.
    """
    if isinstance(output, Path):
        refuse_to_overwrite(output, limit)
    refuse_what_cannot_run(command)
    with (
        noted(signal.SIGINT, signal.SIGTERM) as stopped,
        Session(prefer=prefer, ring_bytes=ring_bytes, images=images) as session,
        Files(output, header_of(session), limit) as files,
    ):
        try:
            return Recording(session, files, watch).run(duration_s, command, stopped)
        except UsageError:
            files.discard()  # the command did not start, so that nothing of it was recorded
            raise


def header_of(session: Session) -> Header:
    """The header of a recording that begins now."""
    return Header(
        session.kernel,
        __version__,
        clock="CLOCK_MONOTONIC",
        started_realtime_ns=time.time_ns(),
        started_monotonic_ns=now_ns(),
        host=platform.node(),
    )


class Recorder:
    """Writes what a session tells to a sink, from a first state to a last one."""

    def __init__(self, session: Session, trace: Sink) -> None:
        self._session, self._trace = session, trace
        self._introductions = Introductions()
        self._records = 0
        self._lost = 0
        self._lost_before = session.program.faults().lost_events
        self._lost_before_file = 0
        self._blind = True
        self._settled = False
        self._left_out: Counter[str] = Counter()
        self._checked_ns = now_ns()
        self._known_ns = 0

    def _begin(self) -> None:
        """The first state. What came before it is in it, and only counted off."""
        introductions = self._wait_for_older_calls()
        for _ in range(_FIRST_STATE_TRIES):
            state, earlier, later = self._session.settle()
            self._leave_out(earlier)
            if not self._note_losses():
                self._begin_from(state)
            self._write(introductions + later)
            introductions = b""
            if not self._blind:
                return

    def _wait_for_older_calls(self) -> bytes:
        """Wait until calls are over that were not seen to begin.

        Returns the records that introduce a device; the others until then are only counted off.
        """
        introductions: list[bytes] = []

        def take() -> None:
            over, introducing = split_at(self._session.drain(), now_ns())
            self._leave_out(over)
            introductions.append(introducing)

        self._session.wait_for_older_calls(take)
        return b"".join(introductions)

    def _leave_out(self, records: bytes) -> None:
        """Count off records that precede the first state."""
        self._left_out += tally(records)

    def _drain(self) -> None:
        """Write the records that are in the ring. After a loss, and as long as there is no state, read the state."""
        if now_ns() - self._known_ns >= _KNOWN_INTERVAL_NS:
            self._drain_to_what_is_known()
        else:
            records = self._session.drain()
            self._note_losses()
            self._write(records)
        self._checked_ns = now_ns()
        if self._blind:
            self._read_state()

    def _drain_to_what_is_known(self) -> bytes:
        """Take what is in the ring, and say up to when no call is missing; what was in it."""
        records, known_ns = self._session.drain_to_what_is_known()
        lost = self._note_losses()
        self._write(records)
        if not lost:
            self._tell_known(known_ns)
        self._known_ns = now_ns()
        return records

    def _tell_known(self, known_ns: int) -> None:
        """Say up to when no call is missing.

        While calls may be under way that were not seen to begin, no moment is known: the file says so by 0, since
        otherwise its reader takes states to show what there is to know.
        """
        self._trace.known(known_ns if self._session.has_every_entry() else 0)

    def _read_state(self) -> tuple[MemState, bool]:
        """Read a state and write it at its place in the stream; also whether no call ran while it was read."""
        asked_ns = now_ns()
        state, earlier, later = self._session.settle()
        lost = self._note_losses()
        self._write(earlier)
        if not lost:
            self._begin_from(state)
        self._write(later)
        return state, state.settled and not _ended_since(asked_ns, earlier + later)

    def _begin_from(self, state: MemState) -> None:
        """Write a state: if events were lost before, the stream can be judged again from here on."""
        self._trace.state(state)
        if self._blind:
            self._blind = False
            self._settled = state.settled

    def _note_losses(self) -> bool:
        """Write a gap for what the probes lost, in front of the records among which it is missing."""
        lost = max(0, self._session.program.faults().lost_events - self._lost_before - self._lost)
        if lost:
            self._lost += lost
            self._trace.gap(Gap(self._checked_ns, now_ns(), lost, "ring buffer full or probe missed"))
            self._blind = True
        return bool(lost)

    def _stop(self) -> tuple[MemState, dict[str, int], bool]:
        """The last state, against which a replay holds the reference's, and the kernel side's own counts.

        Counters and records stop together: where nothing was lost, they must be equal. There are no counts if there
        were more devices than the probes have room for. Also whether nothing happened since the state was asked for.
        """
        state, quiet = self._read_state()
        since = self._drain_to_what_is_known()
        self._session.set_mode(Mode.STOP)
        time.sleep(_LAST_RECORDS_S)
        last = self._session.drain()
        self._note_losses()
        self._write(last)
        self._tell_late_names()
        _, calls = self._session.program.counted()
        counted = {name: count - self._left_out[name] for name, count in calls._asdict().items()}
        if self._session.program.faults().uncounted_calls:
            counted = {}
        return state, counted, quiet and not since and not last

    def _end_file(self, state: MemState, counted: dict[str, int], duration_ns: int, *, quiet: bool) -> None:
        """Write the end.

        :param state: the last one.
        :param quiet: whether nothing happened since it was asked for.
        """
        in_use = of_state(state)
        counters = counted | {
            "nslabs": state.nslabs,
            "total_used": in_use.used_slots,
            "used_hiwater": in_use.used_hiwater_slots,
            "transient_nslabs": state.transient_nslabs,
            "quiet": int(self._settled and quiet),
        }
        self._trace.end(counters, duration_ns, self._lost - self._lost_before_file)

    def _tell_late_names(self) -> None:
        """A disk may get its name after its controller's first map: ask again what unnamed devices are known by."""
        for before in self._introductions.not_known_as():
            name = self._session.device_name(before.dev)
            if name.known_as and name.name == before.name:
                self._trace.device_name(name)

    def _write(self, records: bytes) -> None:
        if not records:
            return
        for name in self._session.device_names(records):
            self._trace.device_name(name)
            self._introductions.name(name)
        self._introductions.records(records)
        self._trace.records(records)
        self._records += count(records)


class Recording(Recorder):
    """One recording under way, into files."""

    def __init__(self, session: Session, files: Files, watch: Callable[[Standing], object] = lambda _: None) -> None:
        super().__init__(session, files.trace)
        self._files = files
        self._watch = watch
        self._begin_ns = 0
        self._file_begin_ns = 0

    def run(self, duration_s: float | None, command: tuple[str, ...], stopped: list[int]) -> RecordReport:
        self._begin()
        self._begin_ns = self._file_begin_ns = now_ns()
        child = Command(command, shares_output=self._files.output is not None) if command else None
        try:
            until_ns = self._begin_ns + int(duration_s * 1e9) if duration_s is not None else None
            while not stopped and (until_ns is None or now_ns() < until_ns) and (child is None or child.runs):
                self._look()
            if child:
                child.end(self._look, interrupted=signal.SIGINT in stopped)
        finally:
            if child:
                child.end()
        self._drain()
        duration_ns = now_ns() - self._begin_ns
        counters = self._finish(duration_ns)
        return RecordReport(
            self._files.names(),
            self._files.path,
            self._files.size_bytes,
            self._records,
            self._lost,
            duration_ns,
            counters,
            child.status if child else 0,
        )

    def _look(self) -> None:
        """Take what came in a while."""
        time.sleep(_DRAIN_INTERVAL_S)
        self._drain()
        if self._files.is_full:
            self._begin_another_file()
        self._watch(Standing(now_ns() - self._begin_ns, self._records, self._files.size_bytes, self._lost))

    def _begin_another_file(self) -> None:
        """End the file with a state, and begin another with the same one.

        The file ends at a moment at which no call was under way, so that none is missing that others depend on; what
        came after the state is in the next one. On a machine that is too busy there may be no such moment, and a
        recording knows nothing of transient pools from before it: a better moment is awaited until the file is a
        quarter larger.
        """
        may_wait = not self._files.is_overfull
        if may_wait and self._session.sizes().transient_nslabs > 0:
            return
        introductions = self._introductions.copy()
        state, earlier, later = self._session.settle()
        lost = self._note_losses()
        self._write(earlier)
        if lost:
            self._write(later)
            return  # this file goes on until it is known again how things stand
        self._begin_from(state)
        since, known_ns = self._session.drain_to_what_is_known()
        records = later + since
        quiet_ns = quiet_before(records, known_ns, ASSUMED_DURATION_NS)
        is_quiet = state.settled and quiet_ns > state.end_ns
        if self._note_losses() or (may_wait and not is_quiet):
            self._write(records)
            return
        before, after = split_before(records, quiet_ns) if is_quiet else (records, b"")
        self._write(before)
        self._tell_known(quiet_ns if is_quiet else known_ns)
        self._end_file(state, {}, now_ns() - self._file_begin_ns, quiet=False)
        self._begin_file_from(state, introductions, before)
        self._write(after)
        self._tell_known(known_ns)

    def _begin_file_from(self, state: MemState, introductions: Introductions, records: bytes) -> None:
        """Begin another file with a state, the devices there were then, and what follows it in the file before."""
        self._files.begin_another(header_of(self._session))
        self._trace = self._files.trace
        self._file_begin_ns, self._lost_before_file = now_ns(), self._lost
        self._settled = state.settled
        self._trace.state(state)
        introductions.tell(self._trace, state.end_ns)
        self._trace.records(records)

    def _finish(self, duration_ns: int) -> dict[str, int]:
        """Stop. The counters are of all files, so that a file that is one of several does not have them."""
        state, counted, quiet = self._stop()
        file_duration_ns = duration_ns - (self._file_begin_ns - self._begin_ns)
        self._end_file(state, counted if self._files.is_only else {}, file_duration_ns, quiet=quiet)
        return counted


def _ended_since(time_ns: int, records: bytes) -> bool:
    return any(exit_ns >= time_ns for exit_ns in exits_ns(records))
