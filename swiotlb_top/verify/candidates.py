"""A judge for each revision that the kernel may have, side by side, until one is left.

Kernels that show the same and have the same release may yet differ in what they do. So that tells: a kernel is not what
it disagrees with. If it must be one of those that are known, the last one that is left stays, and the kernel disagrees
with it. Any other kernel of which none is left is unknown, and nothing is claimed of it.

Each judge has a model with all mappings. Where these are very many, the less likely revisions are not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from swiotlb_top.allocator import Allocator, Candidate, Choice, Revision
from swiotlb_top.events import Event, Gap
from swiotlb_top.state import MemState
from swiotlb_top.verify.findings import Doubt, Failure, Findings, Listener, Verdict
from swiotlb_top.verify.judge import Judge
from swiotlb_top.verify.operations.intervals import NEVER_NS

UNKNOWN: Final = "unknown"
"""The name of what an unknown kernel has."""
_LIKE_NONE: Final = "this kernel does what none does that is known here: it is unknown, and nothing is claimed of it"
_LIKE_NONE_TRIED: Final = "this kernel does what none does that was tried, so that nothing is claimed of it"
_NOT_TRIED: Final = "not tried, as so many slots are in use"
_MOST_SLOTS: Final = 3 << 18
"""How many slots that are in use the models have at most when they begin, all together, unless one alone has more."""


class SideBySide:
    """Judges one stream by each revision that the kernel may have.

    :param choice: these revisions, and what the kernel is taken for if it is unknown.
    :param pools_announced: see :class:`Judge`.
    :param cpus: see :class:`Judge`.
    """

    def __init__(self, choice: Choice, *, pools_announced: bool = True, cpus: Collection[int] = (0,)) -> None:
        self.choice = choice
        self.left: tuple[Candidate, ...] = choice.candidates
        """Those that the kernel does not disagree with, the likeliest first; none if the kernel is unknown."""
        self.not_tried: tuple[Candidate, ...] = ()
        """Those of the choice that may explain the kernel, but of which there is no judge."""
        revisions = [candidate.revision for candidate in choice.candidates] or [choice.revision]
        self._judges = [Judge(revision, pools_announced=pools_announced, cpus=cpus) for revision in revisions]
        """One for each that is left; if none is, the one whose model shows where slots are free."""

    @property
    def revision(self) -> Revision:
        """The likeliest that is left."""
        return self._judges[0].revision

    @property
    def name(self) -> str:
        """The names of all that are left."""
        return " or ".join(candidate.revision.name for candidate in self.left) or UNKNOWN

    @property
    def note(self) -> str:
        """What is to be said where no revision explains the kernel, or not all were tried; else empty."""
        if self.not_tried:
            names = ", ".join(candidate.name for candidate in self.not_tried)
            return "; ".join([*([] if self.left else [_LIKE_NONE_TRIED]), f"{_NOT_TRIED}: {names}"])
        if self.left:
            return ""
        return _LIKE_NONE if self.choice.candidates else self.choice.note

    @property
    def findings(self) -> Findings:
        """The likeliest's that is left."""
        findings = self._judges[0].findings
        if self.left:
            return findings
        return findings.of_unknown_kernel(Doubt.NOT_TRIED if self.not_tried else Doubt.UNKNOWN_KERNEL)

    @property
    def model(self) -> Allocator | None:
        """The likeliest's: see :attr:`Judge.model`."""
        return self._judges[0].model

    def listen(self, make: Callable[[], Listener]) -> None:
        """Let each judge tell its answers to a listener of its own, which is made for it."""
        for judge in self._judges:
            judge.findings.listener = make()

    @property
    def listener(self) -> Listener:
        """The likeliest's: what it was told is nothing to claim of a kernel that is unknown."""
        return self._judges[0].findings.listener

    @property
    def steps(self) -> int:
        """How many steps the search for linearizations has taken, by all that are left."""
        return sum(judge.steps for judge in self._judges)

    def take_failures(self) -> list[Failure]:
        """The failures that were explained since the last call."""
        taken, *_ = [judge.findings.take_failures() for judge in self._judges]
        return taken if self.left else []

    # ---- the stream ------------------------------------------------------

    def state(self, mem: MemState) -> None:
        """The allocator's state was read."""
        self._leave_out(sum(pool.list_.count(0) for pool in mem.pools))
        self._each(lambda judge: judge.state(mem))

    def feed(self, events: Sequence[Event]) -> None:
        """The next events of the stream."""
        self._each(lambda judge: judge.feed(events))

    def gap(self, gap: Gap) -> None:
        """Events were lost."""
        self._each(lambda judge: judge.gap(gap))

    def known_before(self, time_ns: int) -> None:
        """Every call that was invoked before ``time_ns`` has responded, and was fed."""
        self._each(lambda judge: judge.known_before(time_ns))

    def keep_up(self) -> None:
        """Judge what can be judged, once so many events are waiting that it is worth it."""
        self._each(lambda judge: judge.keep_up())

    def advance(self, now_ns: int) -> None:
        """Judge what ended so long before ``now_ns`` that nothing to come can overlap it."""
        self._each(lambda judge: judge.advance(now_ns))

    def finish(self, until_ns: int = NEVER_NS, *, whole: bool = True) -> Findings:
        """Judge what is waiting: see :meth:`Judge.finish`."""
        self._each(lambda judge: judge.finish(until_ns, whole=whole))
        return self.findings

    def _each(self, do: Callable[[Judge], object]) -> None:
        for judge in self._judges:
            do(judge)
        if self.left:
            self._drop_refuted()

    def _leave_out(self, used_slots: int) -> None:
        """Leave out the least likely, if the models cannot have so many slots that are in use."""
        most = max(1, _MOST_SLOTS // max(1, used_slots))
        if len(self._judges) > most:
            self.left, more = self.left[:most], self.left[most:]
            self.not_tried += more
            del self._judges[most:]

    def _drop_refuted(self) -> None:
        """Drop those that the kernel disagrees with, but for the one that explains most if it must be one."""
        pairs = list(zip(self.left, self._judges, strict=True))
        left = [pair for pair in pairs if pair[1].findings.verdict is not Verdict.DISAGREE]
        if len(left) == len(pairs):
            return
        best = max(pairs, key=lambda pair: pair[1].findings.agree)
        if not left and self.choice.is_known and not self.not_tried:
            left = [best]
        self.left = tuple(candidate for candidate, _ in left)
        self._judges = [judge for _, judge in left or [best]]
