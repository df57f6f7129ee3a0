"""Replay a recording through the pipeline, and report the totals and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView
from swiotlb_top.allocator import Cause
from swiotlb_top.errors import Exit, UnreadableError
from swiotlb_top.events import Find, Map
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.reports.context import Call, around
from swiotlb_top.reports.disagreement import disagreement_json, disagreement_lines
from swiotlb_top.stream import End, tell
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace.items import PARTIAL
from swiotlb_top.verify import MEANINGS, Failure, Fault, Findings, Verdict

CONTEXT: Final = 3
"""How many operations the report shows before a disagreement, and how many after it."""
_EXITS: Final = {
    Verdict.AGREE: Exit.OK,
    Verdict.DISAGREE: Exit.DISAGREE,
    Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The totals of a recording, and the reference's verdict on it."""

    pipeline: Pipeline
    findings: Findings
    duration_ns: int
    lost: int
    miscounts: tuple[str, ...]
    """Each counter that differs at the end between the account of the events and the kernel."""
    damage: str = ""
    """Why the recording could not be read to its end; the report is then on the part before."""
    contexts: Mapping[Fault, tuple[Call, ...]] = field(default_factory=dict)
    """The calls around the first disagreement of each kind."""
    partial: bool = False
    """Whether calls of other devices or pools are left out, so that nothing could be judged."""

    @property
    def context(self) -> tuple[Call, ...]:
        """The calls around the first disagreement."""
        first = self._first_fault
        return self.contexts.get(first, ()) if first else ()

    @property
    def exit_code(self) -> Exit:
        if self.damage:
            return Exit.UNREADABLE
        if self.miscounts and self.findings.verdict is Verdict.AGREE:
            return Exit.DISAGREE
        return _EXITS[self.findings.verdict]

    @property
    def verdict(self) -> Verdict:
        """The judge's verdict, but never "agree" if the recording cannot be read to its end: the rest is not known."""
        found = self.findings.verdict
        return Verdict.INCONCLUSIVE if self.damage and found is Verdict.AGREE else found

    @property
    def verified_percent(self) -> float | None:
        """The share of all operations, lost ones included, that were compared.

        None if the recording cannot be read to its end, so that the number of operations is not known.
        """
        if self.damage:
            return None
        findings = self.findings
        took_place = findings.compared + findings.inconclusive + self.lost
        return 100 * findings.compared / took_place if took_place else 0.0

    def as_json(self) -> dict[str, object]:
        """Flat, for machines; counts since the recording began."""
        account, findings = self.pipeline.account, self.findings
        return {
            "events": account.events,
            "maps": account.maps,
            "unmaps": account.unmaps,
            "map_failures": account.map_failures,
            "map_failures_by_cause": {cause.value: count for cause, count in self._failures_by_cause().items()},
            "first_failure_by_cause": {cause.value: self._failure_json(one) for cause, one in findings.causes.items()},
            "devices": [_device_json(device.view()) for device in account.devices.values()],
            "pools_added": account.pools_added,
            "pools_freed": account.pools_freed,
            "transient_pools": account.transient_pools,
            "used_slots": self._used_slots,
            "nslabs": account.nslabs,
            "transient_slots": None if account.blind else account.transient_slots,
            "lost": self.lost,
            "compared": findings.compared,
            "agree": findings.agree,
            "disagree": findings.disagree,
            "inconclusive": findings.inconclusive,
            "inconclusive_because": {why.value: count for why, count in findings.doubts.items()},
            "verified_percent": None if self.verified_percent is None else round(self.verified_percent, 3),
            "in_other_allocators": findings.elsewhere,
            "safety_violations": findings.safety_violations,
            "states_audited": findings.equal_areas,
            "miscounts": list(self.miscounts),
            "disagreements_by_kind": {fault.value: count for fault, count in findings.faults.items()},
            "first_disagreement": disagreement_json(findings.first, self.context) if findings.first else None,
            "first_disagreement_by_kind": {
                fault.value: disagreement_json(first, self.contexts.get(fault, ()))
                for fault, first in findings.firsts.items()
            },
            "kernel_release": self.pipeline.kernel.release,
            "revision": self.pipeline.judge.name,
            "may_be": [candidate.name for candidate in self.pipeline.judge.left],
            "duration_seconds": round(self.duration_ns / 1e9, 3),
            "verdict": self.verdict.value,
            "partial": self.partial,
            "damage": self.damage,
        }

    def as_text(self, *, explain: bool = False) -> str:
        """A page for people; its lines are as long as they are.

        :param explain: with a table of why maps failed.
        """
        return "\n".join([*self._lines(), *(self._causes() if explain else ())])

    @property
    def _used_slots(self) -> int | None:
        """None where the events cannot tell: they release more than they map, or map more than there are slots, or some
        are missing."""
        account = self.pipeline.account
        known = not account.blind and 0 <= account.used_slots <= account.nslabs + account.transient_slots
        return account.used_slots if known else None

    def _lines(self) -> Iterator[str]:
        account, findings, kernel = self.pipeline.account, self.findings, self.pipeline.kernel
        yield (
            f"kernel {kernel.release} ({kernel.machine}, {len(kernel.cpus)} CPU), "
            f"judged as revision {self.pipeline.judge.name}"
        )
        yield from self._which_kernel()
        yield (
            f"{account.events} events in {self.duration_ns / 1e9:.1f} s: {account.maps} maps, {account.unmaps} unmaps, "
            f"{account.map_failures} failed maps, {self.lost} lost"
        )
        yield (
            f"pools: {account.pools_added} added, {account.transient_pools} transient, {account.pools_freed} freed; "
            f"{'?' if self._used_slots is None else self._used_slots} of {account.nslabs} slots used at the end"
        )
        for device in account.devices.values():
            view = device.view()
            causes = ", ".join(f"{cause.value} {count}" for cause, count in view.causes)
            failed = f", {view.map_failures} failed ({causes or 'not explained'})" if view.map_failures else ""
            known_as = f" ({view.known_as})" if view.known_as else ""
            yield f"  {view.driver or '?'} {view.name}{known_as}: {view.maps} maps, {view.unmaps} unmaps{failed}"
            if view.last_failure:
                yield f"    last failure: {view.last_failure}"
        share = self.verified_percent
        yield (
            f"verdict: {self.verdict.value.upper()} - {findings.compared} operations compared, "
            f"{findings.agree} agree, {findings.disagree} disagree, {findings.inconclusive} inconclusive, "
            f"{findings.safety_violations} safety violations, {findings.equal_areas} areas audited; "
            f"{'share compared unknown' if share is None else f'{share:.2f}% compared'}"
        )
        if self.damage:
            yield "  the recording cannot be read to its end, and this is what comes before"
        if self.partial:
            yield f"  partial: {PARTIAL}"
        for fault, count in findings.faults.items():
            yield f"  {count} disagree, {fault.value}: {MEANINGS[fault]}"
        for why, count in findings.doubts.items():
            yield f"  inconclusive {why.value}: {count}"
        if findings.elsewhere:
            yield f"  not judged, in other allocators: {findings.elsewhere}"
        for miscount in self.miscounts:
            yield f"  miscount: {miscount}"
        yield from self._disagreements()

    @property
    def _first_fault(self) -> Fault | None:
        """Of which kind the first disagreement is."""
        firsts = self.findings.firsts
        return min(firsts, key=lambda fault: firsts[fault].operation, default=None)

    def _disagreements(self) -> Iterator[str]:
        """The first disagreement, and the first of each other kind, in their order."""
        firsts = self.findings.firsts
        for fault in sorted(firsts, key=lambda fault: firsts[fault].operation):
            first = firsts[fault]
            yield ""
            if fault is self._first_fault:
                yield f"first disagreement: operation {first.operation}, after {first.agreeing} that agree"
            else:
                yield f"operation {first.operation}, after {first.agreeing} that agree, the first {fault.value}"
            yield from disagreement_lines(first, self.contexts.get(fault, ()))

    def _which_kernel(self) -> Iterator[str]:
        """Which kernel it is, where that was or is in doubt."""
        judge = self.pipeline.judge
        began, left = ([candidate.name for candidate in some] for some in (judge.choice.candidates, judge.left))
        if judge.note:
            yield f"  {judge.note}"
        elif len(began) > 1:
            yield f"  it may be {' or '.join(began)}; what it did leaves {' or '.join(left)}"

    def _failures_by_cause(self) -> Counter[Cause]:
        return sum((device.causes for device in self.pipeline.account.devices.values()), Counter[Cause]())

    def _causes(self) -> Iterator[str]:
        """Why maps failed: how often for each cause, and the first of each."""
        account, counts = self.pipeline.account, self._failures_by_cause()
        yield ""
        if not account.map_failures:
            yield "no map failed"
            return
        yield "why maps failed:"
        for cause, failure in self.findings.causes.items():
            yield f"  {cause.value:16} {counts[cause]:>9}"
            yield f"    first: {self._first(failure)}"
        if unexplained := account.map_failures - counts.total():
            yield f"  {'not explained':16} {unexplained:>9}"

    def _first(self, failure: Failure) -> str:
        told = self._failure_json(failure)
        return (
            f"{told['device']}, {told['size_bytes']} bytes, {told['after_seconds']} s into the recording: "
            f"{told['sentence']}"
        )

    def _failure_json(self, failure: Failure) -> dict[str, object]:
        account, event = self.pipeline.account, failure.event
        asked = event.alloc_size_bytes if isinstance(event, Find) else 0
        return {
            "device": account.devices[failure.dev].view().name if failure.dev in account.devices else "?",
            "size_bytes": event.mapping_size_bytes if isinstance(event, Map) else asked,
            "time_ns": event.exit_ns,
            "after_seconds": round((event.exit_ns - self.pipeline.begin_ns) / 1e9, 3),
            "sentence": failure.explanation.sentence,
        }


