"""Which revisions explain a recording, and for each other one, where it first disagrees and what rules it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from swiotlb_top.allocator import REVISIONS, Difference, Revision, choose
from swiotlb_top.allocator.machines import check_machine
from swiotlb_top.allocator.revision import judged_apart, rows_of
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.events import as_json
from swiotlb_top.reports.disagreement import both_sides
from swiotlb_top.reports.trials import tried
from swiotlb_top.state import KernelInfo
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace.survey import survey
from swiotlb_top.verify import Findings, Verdict

_EXITS: Final = {
    Verdict.AGREE: Exit.OK,
    Verdict.DISAGREE: Exit.DISAGREE,
    Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
}


class Told(NamedTuple):
    """One aspect in which a revision that does not explain the recording differs from one that does."""

    aspect: str
    here: Difference
    """The row of the revision that does not explain it."""
    there: Difference
    """The row of the revision that does."""
    alone: bool
    """Whether this aspect alone is enough: with it, the revision that explains the recording disagrees, too."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of one revision."""

    revision: Revision
    judged_as: str
    """The name of the revision by which it was judged: its own, or that of one that cannot be told from it."""
    findings: Findings
    verdict: Verdict
    told_from: str = ""
    """The revision that it is compared with: of those that explain the recording (if none explains all of it, of those
    that are not refuted) the one that is the most like it."""
    told_by: tuple[Told, ...] = ()
    """The aspects that tell it from that one: those that are enough alone, or if none is, all of them together."""

    @property
    def what_is_told(self) -> tuple[object, ...]:
        """If this is equal for two revisions, the page says the same about both."""
        findings, first = self.findings, self.findings.first
        if self.verdict is not Verdict.DISAGREE:
            return self.verdict, findings.agree, *findings.doubts.items()
        of_first = (first.operation, first.observed, first.expected, first.violations) if first else ()
        return self.verdict, *of_first, self.told_from, self.told_by


