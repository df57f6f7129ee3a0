"""What the judge found: counts, the reasons of doubt, and the first disagreement of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from swiotlb_top.allocator import Allocator, Cause, Explanation, Request, Violation
from swiotlb_top.events import Event
from swiotlb_top.verify.faults import Fault


class Verdict(Enum):
    """The three answers of the judge."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INCONCLUSIVE = "inconclusive"


class Doubt(Enum):
    """A reason why operations stay inconclusive. The value is the sentence that a report gives."""

    BEFORE_STATE = "before the first state"
    AFTER_GAP = "after a gap"
    DURING_STATE = "while the state was read"
    OLDER_POOL = "pool from before the recording"
    UNTOLD_POOL = "transient pool, of which this kernel does not tell"
    SEVERAL_POOLS = "address that two pools had, and a release whose beginning was not seen"
    IMPOSSIBLE_POOL = "pool that cannot be"
    NEVER_INTRODUCED = "device never introduced"
    NO_SIZE = "request for no bytes"
    SLOT_SETS = "of a kernel whose slot sets are not of the 128 slots that are known"
    KIND = "map that may have been refused for the kind of its pool's memory"
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
    PLAINLY_WRONG = "after so many disagreements that more would tell nothing new"
    NOT_TRIED = "of a kernel that may have a revision that was not tried"
    UNKNOWN_KERNEL = "of a kernel that is like none that is known"


NOT_SAMPLED: Final = frozenset(
    {Doubt.BEFORE_STATE, Doubt.AFTER_GAP, Doubt.DURING_STATE, Doubt.OLDER_POOL, Doubt.UNTOLD_POOL}
)
"""Why operations around the beginning of a stream cannot be judged.

A sampling source (live) leaves these out instead of counting them as inconclusive.
"""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One operation on which kernel and model disagree, with what a report says of it."""

    operation: int
    """Its number among the operations of the stream that were compared, from 1."""
    agreeing: int
    """How many agreed before it."""
    time_ns: int
    """Its response."""
    event: Event | None
    """Its record; None if it is part of a snapshot of the kernel's state."""
    observed: str
    """What the kernel did, in words."""
    expected: str
    """What the model would have done, in words."""
    violations: tuple[Violation, ...]
    """The safety rules that it breaks."""
    picture: str
    """The model's slots around the place, before the operation; empty if it has no place, or was not drawn."""
    orders: Orders | None
    """What was tried to explain it; None if that is not kept."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders of overlapping operations of which the model accepts none to the end."""

    ordered_with: tuple[Event, ...]
    """The operations that overlap the one that disagrees and share areas with it: it may have come before or after
    each of them."""
    tried: int
    """How many orders of these were tried."""
    longest_prefix: tuple[Event, ...]
    """The longest of these orders, as far as the model accepts it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed mapping on which the model agrees, and the reason why it failed."""

    event: Event
    dev: int
    explanation: Explanation


class Moment(NamedTuple):
    """How it stood when a map failed. The model goes on afterwards: who wants to know something of it looks at once."""

    model: Allocator
    cpu: int
    request: Request


class Listener:
    """Is told the answer to each call of the kernel, once it is final. Of what is inconclusive nothing is told."""

    def agreed(self, event: Event) -> None:
        """The model does the same."""

    def disagreed(self, event: Event) -> None:
        """The model does not, and that is confirmed."""

    def diverged(self, divergence: Divergence) -> None:
        """What a report says of a confirmed disagreement, of a call or of a state, if that was kept."""

    def elsewhere(self, event: Event) -> None:
        """It was made on another allocator, which is not judged."""

    def explained(self, failure: Failure) -> None:
        """Why a map failed, of which :meth:`agreed` is told, too."""

    def failed_at(self, failure: Failure, moment: Moment) -> None:
        """How it stood when that map failed."""


