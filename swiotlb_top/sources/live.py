"""The running kernel: exact counters all the time, the reference's verdict in bursts.

Counters are kept by the probes and cost the same whatever the rate. Records flow only in short
bursts: the state is read, a burst is recorded and judged, and the probes go back to counting.
How long and how often is set by what judging costs here, so that a busy kernel on a slow machine
is still watched in time; how much was verified is in the verdict.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from swiotlb_top.accounting.snapshot import DeviceView, PoolView, Snapshot, VerdictView
from swiotlb_top.allocator import adopt
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Gap, decode
from swiotlb_top.pipeline import Pipeline, verdict_view
from swiotlb_top.probes.program import Mode, Totals
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.state import DeviceName, MemState, PoolState
from swiotlb_top.verify import NOT_SAMPLED

_SHARE_OF_TIME: Final = 0.1
"""Of one CPU, at most this much goes into judging."""
_BURST_S: Final = (0.01, 0.2)
_BURST_EVENTS: Final = 4000
_UNDER_WAY_S: Final = 0.02
"""How long an operation may go on after a burst and still be recorded."""


@dataclass(slots=True)
class _Known:
    """What bursts told of a device."""

    name: DeviceName
    causes: Counter[str] = field(default_factory=Counter)
    last_failure: str = ""


class LiveSource:
    """Snapshots of the kernel this runs on.

    :param session: attached probes, closed with this source.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pipeline: Pipeline | None = None
        self._notes = session.program.plan.notes()
        self._reason = f"probed by {next(str(a) for a in session.program.plan.probed())}"
        try:
            self._pipeline = Pipeline(session.kernel)
        except CannotError as unknown:
            self._notes = (*self._notes, str(unknown))
        self._known: dict[int, _Known] = {}
        self._longest: dict[int, int] = {}
        self._next_burst_ns = 0
        self._operations_before = 0
        self._asked_ns = now_ns()

    def snapshot(self) -> Snapshot:
        """The kernel now; also judges a burst if it is time for one.

        :raises CannotError: the kernel's memory can no longer be read.
        """
        program = self._session.program
        sizes = self._session.sizes()
        totals = program.totals()
        time_ns = now_ns()
        self._burst(totals, time_ns)
        for dev in totals:
            self._know(dev)
        everyone = totals.values()
        return Snapshot(
            time_ns=time_ns,
            source="live",
            reason=self._reason,
            kernel_release=self._session.kernel.release,
            nslabs=sizes.nslabs,
            used_slots=_used(sizes),
            used_hiwater_slots=sizes.used_hiwater,
            transient_slots=sizes.transient_nslabs,
            maps=sum(device.maps for device in everyone),
            map_failures=sum(device.map_failures for device in everyone),
            unmaps=sum(device.unmaps for device in everyone),
            growths=program.growths(),
            pools_added=max(0, len(sizes.pools) - 1),
            lost=program.faults().lost_events,
            pools=tuple(self._pool(pool, pool is sizes.pools[-1]) for pool in sizes.pools),
            devices=tuple(self._device(dev, device) for dev, device in totals.items()),
            verdict=self._verdict(),
            notes=self._notes,
        )

    def close(self) -> None:
        """Detach the probes."""
        self._session.program.close()

    def _burst(self, totals: dict[int, Totals], time_ns: int) -> None:
        """Record and judge for a moment, if the last one has been paid off."""
        if self._pipeline is None or time_ns < self._next_burst_ns:
            return
        began = time.perf_counter()
        state, records, until_ns = self._record(self._burst_length(totals, time_ns))
        if state.settled:
            self._longest = {pool.address: adopt(pool).pool.longest_free_slots() for pool in state.pools}
            self._judge(state, records, until_ns)
        cost_s = time.perf_counter() - began
        self._next_burst_ns = time_ns + int(cost_s / _SHARE_OF_TIME * 1e9)

    def _burst_length(self, totals: dict[int, Totals], time_ns: int) -> float:
        """Seconds in which no more than a judgeable number of events come, at the present rate."""
        operations = sum(device.maps + device.map_failures + device.unmaps for device in totals.values())
        rate = (operations - self._operations_before) / max((time_ns - self._asked_ns) / 1e9, 1e-3)
        self._operations_before, self._asked_ns = operations, time_ns
        return min(max(_BURST_EVENTS / max(rate, 1.0), _BURST_S[0]), _BURST_S[1])

    def _record(self, burst_s: float) -> tuple[MemState, bytes, int]:
        """A state, the records after it, and up to when they are complete."""
        program = self._session.program
        lost = program.faults().lost_events
        program.set_mode(Mode.RECORD)
        try:
            state, _, records = self._session.settle()
            time.sleep(burst_s)
            until_ns = now_ns()
            time.sleep(_UNDER_WAY_S)
        finally:
            program.set_mode(Mode.COUNT)
        records += self._session.drain()
        if program.faults().lost_events != lost:
            return state, b"", until_ns
        return state, records, until_ns

    def _judge(self, state: MemState, records: bytes, until_ns: int) -> None:
        pipeline = self._pipeline
        assert pipeline is not None  # noqa: S101 (_burst looked)
        for name in self._session.device_names(records):
            self._know(name.dev).name = name
        pipeline.judge.gap(Gap(0, state.pools[0].begin_ns if state.pools else 0, 0, "between bursts"))
        pipeline.judge.state(state)
        pipeline.judge.feed(list(decode(records)))
        findings = pipeline.judge.finish(until_ns)
        for failure in findings.take_failures():
            known = self._know(failure.dev)
            known.causes[failure.explanation.cause.value] += 1
            known.last_failure = failure.explanation.sentence

    def _know(self, dev: int) -> _Known:
        known = self._known.get(dev)
        if known is None:
            known = self._known[dev] = _Known(self._session.device_name(dev))
        return known

    def _verdict(self) -> VerdictView | None:
        """The bursts' verdict; what a burst only caught the end of is not in doubt, but not in it."""
        if self._pipeline is None:
            return None
        judge = self._pipeline.judge
        doubtful = sum(count for why, count in judge.findings.doubts.items() if why not in NOT_SAMPLED)
        return replace(verdict_view(judge.revision.name, judge.findings), inconclusive=doubtful)

    def _pool(self, pool: PoolState, default: bool) -> PoolView:
        used = sum(area.used for area in pool.areas)
        longest = self._longest.get(pool.address, -1)
        return PoolView(pool.address, pool.start, pool.nslabs, pool.nareas, used, pool.transient, default, longest)

    def _device(self, dev: int, totals: Totals) -> DeviceView:
        known = self._known[dev]
        return DeviceView(
            dev=dev,
            name=known.name.name or f"device {dev & 0xFFFF:04x}",
            driver=known.name.driver,
            maps=totals.maps,
            map_failures=totals.map_failures,
            unmaps=totals.unmaps,
            mapped_bytes=totals.mapped_bytes,
            unmapped_bytes=totals.unmapped_bytes,
            causes=tuple(known.causes.most_common()),
            last_failure=known.last_failure,
        )


def _used(mem: MemState) -> int:
    """``io_tlb_used``; a sum over areas where the kernel keeps no total (no CONFIG_DEBUG_FS)."""
    if mem.total_used >= 0:
        return mem.total_used
    return sum(area.used for pool in mem.pools for area in pool.areas)


def open_live() -> LiveSource:
    """Attach to this kernel. :raises CannotError: it does not let us, or swiotlb is off."""
    return LiveSource(Session(mode=Mode.COUNT))