@dataclass(frozen=True, slots=True)
class ExplainedReport:
    """What each revision makes of a recording."""

    kernel: KernelInfo
    own: tuple[str, ...]
    """The revisions that its kernel may have; none where that is not known."""
    revisions: tuple[Judged, ...]
    events: int
    lost: int
    begin_ns: int
    damage: str

    @property
    def explained_by(self) -> tuple[str, ...]:
        """The revisions that agree with all of it."""
        return tuple(one.revision.name for one in self.revisions if one.verdict is Verdict.AGREE)

    @property
    def verdict(self) -> Verdict:
        """*agree* if a revision explains all of it, *disagree* if all are refuted; else it cannot be said."""
        if self.explained_by:
            return Verdict.AGREE
        refuted = all(one.verdict is Verdict.DISAGREE for one in self.revisions)
        return Verdict.DISAGREE if refuted else Verdict.INCONCLUSIVE

    @property
    def exit_code(self) -> Exit:
        return Exit.UNREADABLE if self.damage else _EXITS[self.verdict]

    # ---- for machines --------------------------------------------------

    def as_json(self) -> dict[str, object]:
        return {
            "kernel_release": self.kernel.release,
            "may_be": list(self.own),
            "events": self.events,
            "lost": self.lost,
            "verdict": self.verdict.value,
            "explained_by": list(self.explained_by),
            "revisions": [self._json(one) for one in self.revisions],
            "damage": self.damage,
        }

    def _json(self, one: Judged) -> dict[str, object]:
        findings = one.findings
        return {
            "name": one.revision.name,
            "judged_as": one.judged_as,
            "verdict": one.verdict.value,
            "agree": findings.agree,
            "inconclusive": findings.inconclusive,
            "inconclusive_because": {why.value: count for why, count in findings.doubts.items()},
            "first_disagreement": self._first_json(findings),
            "told_from": one.told_from or None,
            "told_by": [
                {"aspect": told.aspect, "alone": told.alone, "here": _row(told.here), "there": _row(told.there)}
                for told in one.told_by
            ],
        }

    def _first_json(self, findings: Findings) -> dict[str, object] | None:
        first = findings.first
        if first is None:
            return None
        return {
            "operation": first.operation,
            "agreeing_before": first.agreeing,
            "time_ns": first.time_ns,
            "after_seconds": round((first.time_ns - self.begin_ns) / 1e9, 6),
            "event": as_json(first.event) if first.event else None,
            "observed": first.observed,
            "expected": first.expected,
            "violations": [f"{violation.hazard.value}: {violation.sentence}" for violation in first.violations],
        }

    # ---- for people ------------------------------------------------------

    def as_text(self) -> str:
        """A page for people. Its lines are not wrapped."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        kernel = self.kernel
        own = " or ".join(self.own)
        yield (
            f"kernel {kernel.release} ({kernel.machine}, {len(kernel.cpus)} CPU), "
            f"{f'whose revision is {own}' if own else 'whose revision is not known'}"
        )
        yield f"{self.events} events, {self.lost} lost; judged by {len(self.revisions)} revisions"
        yield f"verdict: {self.verdict.value.upper()} - {self._answer()}"
        if self.damage:
            yield "  the recording cannot be read to its end, and this is what comes before"
        yield ""
        width = max(len(one.revision.name) for one in self.revisions)
        told: dict[tuple[object, ...], str] = {}
        """The revision for which the page has said this already, by what it says."""
        for one in self.revisions:
            begin = f"{one.verdict.value.upper():12}  {one.revision.name:{width}}  "
            before = told.setdefault(one.what_is_told, one.revision.name)
            if before != one.revision.name:
                yield f"{begin}as {before}"
            else:
                yield from self._of(one, begin)

    def _answer(self) -> str:
        explaining = self.explained_by
        left = [one.revision.name for one in self.revisions if one.verdict is Verdict.INCONCLUSIVE]
        if explaining:
            others = [name for name in self.own if name not in explaining]
            but = f"; not by its own, {' or '.join(others)}" if others == list(self.own) != [] else ""
            return f"explained by {', '.join(explaining)}{but}"
        if not left:
            return "no revision explains it"
        return f"not refuted, and not shown to explain all of it: {', '.join(left)}"

    def _of(self, one: Judged, begin: str) -> Iterator[str]:
        """What is said of one revision.

        :param begin: with what its first line begins.
        """
        findings, first = one.findings, one.findings.first
        if one.verdict is not Verdict.DISAGREE:
            doubts = ", ".join(f"{why.value} {count}" for why, count in findings.doubts.items())
            yield f"{begin}{findings.agree} operations agree" + (f"; inconclusive: {doubts}" if doubts else "")
        elif first is None:
            yield f"{begin}there are too many disagreements to have kept the first"
        else:
            after_s = (first.time_ns - self.begin_ns) / 1e9
            yield f"{begin}from operation {first.operation} on, which returned {after_s:.6f} s into the recording"
            yield from both_sides(first)
            yield from _told_lines(one)


def _told_lines(one: Judged) -> Iterator[str]:
    name = one.revision.name
    if not one.told_by:
        return
    alone = " alone" if one.told_by[0].alone else ", together"
    each = " or ".join if one.told_by[0].alone else " and ".join
    yield f"  told from {one.told_from} by: {each(_words(told.aspect) for told in one.told_by)}{alone}"
    width = max(len(name), len(one.told_from))
    for told in one.told_by:
        yield f"    {name:{width}}  {told.here.sentence} (since {told.here.since})"
        yield f"    {one.told_from:{width}}  {told.there.sentence} (since {told.there.since})"


def explained(path: Path) -> ExplainedReport:
    """Judge a recording by every revision that has a name, and by those that its kernel may have besides.

    It is read once for each revision that can be told from the others, up to where that is refuted; and if several
    aspects of one may be the reason, once more for each.

    :raises UnreadableError: the file is no recording.
    :raises CannotError: the reference does not model its machine.
    """
    trace = TraceReader(path)
    kernel = trace.header.kernel
    check_machine(kernel.machine, kernel.page_size_bytes, kernel.byte_order)
    own = _own(kernel)
    revisions = tuple({one.name: one for one in (*REVISIONS.values(), *own)}.values())
    alike = {one.name: next(other for other in revisions if not judged_apart(one, other)) for one in revisions}
    holds = survey(trace)
    findings = tried(path, kernel, dict.fromkeys(alike.values()))
    answers = {name: _verdict(found, holds.damage) for name, found in findings.items()}
    told = _told_apart(path, kernel, {one: answers[one.name] for one in alike.values()})
    judged = []
    for one in revisions:
        name = alike[one.name].name
        judged.append(Judged(one, name, findings[name], answers[name], *told.get(name, ())))
    names = tuple(one.name for one in own)
    lost = max(holds.lost, holds.ended.lost if holds.ended else 0)
    return ExplainedReport(kernel, names, tuple(judged), holds.events, lost, holds.begin_ns, holds.damage)


def _own(kernel: KernelInfo) -> tuple[Revision, ...]:
    """The revisions that a kernel may have; none where that is not known."""
    try:
        candidates = choose(kernel.features, kernel.release, kernel.version).candidates
    except CannotError:
        return ()
    return tuple(dict.fromkeys(candidate.revision for candidate in candidates))


def _verdict(findings: Findings, damage: str) -> Verdict:
    """The judge's verdict, but never "agree" if the recording cannot be read to its end: the rest is not known."""
    found = findings.verdict
    return Verdict.INCONCLUSIVE if damage and found is Verdict.AGREE else found


