"""Replay a recording through the pipeline and say what came out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from swiotlb_top.errors import Exit, UnreadableError
from swiotlb_top.events import Event, Gap, decode
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import End, Records, TraceReader
from swiotlb_top.verify import Divergence, Findings, Verdict

_EXITS = {Verdict.AGREE: Exit.OK, Verdict.DISAGREE: Exit.DISAGREE, Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a recording holds, and what the reference says of it."""

    pipeline: Pipeline
    findings: Findings
    duration_ns: int
    lost: int
    miscounts: tuple[str, ...]
    """Where the account of the events and the kernel's own counters differ at the end."""
    damage: str = ""
    """Why the recording could not be read to its end; what is before that is reported."""

    @property
    def exit_code(self) -> Exit:
        if self.damage:
            return Exit.UNREADABLE
        if self.miscounts and self.findings.verdict is Verdict.AGREE:
            return Exit.DISAGREE
        return _EXITS[self.findings.verdict]

    def as_json(self) -> dict[str, object]:
        """Flat, for machines; counts since the recording began."""
        account, findings = self.pipeline.account, self.findings
        causes = sum((device.causes for device in account.devices.values()), Counter[str]())
        return {
            "events": account.events,
            "maps": account.maps,
            "unmaps": account.unmaps,
            "map_failures": account.map_failures,
            "map_failures_by_cause": dict(causes),
            "pools_added": account.pools_added,
            "pools_freed": account.pools_freed,
            "transient_pools": account.transient_pools,
            "used_slots": account.used_slots,
            "nslabs": account.nslabs,
            "transient_slots": account.transient_slots,
            "lost": self.lost,
            "compared": findings.compared,
            "agree": findings.agree,
            "disagree": findings.disagree,
            "inconclusive": findings.inconclusive,
            "inconclusive_because": dict(findings.doubts),
            "safety_violations": findings.safety_violations,
            "states_audited": findings.audits,
            "miscounts": list(self.miscounts),
            "first_disagreement": _divergence_json(findings.first),
            "kernel_release": self.pipeline.kernel.release,
            "revision": self.pipeline.judge.revision.name,
            "duration_seconds": round(self.duration_ns / 1e9, 3),
            "verdict": findings.verdict.value,
            "damage": self.damage,
        }

    def as_text(self) -> str:
        """A page for people."""
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        account, findings, kernel = self.pipeline.account, self.findings, self.pipeline.kernel
        lines = [
            f"kernel {kernel.release} ({kernel.machine}, {kernel.cpus} CPU), "
            f"judged as revision {self.pipeline.judge.revision.name}",
            f"{account.events} events in {self.duration_ns / 1e9:.1f} s: {account.maps} maps, {account.unmaps} unmaps, "
            f"{account.map_failures} failed maps, {self.lost} lost",
            f"pools: {account.pools_added} added, {account.transient_pools} transient, {account.pools_freed} freed; "
            f"{account.used_slots} of {account.nslabs} slots used at the end",
        ]
        for device in account.devices.values():
            view = device.view()
            causes = ", ".join(f"{cause} {count}" for cause, count in view.causes)
            failed = f", {view.map_failures} failed ({causes or 'not explained'})" if view.map_failures else ""
            lines.append(f"  {view.driver or '?'} {view.name}: {view.maps} maps, {view.unmaps} unmaps{failed}")
            if view.last_failure:
                lines.append(f"    last failure: {view.last_failure}")
        lines.append(
            f"verdict: {findings.verdict.value.upper()} - {findings.compared} operations compared, "
            f"{findings.agree} agree, {findings.disagree} disagree, {findings.inconclusive} inconclusive, "
            f"{findings.safety_violations} safety violations, {findings.audits} states audited"
        )
        lines += [f"  inconclusive {why}: {count}" for why, count in findings.doubts.items()]
        lines += [f"  miscount: {miscount}" for miscount in self.miscounts]
        if findings.first:
            lines += ["", *_divergence_lines(findings.first)]
        return lines


def replay(path: Path, revision: str | None = None) -> ReplayReport:
    """Replay a recording.

    A damaged or truncated recording is replayed as far as it can be read, and the report says so.

    :raises UnreadableError: it is no recording at all, or holds nothing before its damage.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = TraceReader(path)
    pipeline = Pipeline(trace.header.kernel, revision)
    end: End | None = None
    damage = ""
    try:
        for item in trace:
            end = _feed(pipeline, item) or end
    except UnreadableError as error:
        damage = str(error)
    findings = pipeline.finish()
    account = pipeline.account
    return ReplayReport(
        pipeline,
        findings,
        end.duration_ns if end else account.last_ns - account.first_ns,
        end.lost if end else account.lost,
        _miscounts(pipeline, end) if end else (),
        damage,
    )


def _feed(pipeline: Pipeline, item: object) -> End | None:
    if isinstance(item, Records):
        try:
            events: list[Event] = list(decode(item.data))
        except ValueError as error:
            raise UnreadableError(f"the recording holds events this swiotlb-top does not know: {error}") from None
        pipeline.feed(events)
    elif isinstance(item, MemState):
        pipeline.state(item)
    elif isinstance(item, DeviceName):
        pipeline.name(item)
    elif isinstance(item, Gap):
        pipeline.gap(item)
    elif isinstance(item, End):
        return item
    return None


def _miscounts(pipeline: Pipeline, end: End) -> tuple[str, ...]:
    """Hold the account of the events against the kernel side's own counts; both began at the same state."""
    account = pipeline.account
    own = {"maps": account.maps, "map_failures": account.map_failures, "unmaps": account.unmaps}
    if end.counters.get("quiet"):
        own |= {"nslabs": account.nslabs, "total_used": account.used_slots, "transient_nslabs": account.transient_slots}
    if end.lost or account.lost:
        return ()
    return tuple(
        f"{name} is {value} by the events, {end.counters[name]} by the kernel"
        for name, value in own.items()
        if end.counters.get(name, -1) not in (value, -1)
    )


def _divergence_json(divergence: Divergence | None) -> dict[str, object] | None:
    if divergence is None:
        return None
    return {
        "operation": divergence.operation,
        "time_ns": divergence.time_ns,
        "event": repr(divergence.event),
        "observed": divergence.observed,
        "expected": divergence.expected,
        "violations": [f"{violation.hazard.value}: {violation.sentence}" for violation in divergence.violations],
        "overlapping": divergence.overlapping,
        "orders_tried": divergence.orders_tried,
    }


def _divergence_lines(divergence: Divergence) -> list[str]:
    lines = [
        f"first disagreement: operation {divergence.operation}",
        f"  kernel:    {divergence.observed}",
        f"  reference: {divergence.expected}",
    ]
    lines += [f"  harm:      {violation.hazard.value}: {violation.sentence}" for violation in divergence.violations]
    if divergence.overlapping:
        lines.append(f"  overlaps {divergence.overlapping} others; {divergence.orders_tried} steps tried")
    lines.append(f"  event:     {divergence.event!r}")
    if divergence.picture:
        lines.append("  the reference's slots there ('.' free, '[' first of a mapping, '>' next search):")
        lines += [f"    {line}" for line in divergence.picture.splitlines()]
    return lines