@dataclass(slots=True)
class Findings:
    """Running totals of one stream."""

    agree: int = 0
    disagree: int = 0
    inconclusive: int = 0
    safety_violations: int = 0
    elsewhere: int = 0
    """Operations on another allocator (a restricted pool's), which are not judged."""
    equal_areas: int = 0
    """Areas that were read in the middle of the stream, and were equal to the model's."""
    faults: dict[Fault, int] = field(default_factory=dict)
    """How many operations disagree in each way; together they are :attr:`disagree`."""
    firsts: dict[Fault, Divergence] = field(default_factory=dict)
    """The first confirmed disagreement of each kind; a kind has none if what a report says of it was not kept."""
    failures: list[Failure] = field(default_factory=list)
    """Explained failures that :meth:`take_failures` has not returned yet."""
    causes: dict[Cause, Failure] = field(default_factory=dict)
    """The first failure of each cause."""
    doubts: dict[Doubt, int] = field(default_factory=dict)
    """How many operations are inconclusive for each reason."""

    listener: Listener = field(default_factory=Listener)

    @property
    def first(self) -> Divergence | None:
        """The first disagreement that is confirmed."""
        return min(self.firsts.values(), key=lambda divergence: divergence.operation, default=None)

    @property
    def compared(self) -> int:
        """Operations that were compared with the model and answered."""
        return self.agree + self.disagree

    @property
    def answered(self) -> int:
        """Operations of which anything was said: those that were compared, and those that are inconclusive."""
        return self.agree + self.disagree + self.inconclusive

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole stream. One disagreement makes it *disagree*; no operations are no agreement."""
        if self.disagree or self.safety_violations:
            return Verdict.DISAGREE
        if self.inconclusive or not self.agree:
            return Verdict.INCONCLUSIVE
        return Verdict.AGREE

    def doubt(self, why: Doubt, operations: int = 1) -> None:
        """Count operations as inconclusive."""
        self.inconclusive += operations
        self.doubts[why] = self.doubts.get(why, 0) + operations

    def doubt_no_more(self, why: Doubt, operations: int = 1) -> None:
        """Take back :meth:`doubt` for operations of which more is known now."""
        self.inconclusive -= operations
        self.doubts[why] -= operations
        if not self.doubts[why]:
            del self.doubts[why]

    def of_unknown_kernel(self, why: Doubt = Doubt.UNKNOWN_KERNEL) -> Findings:
        """The same if it is not known what the kernel should have done: nothing was compared, and nothing was wrong.

        :param why: the reason for which all that was compared is inconclusive.
        """
        unknown = Findings(elsewhere=self.elsewhere, doubts=dict(self.doubts), inconclusive=self.inconclusive)
        if self.compared:
            unknown.doubt(why, self.compared)
        return unknown

    def agreed(self, event: Event | None) -> None:
        """Count a call with which the model agrees."""
        self.agree += 1
        if event is not None:
            self.listener.agreed(event)

    def disagreed(
        self, event: Event | None, safety_violations: int, fault: Fault, divergence: Divergence | None
    ) -> None:
        """Count a confirmed disagreement.

        :param event: None where a state shows it.
        :param safety_violations: how many safety rules it breaks.
        :param divergence: what a report says of it, if that was kept.
        """
        self.disagree += 1
        self.safety_violations += safety_violations
        self.faults[fault] = self.faults.get(fault, 0) + 1
        first = self.firsts.get(fault)
        if divergence and (first is None or divergence.operation < first.operation):
            self.firsts[fault] = divergence
        if divergence:
            self.listener.diverged(divergence)
        if event is not None:
            self.listener.disagreed(event)

    def made_elsewhere(self, event: Event) -> None:
        """Count a call on another allocator."""
        self.elsewhere += 1
        self.listener.elsewhere(event)

    def explained(self, failure: Failure, moment: Moment) -> None:
        """Note a failed mapping whose cause is known."""
        self.listener.explained(failure)
        self.listener.failed_at(failure, moment)
        self.failures.append(failure)
        self.causes.setdefault(failure.explanation.cause, failure)

    def take_failures(self) -> list[Failure]:
        """The failures that were explained since the last call."""
        taken, self.failures = self.failures, []
        return taken