# ---- what tells a revision from another ------------------------------------------


def _told_apart(
    path: Path, kernel: KernelInfo, judged: Mapping[Revision, Verdict]
) -> dict[str, tuple[str, tuple[Told, ...]]]:
    """Of each revision that is refuted: the most similar one that explains the recording, and what tells it from that.

    If none explains all of it, those count that are not refuted.
    """
    by_verdict = {verdict: [one for one in judged if judged[one] is verdict] for verdict in Verdict}
    left = by_verdict[Verdict.AGREE] or by_verdict[Verdict.INCONCLUSIVE]
    if not left:
        return {}
    refuted = {one: _most_like(one, left) for one in by_verdict[Verdict.DISAGREE]}
    alone = _enough_alone(path, kernel, refuted)
    return {
        one.name: (other.name, tuple(_told(one, other, aspects, alone=bool(alone[one]))))
        for one, other in refuted.items()
        for aspects in [alone[one] or judged_apart(one, other)]
    }


def _most_like(one: Revision, others: Iterable[Revision]) -> Revision:
    return min(others, key=lambda other: len(judged_apart(one, other)))


def _enough_alone(
    path: Path, kernel: KernelInfo, refuted: Mapping[Revision, Revision]
) -> dict[Revision, tuple[str, ...]]:
    """The aspects in which a revision that is not refuted becomes one that is, if it is made like one that is.

    :param refuted: revisions that are refuted, each with the one that is not.
    """
    apart = {one: judged_apart(one, other) for one, other in refuted.items()}
    mixed = {
        (one, aspect): _mixed(other, one, aspect)
        for one, other in refuted.items()
        for aspect in apart[one]
        if len(apart[one]) > 1
    }
    findings = tried(path, kernel, dict.fromkeys(mixed.values()))
    disagree = {name for name, found in findings.items() if found.verdict is Verdict.DISAGREE}
    return {
        one: tuple(aspect for aspect in aspects if len(aspects) == 1 or mixed[one, aspect].name in disagree)
        for one, aspects in apart.items()
    }


def _mixed(base: Revision, other: Revision, aspect: str) -> Revision:
    """A revision with one aspect of another. Its name tells it from all mixtures that behave otherwise."""
    value: Any = getattr(other, aspect)
    return replace(base, name=f"{base.name} with {aspect} of {_row_of(other, aspect).since}", **{aspect: value})


def _told(one: Revision, other: Revision, aspects: Iterable[str], *, alone: bool) -> Iterator[Told]:
    for aspect in aspects:
        yield Told(aspect, _row_of(one, aspect), _row_of(other, aspect), alone)


def _row_of(revision: Revision, aspect: str) -> Difference:
    """The row of the table that a revision has."""
    return next(row for row in rows_of(aspect) if row.value == getattr(revision, aspect))


def _row(row: Difference) -> dict[str, object]:
    return {"since": row.since, "commit": row.commit or None, "what": row.sentence}


def _words(aspect: str) -> str:
    return aspect.replace("_", " ")
