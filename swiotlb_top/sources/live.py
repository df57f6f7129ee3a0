"""The running kernel: exact counters all the time, the reference's verdict in bursts.

Counters are kept by the probes and cost the same whatever the rate. Records flow only in short
bursts: the state is read, a burst is recorded and judged, and the probes go back to counting.
How long and how often is set by what judging costs here, so that a busy kernel on a slow machine
is still watched in time; how much was verified is in the verdict.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from swiotlb_top.accounting.device import took_ns
from swiotlb_top.accounting.failures import FailureLog
from swiotlb_top.accounting.in_use import of_state
from swiotlb_top.accounting.slots import slots_view
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, PoolView, SlotsView, Snapshot, VerdictView
from swiotlb_top.allocator import adopt
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Direction, Event, Find, Gap, Map
from swiotlb_top.pipeline import Pipeline, verdict_view
from swiotlb_top.probes.program import Mode, Totals
from swiotlb_top.probes.session import Session, now_ns
from swiotlb_top.records import count, decode
from swiotlb_top.sources.burst import cut
from swiotlb_top.sources.known import KnownDevices
from swiotlb_top.state import MemState, PoolState
from swiotlb_top.verify import NOT_SAMPLED

_SHARE_OF_TIME: Final = 0.1
"""At most so much of the time is spent in bursts, which cost the watched more than counting does."""
_SHARE_OF_CPU: Final = 0.015
"""Of one CPU, at most this much goes into judging; the first records aside, with which everything is done for the
first time."""
_BURST_S: Final = 0.2
_STEP_S: Final = 0.01
_PATIENCE_S: Final = 1.0
"""How much longer a burst goes on at most while a call is under way that was entered before its state was read: one
whose CPU does not run, say."""
_BURST_EVENTS: Final = 4000
"""With so many a burst ends, and no more are judged: each takes half a KiB and more, and what was in use once stays
resident."""
RING_BYTES: Final = 4 << 20
"""A burst's worth several times over; all of it counts as this process's memory, twice, since it is mapped twice."""
_LEAST_NS: Final = 20_000_000
"""How much of a burst is judged at least, from when the state had been copied, however many events that are."""


class LiveSource:
    """Snapshots of the kernel this runs on.

    :param session: attached probes, closed with this source.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._since_ns = now_ns()
        self._pipeline: Pipeline | None = None
        self._notes = session.program.plan.notes()
        self._reason = f"probed by {next(str(a) for a in session.program.plan.probed())}"
        try:
            self._pipeline = Pipeline(session.kernel)
        except CannotError as unknown:
            self._notes = (*self._notes, str(unknown))
        self._known = KnownDevices(session.device_name)
        self._slots: dict[int, SlotsView] = {}
        self._sampled_ns = UNKNOWN
        self._failures = FailureLog()
        self._seen_ns: dict[int, int] = {}
        self._next_burst_ns = 0
        self._has_judged = False
        self._operations_before = 0
        self._count_is_credible = True

    def snapshot(self) -> Snapshot:
        """The kernel now; also judges a burst if it is time for one.

        :raises CannotError: the kernel's memory can no longer be read.
        """
        program = self._session.program
        self._burst(now_ns())
        sizes = self._session.sizes()
        totals = program.totals()
        faults = program.faults()
        time_ns = now_ns()
        self._keep_devices(totals)
        self._note_new_pools(sizes, time_ns)
        everyone = totals.values()
        in_use = of_state(sizes, credible=self._count_is_credible)
        self._count_is_credible = in_use.credible
        return Snapshot(
            time_ns=time_ns,
            source="live",
            reason=self._reason,
            kernel_release=self._session.kernel.release,
            # The kernel's own total is another moment's: a pool that grows is on the list before it is counted.
            nslabs=sum(pool.nslabs for pool in sizes.pools),
            used_slots=in_use.used_slots,
            used_hiwater_slots=in_use.used_hiwater_slots,
            transient_slots=sizes.transient_nslabs,
            maps=sum(device.maps for device in everyone),
            map_failures=sum(device.map_failures for device in everyone),
            unmaps=sum(device.unmaps for device in everyone),
            growths=program.growths(),
            pools_added=max(0, len(sizes.pools) - 1),
            lost=faults.lost_events,
            pools=tuple(self._pool(pool, pool is sizes.pools[-1]) for pool in sizes.pools),
            devices=tuple(self._device(dev, device) for dev, device in totals.items()),
            verdict=self._verdict(),
            notes=(*self._notes, *faults.notes(), *([in_use.note] if in_use.note else ())),
            failures=self._failures.views(self._who, disputed=self._disputed()),
            sampled=self._pipeline is not None,
            sampled_ns=self._sampled_ns,
            hooks=self._session.kernel.hooks,
            watched_ns=time_ns - self._since_ns,
            uncounted=faults.uncounted_calls + faults.lost_calls + faults.missed_calls,
        )

    def close(self) -> None:
        """Detach the probes."""
        self._session.program.close()

    def _burst(self, time_ns: int) -> None:
        """Record and judge for a moment, if anything happened and the last one has been paid off."""
        if self._pipeline is None or time_ns < self._next_burst_ns:
            return
        totals = self._session.program.totals().values()
        operations = sum(device.maps + device.map_failures + device.unmaps for device in totals)
        if self._slots and operations == self._operations_before:
            return
        self._operations_before = operations
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        state, records, until_ns = self._record()
        self._slots = {pool.address: slots_view(adopt(pool, check=False).pool) for pool in state.pools}
        self._sampled_ns = state.begin_ns
        self._judge(state, records, until_ns)
        took_s = time.perf_counter() - began_s
        cost_s = time.thread_time() - began_cpu_s if self._has_judged else 0.0
        self._has_judged |= bool(records)
        self._next_burst_ns = time_ns + int(max(took_s / _SHARE_OF_TIME, cost_s / _SHARE_OF_CPU) * 1e9)

    def _record(self) -> tuple[MemState, bytes, int]:
        """A state, the records after it, and up to when they are complete."""
        program = self._session.program
        lost = program.faults().lost_events
        program.set_mode(Mode.RECORD)
        try:
            program.wait()  # for calls whose entry was not noted
            state, _, records = self._session.settle()
            copied_ns = max((pool.end_ns for pool in state.pools), default=state.begin_ns)
            end_s = time.perf_counter() + _BURST_S
            while count(records) < _BURST_EVENTS and time.perf_counter() < end_s:
                time.sleep(_STEP_S)
                records += self._session.drain()
            last, until_ns = self._session.drain_to_what_is_known()
            records += last
            # A call that has been under way since before the state was copied leaves nothing to judge: wait for it.
            while until_ns < copied_ns + _LEAST_NS and time.perf_counter() < end_s + _PATIENCE_S:
                time.sleep(_STEP_S)
                last, until_ns = self._session.drain_to_what_is_known()
                records += last
        finally:
            program.set_mode(Mode.COUNT)
        if program.faults().lost_events > lost:
            return state, b"", until_ns
        return state, *cut(records, copied_ns, until_ns, _BURST_EVENTS, _LEAST_NS)

    def _judge(self, state: MemState, records: bytes, until_ns: int) -> None:
        pipeline = self._pipeline
        assert pipeline is not None  # noqa: S101 (_burst looked)
        self._keep_devices(self._session.program.totals())
        for name in self._session.device_names(records):
            self._known[name.dev].name = name
        pipeline.judge.gap(Gap(0, state.begin_ns, 0, "between bursts"))
        pipeline.judge.state(state)
        events = list(decode(records))
        self._look_at(events)
        pipeline.judge.feed(events)
        findings = pipeline.judge.finish(until_ns)
        for failure in findings.take_failures():
            known = self._known[failure.dev]
            known.causes[failure.explanation.cause] += 1
            known.last_failure = failure.explanation.sentence
            self._failures.explained(failure.event, failure.explanation)

    def _look_at(self, events: list[Event]) -> None:
        """How long the burst's maps took, and which failed."""
        for event in events:
            if isinstance(event, Find | Map):
                took = took_ns(event)
                if took is not None:
                    self._known[event.dev].latencies.add(took)
                if event.failed:
                    self._failures.happened(event)

    def _keep_devices(self, totals: dict[int, Totals]) -> None:
        for dev, gone in self._known.keep(totals).items():
            self._failures.retire(dev, (gone.shown_name, gone.name.driver))

    def _note_new_pools(self, sizes: MemState, time_ns: int) -> None:
        """When each pool was first seen; those there from the start may be of any age."""
        known = self._seen_ns
        since_ns = time_ns if known else UNKNOWN
        self._seen_ns = {pool.address: known.get(pool.address, since_ns) for pool in sizes.pools}

    def _who(self, dev: int) -> tuple[str, str]:
        known = self._known[dev]
        return known.shown_name, known.name.driver

    def _disputed(self) -> Event | None:
        first = self._pipeline.judge.findings.first if self._pipeline else None
        return first.event if first else None

    def _verdict(self) -> VerdictView | None:
        """The bursts' verdict; what a burst only caught the end of is not in doubt, but not in it."""
        if self._pipeline is None:
            return None
        judge = self._pipeline.judge
        doubtful = sum(count for why, count in judge.findings.doubts.items() if why not in NOT_SAMPLED)
        return replace(verdict_view(judge.revision.name, judge.findings), inconclusive=doubtful)

    def _pool(self, pool: PoolState, default: bool) -> PoolView:
        used = sum(area.used for area in pool.areas)
        slots = self._slots.get(pool.address)
        return PoolView(
            address=pool.address,
            start=pool.start,
            nslabs=pool.nslabs,
            nareas=pool.nareas,
            used_slots=used,
            transient=pool.transient,
            default=default,
            longest_free_slots=slots.longest_free_slots if slots else UNKNOWN,
            slots=slots,
            since_ns=0 if default else self._seen_ns.get(pool.address, UNKNOWN),
        )

    def _device(self, dev: int, totals: Totals) -> DeviceView:
        known = self._known[dev]
        by_direction = totals.unmapped_bytes_by_direction
        both_ways = by_direction[Direction.BIDIRECTIONAL]
        return DeviceView(
            dev=dev,
            name=known.shown_name,
            driver=known.name.driver,
            maps=totals.maps,
            map_failures=totals.map_failures,
            unmaps=totals.unmaps,
            mapped_bytes=totals.mapped_bytes,
            unmapped_bytes=totals.unmapped_bytes,
            causes=tuple(known.causes.most_common()),
            last_failure=known.last_failure,
            map_p50_ns=known.latencies.percentile(50),
            map_p99_ns=known.latencies.percentile(99),
            sizes=totals.requests,
            asked_slots=totals.requested_slots,
            to_device_bytes=both_ways + by_direction[Direction.TO_DEVICE],
            from_device_bytes=both_ways + by_direction[Direction.FROM_DEVICE],
            latencies=known.latencies.counts,
            fine_latencies=known.latencies.fine,
            latency_sum_ns=known.latencies.sum_ns,
        )


def open_live() -> LiveSource:
    """Attach to this kernel. :raises CannotError: it does not let us, or swiotlb is off."""
    return LiveSource(Session(mode=Mode.COUNT, ring_bytes=RING_BYTES))
