"""What the judge was fed and has not resolved yet, because calls that are still to come may overlap it.

Calls lie here as events, each between its response and its invocation. Where the native core is there, runs of calls
that overlap no other of their block stay packed, until it shows that one overlaps something else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Final, TypeAlias

from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Free, Grow, Map, PoolAdd, Unmap
from swiotlb_top.state import PoolState
from swiotlb_top.stream import Batch
from swiotlb_top.verify.operations import lone_calls
from swiotlb_top.verify.operations.intervals import NEVER_NS, assumed_entry_ns
from swiotlb_top.verify.operations.lone_calls import Run, runs_in
from swiotlb_top.verify.operations.observed import InitialCopy, ObservedPoolList

CALLS: Final = frozenset({Find, Map, Unmap, Free, PoolAdd, Grow})
"""Events that have an interval. All others happen at one moment."""
_MOST_CUTS: Final = 64
"""So many runs are cut where something else overlaps them; if there are more, the others are unpacked whole."""

Waits: TypeAlias = Event | PoolState | InitialCopy | ObservedPoolList | Run
Span: TypeAlias = tuple[int, int, Waits]
"""An item between its response and its invocation: ``(exit_ns, entry_ns, item)``."""


def spans_of(events: Iterable[Event]) -> Iterator[Span]:
    """Events, each between its response and its invocation."""
    for event in events:
        if type(event) in CALLS:
            entry_ns, exit_ns = event[:2]
            yield exit_ns, entry_ns if entry_ns != ENTRY_UNKNOWN else assumed_entry_ns(event), event  # type: ignore[arg-type]
        else:
            yield event.exit_ns, event.exit_ns, event


class Waiting:
    """The items that wait, in the order in which they were fed, or else in that of their responses."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._runs = 0
        self._in_runs = 0
        """How many items there are in runs."""

    def __len__(self) -> int:
        return len(self._spans) - self._runs + self._in_runs

    def add(self, spans: Iterable[Span]) -> None:
        """Items come."""
        self._spans += spans

    def add_packed(self, batch: Batch) -> None:
        """Packed events come."""
        runs = runs_in(batch.data)
        if not runs:
            self._spans += spans_of(batch)
            return
        at = 0
        for run in runs:
            self._spans += _unpacked(Run(batch.data, at, run.begin))
            self._spans.append((run.exit_ns, run.entry_ns, run))
            at = run.end
        self._runs += len(runs)
        self._in_runs += sum(map(len, runs))
        self._spans += _unpacked(Run(batch.data, at, len(batch)))

    @property
    def first_ns(self) -> int:
        """The first response; never, if nothing waits."""
        return min((_first_exit_ns(span) for span in self._spans), default=NEVER_NS)

    @property
    def last_ns(self) -> int | None:
        """The last response; None if nothing waits."""
        return max((span[0] for span in self._spans), default=None)

    @property
    def has_unseen_entry(self) -> bool:
        """Whether a call waits of which the invocation was not seen."""
        return any(item.entry_ns == ENTRY_UNKNOWN for _, _, item in self._spans if type(item) in CALLS)  # type: ignore[union-attr]

    def states(self) -> set[PoolState]:
        """The pools as they were read that wait to be compared."""
        return {span[2] for span in self._spans if isinstance(span[2], PoolState)}

    def clear(self) -> None:
        """Drop all."""
        self._spans.clear()
        self._runs = self._in_runs = 0

    def take(self, until_ns: int, run_after_ns: int) -> tuple[list[Span], int]:
        """Take what responded before ``until_ns``, sorted by response.

        :param run_after_ns: calls are left in runs if they were invoked after this time.
        :returns: that, and the earliest invocation of what still waits, ``until_ns`` if nothing does.
        """
        if self._runs:
            self._spans = list(self._cut(until_ns, run_after_ns))
        spans = self._spans
        spans.sort(key=itemgetter(0))
        ready = bisect_left(spans, until_ns, key=itemgetter(0))
        to_come_ns = min((span[1] for span in spans[ready:]), default=until_ns)
        taken = spans[:ready]
        del spans[:ready]
        if self._runs:
            left = [len(span[2]) for span in spans if isinstance(span[2], Run)]
            self._runs, self._in_runs = len(left), sum(left)
        return taken, to_come_ns

    def _cut(self, until_ns: int, run_after_ns: int) -> Iterator[Span]:
        """The same spans, with all calls unpacked that overlap something beside their run."""
        intervals = [_interval(span) for span in self._spans]
        begins_ns, ends_ns = (sorted(map(itemgetter(at), intervals)) for at in (0, 1))
        cuts = 0
        for place, span in enumerate(self._spans):
            exit_ns, entry_ns, run = span
            if not isinstance(run, Run):
                yield span
                continue
            overlapped = bisect_right(begins_ns, exit_ns) - bisect_left(ends_ns, entry_ns) > 1
            cuts += overlapped
            if overlapped and cuts > _MOST_CUTS:
                yield from _unpacked(run)
                continue
            others = [(-1, run_after_ns)] if entry_ns <= run_after_ns else []
            if overlapped:
                others += [
                    (begin, end)
                    for at, (begin, end) in enumerate(intervals)
                    if begin <= exit_ns and entry_ns <= end and at != place
                ]
            yield from _apart(run, others, until_ns)


def _apart(run: Run, others: Iterable[tuple[int, int]], until_ns: int) -> Iterator[Span]:
    """Cut out of a run what overlaps others, which are times from one moment to another, and cut it at ``until_ns``."""
    at = run.begin
    for first, behind in sorted(run.overlapping(begin_ns, end_ns) for begin_ns, end_ns in others):
        # Where nothing of the run overlaps it, it lies between two calls: the run is cut there all the same.
        begin, end = max(first, at), max(behind, at)
        yield from _left(run.part(at, begin), until_ns)
        yield from _unpacked(run.part(begin, end))
        at = end
    yield from _left(run.part(at, run.end), until_ns)


def _left(run: Run, until_ns: int) -> Iterator[Span]:
    """What is left of a run: those that responded before ``until_ns``, and the others."""
    later = run.first_later(until_ns)
    for part in (run.part(run.begin, later), run.part(later, run.end)):
        if len(part) < lone_calls.SHORTEST:
            yield from _unpacked(part)
        else:
            yield part.exit_ns, part.entry_ns, part


def _interval(span: Span) -> tuple[int, int]:
    """From when to when. Of a state without pools, the list seems to have been read before its reading began."""
    exit_ns, entry_ns, _ = span
    return (entry_ns, exit_ns) if entry_ns <= exit_ns else (exit_ns, entry_ns)


def _unpacked(run: Run) -> Iterator[Span]:
    return spans_of(run.events())


def _first_exit_ns(span: Span) -> int:
    return span[2].first_exit_ns if isinstance(span[2], Run) else span[0]
