"""What is measured of one recording: samples in the order of the events, and counts in parts of equal length."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from swiotlb_top.compare.sample import Sample
from swiotlb_top.errors import UnreadableError
from swiotlb_top.recording.books import Began, Ended, Happening, Lost, Refused
from swiotlb_top.recording.opened import Recording
from swiotlb_top.trace.survey import Survey

PARTS: Final = 32
"""How many parts of equal length the time of a recording is cut into."""
NOT_EXPLAINED: Final = "not_explained"
"""The cause of failed maps for which the reference gives none."""


@dataclass(slots=True)
class Part:
    """What happened in one part of the time."""

    maps: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    """Failed maps by cause."""
    is_whole: bool = True
    """Whether no event is known to be lost in this part."""

    @property
    def failures(self) -> int:
        return self.causes.total()


@dataclass(slots=True)
class Measured:
    """One recording."""

    path: Path
    kernel_release: str
    is_partial: bool
    """Whether it has the calls of some devices or pools only."""
    found: Survey
    maps: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    """Failed maps by cause."""
    latencies_ns: Sample = field(default_factory=Sample)
    """Latencies of the maps that got slots, in the order in which they returned."""
    holds_ns: Sample = field(default_factory=Sample)
    """Times from map to unmap, in the order of the unmaps."""
    longest_free_slots: Sample = field(default_factory=Sample)
    """For each failed map, the longest free run in the areas that it searched."""
    parts: list[Part] = field(default_factory=lambda: [Part() for _ in range(PARTS)])
    damage: str = ""
    """Why the recording could not be read to its end; empty if it could. Else what comes before was measured."""

    @property
    def failures(self) -> int:
        return self.causes.total()

    @property
    def lost(self) -> int:
        """Events that were not recorded."""
        ended = self.found.ended
        return max(self.found.lost, ended.lost if ended else 0)

    @property
    def part_s(self) -> float:
        """How long each part is, in seconds."""
        return self.found.length_ns / PARTS / 1e9

    @property
    def whole_parts(self) -> list[Part]:
        """The parts in which no event was lost; none of them if it is not known when events were lost."""
        known = self.lost <= self.found.lost and self.part_s > 0
        return [part for part in self.parts if part.is_whole] if known else []

    def take(self, happening: Happening) -> None:
        """Measure what happened next."""
        if isinstance(happening, Began):
            self.maps += 1
            self._part(happening.call.exit_ns).maps += 1
            if happening.mapping.latency_ns is not None:
                self.latencies_ns.add(happening.mapping.latency_ns)
        elif isinstance(happening, Ended):
            if happening.mapping.hold_ns is not None:
                self.holds_ns.add(happening.mapping.hold_ns)
        elif isinstance(happening, Refused):
            failure = happening.failure
            cause = failure.cause or NOT_EXPLAINED
            self.causes[cause] += 1
            self._part(failure.time_ns).causes[cause] += 1
            if failure.longest_free_slots is not None:
                self.longest_free_slots.add(failure.longest_free_slots)
        elif isinstance(happening, Lost):
            first, last = map(self._number, (happening.gap.begin_ns, happening.gap.exit_ns))
            for part in self.parts[first : last + 1]:
                part.is_whole = False

    def _part(self, time_ns: int) -> Part:
        return self.parts[self._number(time_ns)]

    def _number(self, time_ns: int) -> int:
        """The number of the part in which a time lies. Earlier times are in the first part, later ones in the last."""
        after_ns = time_ns - self.found.begin_ns
        return min(max(after_ns * PARTS // max(self.found.length_ns, 1), 0), PARTS - 1)


def measure(path: Path) -> Measured:
    """Judge a recording and measure it, as far as it can be read.

    :raises UnreadableError: the file is no recording.
    :raises CannotError: no revision is known for its kernel.
    """
    recording = Recording(path)
    measured = Measured(path, recording.header.kernel.release, recording.header.partial, recording.info().found)
    try:
        for happening in recording.happenings(judged=True):
            measured.take(happening)
    except UnreadableError as error:
        measured.damage = str(error)
    return measured
