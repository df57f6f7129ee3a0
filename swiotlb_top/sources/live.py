"""The running kernel: exact counters all the time, the reference's verdict in bursts.

Counters are kept by the probes and cost the same whatever the rate. Records flow only in short
bursts: the state is read, a burst is recorded and judged, and the probes go back to counting.
How long and how often is set by what judging costs here, so that a busy kernel on a slow machine
is still watched in time; how much was verified is in the verdict.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from swiotlb_top.accounting.assemble import Origin, assemble
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.onlooker import Scenes
from swiotlb_top.accounting.slots import SlotsView, slots_views
from swiotlb_top.accounting.snapshot import UNKNOWN, Snapshot
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.allocator import adopt
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Gap
from swiotlb_top.pipeline import Pipeline, Uncounted
from swiotlb_top.probes.compile.flags import SAMPLING_RING_BYTES
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.read.program import Mode
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.records import count
from swiotlb_top.sources.burst import Burst, cut
from swiotlb_top.sources.counted import Counted
from swiotlb_top.sources.sightings import Sightings
from swiotlb_top.stream import Item, Records, deliver
from swiotlb_top.verify import NOT_SAMPLED, Doubt, Findings

_SHARE_OF_TIME: Final = 0.1
"""At most this share of the time is spent in bursts, which slow the kernel down more than counting does."""
_SHARE_OF_CPU: Final = 0.015
"""At most this share of one CPU is spent on judging. The first burst does not count, as everything in it is done for
the first time."""
_BURST_S: Final = 0.2
_STEP_S: Final = 0.01
_PATIENCE_S: Final = 1.0
"""How much longer a burst goes on at most, while a call is under way that was entered before the state was read. Such a
call may be on a virtual CPU that does not run."""
_BURST_EVENTS: Final = 4000
"""A burst ends after this many events, and no more are judged: an event takes 512 bytes or more, and memory that was in
use once stays resident."""
_LEAST_NS: Final = 20_000_000
"""The time after the copy of the state that is judged at least, however many events are in it."""


class LiveSource:
    """Snapshots of the kernel this runs on.

    :param session: attached probes, closed with this source.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._since_ns = now_ns()
        self._counted = Counted(session)
        self._devices = Devices(session.device_name, session.around)
        self._reason = f"probed by {next(str(a) for a in session.program.plan.probed())}"
        self._pipeline: Pipeline | None = None
        self._notes = session.program.plan.notes()
        try:
            self._pipeline = Uncounted(session.kernel, devices=self._devices)
            self._pipeline.judge.listen(Scenes)
        except CannotError as unknown:
            self._notes = (*self._notes, str(unknown))
        self._slots: dict[int, SlotsView] = {}
        self._sightings = Sightings()
        self._sampled_ns = UNKNOWN
        self._next_burst_ns = 0
        self._has_judged = False
        self._operations_before = 0
        self._is_suspicious = False
        """Whether a burst disagreed, and that may have been for a call that nobody saw begin."""

    def snapshot(self) -> Snapshot:
        """The kernel now; also judges a burst if it is time for one.

        :raises CannotError: the kernel's memory can no longer be read.
        """
        if self._pipeline is not None:
            self._burst(self._pipeline, now_ns())
        totals = self._counted.totals()
        time_ns = now_ns()
        self._keep_devices(totals.devices)
        kernel, judge = self._session.kernel, self._pipeline.judge if self._pipeline else None
        origin = Origin("live", self._reason, kernel.release, kernel.hooks)
        shown = assemble(time_ns, origin, totals, self._devices, self._slots, judge, not_in_doubt=NOT_SAMPLED)
        return replace(
            shown,
            notes=(*self._notes, *shown.notes),
            sampled=judge is not None,
            sampled_ns=self._sampled_ns,
            watched_ns=time_ns - self._since_ns,
            programs=self._session.program.costs(),
        )

    def close(self) -> None:
        """Detach the probes."""
        self._counted.close()
        self._session.program.close()

    def _burst(self, pipeline: Pipeline, time_ns: int) -> None:
        """Record and judge a burst, if there were new calls and enough time has passed since the last burst."""
        if time_ns < self._next_burst_ns:
            return
        operations = sum(self._session.program.counted()[1])
        if self._slots and operations == self._operations_before:
            return
        self._operations_before = operations
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        burst = self._record()
        read = [adopt(pool, check=False).pool for pool in burst.state.pools]
        starts = [pool.start for pool in read]
        dated = self._sightings.seen(zip(starts, slots_views(read), strict=True), burst.state.begin_ns)
        views = zip(read, dated, strict=True)
        self._slots = {pool.address: self._counted.owned(pool.start, view) for pool, view in views}
        self._sampled_ns = burst.state.begin_ns
        self._keep_devices(self._counted.devices())
        self._judge(pipeline, burst)
        took_s = time.perf_counter() - began_s
        cost_s = time.thread_time() - began_cpu_s if self._has_judged else 0.0
        self._has_judged |= bool(burst.records)
        self._next_burst_ns = time_ns + int(max(took_s / _SHARE_OF_TIME, cost_s / _SHARE_OF_CPU) * 1e9)

    def _judge(self, pipeline: Pipeline, burst: Burst) -> None:
        """Let a burst be judged.

        A task that was preempted in a call before entries were noted is not waited for, since that takes long. It may
        be the reason of any disagreement. So the first burst that disagrees on a kernel that preempts is inconclusive,
        and those after it begin when such calls are over.
        """
        deliver(self._stream(burst), pipeline)
        withdrawn = _withdrawn(pipeline.judge.findings)
        findings = pipeline.finish(burst.until_ns, whole=burst.whole)
        self._is_suspicious |= not burst.whole and _withdrawn(findings) > withdrawn

    def _record(self) -> Burst:
        """A state, and what is recorded for a moment after it."""
        program = self._session.program
        try:
            self._begin_to_record()
            lost = program.faults().lost_events
            state, _, records = self._session.settle()
            copied_ns = max((pool.end_ns for pool in state.pools), default=state.begin_ns)
            end_s = time.perf_counter() + _BURST_S
            while count(records) < _BURST_EVENTS and time.perf_counter() < end_s:
                time.sleep(_STEP_S)
                records += self._session.drain()
            # A call that has been under way since before the state was copied leaves nothing to judge: wait for it.
            while self._session.known_now_ns() < copied_ns + _LEAST_NS and time.perf_counter() < end_s + _PATIENCE_S:
                time.sleep(_STEP_S)
                records += self._session.drain()
            last, until_ns = self._session.drain_to_what_is_known()
            records += last
            whole = self._session.has_every_entry()
        finally:
            self._session.set_mode(Mode.COUNT)
        if program.faults().lost_events > lost:
            return Burst(state, b"", until_ns, whole)
        return Burst(state, *cut(records, copied_ns, until_ns, _BURST_EVENTS, _LEAST_NS), whole)

    def _begin_to_record(self) -> None:
        session = self._session
        if self._is_suspicious:
            session.set_mode(Mode.NOTE)
            session.wait_for_older_calls(lambda: None)
            session.set_mode(Mode.RECORD)
        else:
            session.set_mode(Mode.RECORD)
            session.program.wait()  # for calls whose entry was not noted

    def _stream(self, burst: Burst) -> Iterator[Item]:
        """A burst as what it is, a small recording after a time when nobody looked."""
        yield from self._session.device_names(burst.records)
        yield Gap(0, burst.state.begin_ns, 0, "between bursts")
        yield burst.state
        yield Records(burst.records)

    def _keep_devices(self, totals: Mapping[int, DeviceTotals]) -> None:
        self._devices.keep({dev: counted.since_ns for dev, counted in totals.items()})


def _withdrawn(findings: Findings) -> int:
    """Disagreements that calls may explain which are not among the records."""
    return findings.doubts.get(Doubt.NOT_RETURNED, 0)


def open_live(images: Images = COMPILED) -> LiveSource:
    """Attach to this kernel.

    :param images: what has the program compiled.
    :raises CannotError: kernel or privileges do not allow it, or swiotlb is off.
    :raises UnreadableError: as :meth:`.Images.image`.
    """
    session = Session(mode=Mode.COUNT, ring_bytes=SAMPLING_RING_BYTES, images=images)
    try:
        return LiveSource(session)
    except BaseException:
        session.program.close()
        raise
