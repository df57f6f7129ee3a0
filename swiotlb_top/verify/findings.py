"""What the judge found: counts, and the first thing that went wrong in full."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from swiotlb_top.allocator import Explanation, Violation
from swiotlb_top.events import Event


class Verdict(Enum):
    """The three answers."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Divergence:
    """A place where kernel and reference part."""

    operation: int
    """Which operation of the stream, counted from 1."""
    time_ns: int
    event: Event | None
    observed: str
    expected: str
    violations: tuple[Violation, ...]
    picture: str
    """The reference's slots around the place, before the operation."""
    overlapping: int
    """Operations it overlapped with."""
    orders_tried: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed mapping the reference understands."""

    event: Event
    dev: int
    explanation: Explanation


@dataclass(slots=True)
class Findings:
    """Running totals of one stream."""

    agree: int = 0
    disagree: int = 0
    inconclusive: int = 0
    safety_violations: int = 0
    audits: int = 0
    first: Divergence | None = None
    failures: list[Failure] = field(default_factory=list)
    """Explained failures not yet taken by :meth:`take_failures`."""
    doubts: dict[str, int] = field(default_factory=dict)
    """Why operations stayed inconclusive -> how many."""

    @property
    def compared(self) -> int:
        """Operations that were put to the reference and answered."""
        return self.agree + self.disagree

    @property
    def verdict(self) -> Verdict:
        """The stream's: one disagreement is one, and silence is no agreement."""
        if self.disagree or self.safety_violations:
            return Verdict.DISAGREE
        if self.inconclusive or not self.agree:
            return Verdict.INCONCLUSIVE
        return Verdict.AGREE

    def doubt(self, why: str, operations: int = 1) -> None:
        """Count operations nobody can judge."""
        self.inconclusive += operations
        self.doubts[why] = self.doubts.get(why, 0) + operations

    def take_failures(self) -> list[Failure]:
        """The failures explained since the last call."""
        taken, self.failures = self.failures, []
        return taken
