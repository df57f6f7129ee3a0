"""One recording judged by several revisions side by side, read once: each until it is refuted, or to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from swiotlb_top.allocator import Revision
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.kernel.hooks import ALLOC_POOL
from swiotlb_top.state import KernelInfo, MemState
from swiotlb_top.stream import Consumer, End, tell
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Findings, Judge


class Trials(Consumer):
    """The findings of each revision. A judge is dropped once the first disagreement with it is known for good.

    :param revisions: what to judge by; each has a name of its own.
    """

    def __init__(self, kernel: KernelInfo, revisions: Iterable[Revision]) -> None:
        announced, cpus = kernel.sees(ALLOC_POOL), kernel.cpus.numbers()
        self._going = {revision.name: Judge(revision, pools_announced=announced, cpus=cpus) for revision in revisions}
        self.findings: dict[str, Findings] = {name: judge.findings for name, judge in self._going.items()}
        """By the revision's name. The counts of one that is refuted are those up to where it was dropped."""
        self.events = 0
        self.lost = 0
        self.begin_ns = 0
        """When the first state was read, or the first call was over if that came before; 0 before that."""
        self.damage = ""
        """Why the recording could not be read to its end; empty where it could."""

    def take(self, path: Path) -> None:
        """Judge a recording as far as it can be read."""
        try:
            for item in TraceReader(path).stream():
                tell(item, self)
        except UnreadableError as error:
            self.damage = str(error)
        for judge in self._going.values():
            judge.finish(whole=False)

    def state(self, mem: MemState) -> None:
        self.begin_ns = self.begin_ns or mem.begin_ns
        self._each(lambda judge: judge.state(mem))

    def feed(self, events: Sequence[Event]) -> None:
        if events:
            self.begin_ns = self.begin_ns or events[0].exit_ns
        self.events += len(events)
        self._each(lambda judge: judge.feed(events))
        self._each(lambda judge: judge.keep_up())

    def gap(self, gap: Gap) -> None:
        self.lost += gap.lost
        self._each(lambda judge: judge.gap(gap))

    def known_before(self, time_ns: int) -> None:
        self._each(lambda judge: judge.known_before(time_ns))

    def end(self, end: End) -> None:
        self.lost = max(self.lost, end.lost)

    def _each(self, do: Callable[[Judge], object]) -> None:
        for name, judge in list(self._going.items()):
            do(judge)
            judge.findings.take_failures()
            if judge.is_refuted:
                del self._going[name]
