"""One recording judged by several revisions, one after the other: by each until it is refuted, or to the end.

There is one judge at a time, so that memory is that of one model, however many revisions there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from swiotlb_top.allocator import Revision
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.kernel.hooks import ALLOC_POOL
from swiotlb_top.state import KernelInfo, MemState
from swiotlb_top.stream import Consumer, tell
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Findings, Judge


def tried(path: Path, kernel: KernelInfo, revisions: Iterable[Revision]) -> dict[str, Findings]:
    """What each revision makes of a recording, as far as it can be read.

    The counts of a revision that is refuted are those up to its first disagreement that is known for good.

    :param revisions: what to judge by; each has a name of its own.
    :returns: findings by the revision's name.
    """
    return {revision.name: _Trial(revision, kernel).of(path) for revision in revisions}


class _Trial(Consumer):
    """One recording judged by one revision."""

    def __init__(self, revision: Revision, kernel: KernelInfo) -> None:
        announced = kernel.sees(ALLOC_POOL)
        self._judge = Judge(revision, pools_announced=announced, cpus=kernel.cpus.numbers())

    def of(self, path: Path) -> Findings:
        judge = self._judge
        try:
            for item in TraceReader(path).stream():
                tell(item, self)
                judge.findings.take_failures()  # nobody asks for them
                if judge.is_refuted:
                    return judge.findings
        except UnreadableError:
            pass  # what comes before is judged
        judge.finish(whole=False)
        return judge.findings

    def state(self, mem: MemState) -> None:
        self._judge.state(mem)

    def feed(self, events: Sequence[Event]) -> None:
        self._judge.feed(events)
        self._judge.keep_up()

    def gap(self, gap: Gap) -> None:
        self._judge.gap(gap)

    def known_before(self, time_ns: int) -> None:
        self._judge.known_before(time_ns)
