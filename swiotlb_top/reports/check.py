"""Is swiotlb the trouble on this machine? What was watched, as findings, one answer and one exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from swiotlb_top.accounting import logged, numbers
from swiotlb_top.accounting.finding import Finding, Kind
from swiotlb_top.accounting.headline import open_questions
from swiotlb_top.accounting.snapshot import DeviceView, Snapshot
from swiotlb_top.errors import Exit
from swiotlb_top.findings.rules import findings
from swiotlb_top.findings.watched import Watched
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.reports.devices import DeviceReport

_WORDS: Final = {Exit.OK: "WELL", Exit.DISAGREE: "TROUBLE", Exit.CANNOT: "UNKNOWN"}


@dataclass(frozen=True)
class CheckReport:
    """The answer."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]
    """What is not known that could be trouble, a sentence each."""
    innocent: str
    """What is said if neither of these holds anything, in half a sentence."""
    watched: Watched | None
    """None where swiotlb has no memory, so that there is nothing to watch."""

    @classmethod
    def of(cls, watched: Watched) -> Self:
        """What the rules say of what was watched. :raises ValueError: nothing was."""
        if watched.frame is None:
            raise ValueError("nothing has been watched")
        return cls(findings(watched), tuple(open_questions(watched.frame)), _innocent(watched), watched)

    @classmethod
    def without_pool(cls, none: NoPoolError, log: KernelLog) -> Self:
        """What the kernel's log says where swiotlb has no memory: a map that needs it fails, and is logged."""
        unknown = [f"what failed is not known: {log.unreadable}"] if log.unreadable else []
        unknown += [f"not all of the kernel's log could be read: {log.missing}"] if log.missing else []
        failed = logged.failed(log)
        found = (Finding(Kind.NO_POOL, failed, (failed, *logged.lines(log))),) if failed else ()
        if not failed and (trouble := logged.other_trouble(log)):
            unknown.append(trouble)
        return cls(found, tuple(unknown), f"{none.because}; the kernel's log tells of no failed map", None)

    @property
    def exit_code(self) -> Exit:
        """1 where something has to be done; 3 where something is not known that could be trouble; else 0."""
        if any(finding.kind.is_trouble for finding in self.findings):
            return Exit.DISAGREE
        return Exit.CANNOT if self.unknown else Exit.OK

    @property
    def word(self) -> str:
        """``WELL``, ``TROUBLE`` or ``UNKNOWN``."""
        return _WORDS[self.exit_code]

    @property
    def upshot(self) -> str:
        """The answer in one sentence that can be quoted."""
        trouble = [finding for finding in self.findings if finding.kind.is_trouble]
        if trouble:
            first, *others = trouble
            more = f" ({numbers.counted(len(others), 'more finding')})" if others else ""
            return f"{_who(first)}{first.evidence[0]}{first.held}{more}"
        if self.unknown:
            return self.unknown[0]
        return f"swiotlb is not involved: {self.innocent}"

    def as_text(self) -> str:
        """The answer, then a block a finding, then what was watched."""
        return "\n".join(self._lines())

    def as_json(self) -> dict[str, object]:
        """The same for machines; null is: not known."""
        return {
            "answer": self.word.lower(),
            "sentence": self.upshot,
            "findings": [finding.as_json() for finding in self.findings],
            "unknown": list(self.unknown),
            "devices": [DeviceReport.of_view(device).as_json() for device in self._devices],
            "watched": _watched_as_json(self.watched) if self.watched else None,
        }

    @property
    def _devices(self) -> tuple[DeviceView, ...]:
        return self.watched.now.devices if self.watched else ()

    def _lines(self) -> Iterator[str]:
        yield f"{self.word} - {self.upshot}"
        for finding in self.findings:
            yield ""
            yield f"{finding.kind.value}: {finding.meaning}"
            yield from (f"  {'' if at else _who(finding)}{sentence}" for at, sentence in enumerate(finding.evidence))
            yield from (f"  -> {sentence}" for sentence in finding.advice)
        if self.unknown:
            yield ""
            yield "not known, and could be trouble:"
            yield from (f"  {sentence}" for sentence in self.unknown)
        if self.watched:
            yield ""
            yield f"watched: {_watched(self.watched.now)}"


def _innocent(watched: Watched) -> str:
    now = watched.now
    if now.maps == 0:
        return (
            f"no map was asked for in {numbers.age(now.watched_ns)}, {_used(now.used_slots, now.all_slots)} are in use"
        )
    maps = f"{numbers.counted(now.maps, 'map')} in {numbers.age(now.watched_ns)}"
    return f"{maps}, none failed, {_most(watched)}"


def _most(watched: Watched) -> str:
    """How full it was, by the kernel's own high water mark where there is one: pools may have grown since then."""
    now, fullest = watched.now, watched.fullest or watched.now
    if now.used_hiwater_slots >= max(fullest.used_slots, 1):
        there_are = numbers.count(now.all_slots)
        return f"never more than {numbers.counted(now.used_hiwater_slots, 'slot')} in use, of {there_are} now"
    readings = numbers.counted(len(watched.readings), "reading")
    return f"at most {_used(fullest.used_slots, fullest.all_slots)} in use in {readings}"


def _watched(now: Snapshot) -> str:
    parts = [now.reason, numbers.age(now.watched_ns)]
    if now.maps >= 0:
        parts.append(f"{numbers.counted(now.maps, 'map')}, {numbers.count(now.map_failures)} failed")
    if now.used_slots >= 0:
        parts.append(f"{_used(now.used_slots, now.all_slots)} in use now")
    return "; ".join(parts)


def _watched_as_json(watched: Watched) -> dict[str, object]:
    now = watched.now
    return {
        "seconds": round(now.watched_ns / 1e9, 3),
        "source": now.source,
        "kernel_release": now.kernel_release,
        "maps": _known(now.maps),
        "map_failures": _known(now.map_failures),
        "nslabs": _known(now.nslabs),
        "used_slots": _known(now.used_slots),
        "most_used_slots": _known(watched.most_used_slots),
        "used_hiwater_slots": _known(now.used_hiwater_slots),
    }


def _used(slots: int, of: int) -> str:
    return f"{numbers.percent(slots, of)}% of {numbers.count(of)} slots"


def _who(finding: Finding) -> str:
    device = f"{finding.driver} {finding.device}".strip()
    known_as = f" ({finding.known_as})" if finding.known_as else ""
    return f"{device}{known_as}: " if device else ""


def _known(number: int) -> int | None:
    return None if number < 0 else number
