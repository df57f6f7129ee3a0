"""Record a running kernel: its state, then every event, until told to stop."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Final

from swiotlb_top import __version__
from swiotlb_top.errors import CannotError, Exit, UsageError
from swiotlb_top.events import RECORD, Gap
from swiotlb_top.probes.program import Totals
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.trace import Header, TraceWriter

_DRAIN_INTERVAL_S: Final = 0.05
_SETTLED_AFTER_S: Final = 0.1
"""What was under way when the recording was told to stop has this long to show up."""


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What a recording holds."""

    output: Path
    records: int
    lost: int
    duration_ns: int
    counters: dict[str, int]
    command_status: int | None

    @property
    def exit_code(self) -> Exit:
        return Exit.OK

    def as_text(self) -> str:
        """A few lines for people."""
        counted = self.counters
        size_bytes = self.output.stat().st_size
        lines = [
            f"{self.output}: {self.records} events in {self.duration_ns / 1e9:.1f} s, {size_bytes} bytes",
            f"maps {counted['maps']}, failed {counted['map_failures']}, unmaps {counted['unmaps']}, lost {self.lost}",
        ]
        if self.command_status:
            lines.append(f"the command ended with status {self.command_status}")
        lines.append(f"next: swiotlb-top replay {self.output}")
        return "\n".join(lines)


def record(output: Path, duration_s: float | None, command: tuple[str, ...]) -> RecordReport:
    """Record into ``output`` until the command ends, ``duration_s`` is over, or SIGINT or SIGTERM comes.

    A command still running when the time is over is terminated.

    :raises CannotError: this kernel or these privileges do not allow it; the file cannot be written.
    :raises UsageError: the command cannot be started.
    """
    _refuse_to_overwrite(output)
    with _stop_signals() as stopped, Session() as session:
        header = Header(session.kernel, __version__, "CLOCK_MONOTONIC", time.time_ns())
        with TraceWriter(output, header) as trace:
            return _Recording(session, trace, output).run(duration_s, command, stopped)


class _Recording:
    """One recording under way."""

    def __init__(self, session: Session, trace: TraceWriter, output: Path) -> None:
        self._session = session
        self._trace = trace
        self._output = output
        self._records = 0
        self._lost = 0
        self._checked_ns = now_ns()

    def run(self, duration_s: float | None, command: tuple[str, ...], stopped: list[int]) -> RecordReport:
        state, _, records = self._session.settle()
        before = self._counters()
        begin_ns = now_ns()
        self._trace.state(state)
        self._write(records)
        child = _start(command)
        try:
            until_ns = begin_ns + int(duration_s * 1e9) if duration_s is not None else None
            while not stopped and (child is None or child.poll() is None):
                if until_ns is not None and now_ns() >= until_ns:
                    break
                time.sleep(_DRAIN_INTERVAL_S)
                self._drain()
        finally:
            _end(child)
        time.sleep(_SETTLED_AFTER_S)
        self._drain()
        duration_ns = now_ns() - begin_ns
        counters = self._finish(before, duration_ns)
        return RecordReport(
            self._output, self._records, self._lost, duration_ns, counters, child.returncode if child else None
        )

    def _finish(self, before: dict[str, int], duration_ns: int) -> dict[str, int]:
        """The last state, against which a replay holds the reference's, and the kernel side's own counts."""
        state, earlier, later = self._session.settle()
        self._write(earlier)
        self._trace.state(state)
        self._write(later)
        after = self._counters()
        counters = {name: after[name] - before[name] for name in after}
        counters |= {
            "nslabs": state.nslabs,
            "total_used": state.total_used,
            "used_hiwater": state.used_hiwater,
            "transient_nslabs": state.transient_nslabs,
            "settled": int(state.settled),
        }
        self._trace.end(counters, duration_ns, self._lost)
        return counters

    def _drain(self) -> None:
        """Take what is in the ring; where the kernel side lost some, say so first and read the state anew."""
        records = self._session.drain()
        lost = self._session.program.faults().lost_events - self._lost
        if not lost:
            self._write(records)
            self._checked_ns = now_ns()
            return
        self._lost += lost
        self._trace.gap(Gap(self._checked_ns, now_ns(), lost, "ring buffer full or probe missed"))
        self._write(records)
        state, earlier, later = self._session.settle()
        self._write(earlier)
        self._trace.state(state)
        self._write(later)
        self._checked_ns = now_ns()

    def _write(self, records: bytes) -> None:
        if not records:
            return
        for name in self._session.device_names(records):
            self._trace.device_name(name)
        self._trace.records(records)
        self._records += len(records) // RECORD.size

    def _counters(self) -> dict[str, int]:
        totals = self._session.program.totals().values()
        return {field.name: sum(getattr(device, field.name) for device in totals) for field in fields(Totals)}


def _refuse_to_overwrite(output: Path) -> None:
    """Say so before the probes are attached, not after the recording."""
    if output.exists():
        raise CannotError(f"{output} exists: choose another name, or remove it first")
    if not output.absolute().parent.is_dir():
        raise CannotError(f"{output.absolute().parent} is no directory: make it first")


def _start(command: tuple[str, ...]) -> subprocess.Popen[bytes] | None:
    if not command:
        return None
    try:
        return subprocess.Popen(command)
    except OSError as error:
        raise UsageError(f"cannot run {command[0]}: {error.strerror}") from None


def _end(child: subprocess.Popen[bytes] | None) -> None:
    if child is None or child.poll() is not None:
        return
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=2)
        return
    child.kill()
    child.wait()


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the recording and keep it; the list fills with what came."""
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