def replay(path: Path, revision: str | None = None, context: int = CONTEXT) -> ReplayReport:
    """Replay a recording.

    A damaged or truncated recording is replayed as far as it can be read, and the report says so.

    :param revision: name of the revision to judge by; None: that of the recording's kernel.
    :param context: how many operations to report before the first disagreement of each kind, and how many after it.
    :raises UnreadableError: the file is no recording, or nothing precedes its damage.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = TraceReader(path)
    pipeline = Pipeline(trace.header.kernel, revision)
    damage = ""
    try:
        for item in trace.stream():
            tell(item, pipeline)
            pipeline.keep_up()
    except UnreadableError as error:
        damage = str(error)
    findings = pipeline.finish(whole=False)
    end, firsts = pipeline.ended, findings.firsts
    moments = [(first.event, first.time_ns) for first in firsts.values()]
    return ReplayReport(
        pipeline,
        findings,
        pipeline.length_ns,
        max(end.lost if end else 0, pipeline.account.lost),
        _miscounts(pipeline, end) if end else (),
        damage,
        dict(zip(firsts, around(path, moments, context), strict=True)),
        trace.header.partial,
    )


def _miscounts(pipeline: Pipeline, end: End) -> tuple[str, ...]:
    """Compare the account of the events with the counters of the probes; both began at the same state."""
    account = pipeline.account
    own = {"maps": account.maps, "map_failures": account.map_failures, "unmaps": account.unmaps}
    if end.counters.get("quiet"):
        own["nslabs"] = account.nslabs
    if end.counters.get("quiet") and account.sure:
        own["transient_nslabs"] = account.transient_slots
        if account.kernel_counts_alike:
            own["total_used"] = account.used_slots
    if end.lost or account.lost:
        return ()
    return tuple(
        f"{name} is {value} by the events, {end.counters[name]} by the kernel"
        for name, value in own.items()
        if end.counters.get(name, -1) not in (value, -1)
    )


def _device_json(view: DeviceView) -> dict[str, object]:
    return {
        "name": view.name,
        "driver": view.driver,
        "known_as": view.known_as or None,
        "maps": view.maps,
        "unmaps": view.unmaps,
        "map_failures": view.map_failures,
        "map_failures_by_cause": {cause.value: count for cause, count in view.causes},
        "mapped_bytes": view.mapped_bytes,
        "unmapped_bytes": view.unmapped_bytes,
        "held_slots": view.held_slots if view.held_slots != UNKNOWN else None,
        "map_p50_ns": view.map_p50_ns if view.map_p50_ns >= 0 else None,
        "map_p99_ns": view.map_p99_ns if view.map_p99_ns >= 0 else None,
    }
