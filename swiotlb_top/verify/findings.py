"""What the judge found: counts, and the first thing that went wrong in full."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from swiotlb_top.allocator import Cause, Explanation, Violation
from swiotlb_top.events import Event


class Verdict(Enum):
    """The three answers."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INCONCLUSIVE = "inconclusive"


class Doubt(Enum):
    """A reason why operations stay inconclusive, with the words for it."""

    BEFORE_STATE = "before the first state"
    AFTER_GAP = "after lost events"
    DURING_STATE = "while the state was read"
    OLDER_POOL = "pool from before the recording"
    SEVERAL_POOLS = "address that two pools had, and a release whose beginning was not seen"
    IMPOSSIBLE_POOL = "pool that cannot be"
    NEVER_INTRODUCED = "device never introduced"
    NO_SIZE = "request for no bytes"
    NO_RESTRICTED = "page given back to a pool that hands out none"
    UNSEEN_ENTRY = "while a call may have been under way that was not seen to begin"
    LATE = "while a call was under way for very long"
    NOT_PLACED = "while a call was under way that ended after what is judged"
    NOT_RETURNED = "while calls may have been under way that are not in the recording"
    NOT_CERTAIN = "until every call is known that was under way"
    TOO_MANY_UNCERTAIN = "too many disagreements to keep that are not certain"
    TOO_MANY_AREAS = "too many areas to search"
    TOO_MANY_ORDERS = "too many orders to try"
    TOO_MANY_FAULTS = "overlaps too many faults"


NOT_SAMPLED: Final = frozenset({Doubt.BEFORE_STATE, Doubt.AFTER_GAP, Doubt.DURING_STATE, Doubt.OLDER_POOL})
"""Why operations around the beginning of a stream cannot be judged: for who looks in at times only, they are not
doubtful but not looked at."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A place where kernel and reference part."""

    operation: int
    """Which operation of the stream, counted from 1."""
    agreeing: int
    """How many agreed before it."""
    time_ns: int
    event: Event | None
    observed: str
    expected: str
    violations: tuple[Violation, ...]
    picture: str
    """The reference's slots around the place, before the operation."""
    ordered_with: tuple[Event, ...]
    """What it may have come before or after: operations at the same time, in the same area."""
    orders_tried: int
    """Orders of these, none of which the reference could follow to the end."""
    furthest: tuple[Event, ...]
    """How far it could at best."""


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
    elsewhere: int = 0
    """Operations on another allocator (a restricted device's), which are not judged."""
    audits: int = 0
    """Areas that were read in the middle of the stream, and found as the reference's."""
    first: Divergence | None = None
    failures: list[Failure] = field(default_factory=list)
    """Explained failures not yet taken by :meth:`take_failures`."""
    causes: dict[Cause, Failure] = field(default_factory=dict)
    """Of each cause, the first failure."""
    doubts: dict[Doubt, int] = field(default_factory=dict)
    """Why operations stayed inconclusive -> how many."""

    @property
    def compared(self) -> int:
        """Operations that were put to the reference and answered."""
        return self.agree + self.disagree

    @property
    def answered(self) -> int:
        """Operations of which something was said: these, and those that nobody can judge."""
        return self.compared + self.inconclusive

    @property
    def verdict(self) -> Verdict:
        """The stream's: one disagreement is one, and silence is no agreement."""
        if self.disagree or self.safety_violations:
            return Verdict.DISAGREE
        if self.inconclusive or not self.agree:
            return Verdict.INCONCLUSIVE
        return Verdict.AGREE

    def doubt(self, why: Doubt, operations: int = 1) -> None:
        """Count operations nobody can judge."""
        self.inconclusive += operations
        self.doubts[why] = self.doubts.get(why, 0) + operations

    def doubt_no_more(self, why: Doubt, operations: int = 1) -> None:
        """Of so many operations counted as inconclusive, more is known."""
        self.inconclusive -= operations
        self.doubts[why] -= operations
        if not self.doubts[why]:
            del self.doubts[why]

    def explained(self, failure: Failure) -> None:
        """A failed mapping is understood."""
        self.failures.append(failure)
        self.causes.setdefault(failure.explanation.cause, failure)

    def take_failures(self) -> list[Failure]:
        """The failures explained since the last call."""
        taken, self.failures = self.failures, []
        return taken
