"""A recording is judged one second ahead of what is shown of it.

An operation can only be judged when the operations that overlap it are known, and these come later in the stream. Yet
the slots and the verdict on the screen should belong to the same time. So the judge receives one second of the stream
in advance, and the account receives it when its time is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from swiotlb_top.events import Event, Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import Consumer, Item, Records

AHEAD_NS: Final = 1_000_000_000
_QUIET_NS: Final = 2 * AHEAD_NS + 100_000_000
"""This long after the latest event, every event has been judged."""
_AT_ONCE: Final = -1
_Kept: TypeAlias = tuple[int, Callable[[int], None]]
"""When an item is due, and a function that passes on the part of it that had returned by a given time."""


class Upcoming:
    """The rest of a stream, which is taken in steps, each up to a later time."""

    def __init__(self, stream: Iterator[Item]) -> None:
        self._stream = stream
        self._rest: Records | None = None
        self.is_over = False

    def until(self, time_ns: Callable[[], int]) -> Iterator[Item]:
        """The items up to ``time_ns()``, which is asked anew after each item, and one event more."""
        while (item := self._next()) is not None:
            if isinstance(item, Records):
                item, self._rest = item.split(time_ns())
                over_ns = item.last_ns
            else:
                over_ns = item.exit_ns if isinstance(item, Gap) else 0
            yield item
            if over_ns > time_ns():
                return
        self.is_over = True

    def give_up(self) -> None:
        """Drop the rest, which cannot be read."""
        self._stream, self._rest, self.is_over = iter(()), None, True

    def _next(self) -> Item | None:
        rest, self._rest = self._rest, None
        return rest or next(self._stream, None)


class Backlog(Consumer):
    """Keeps what it receives, and passes it on to other consumers when its time has come."""

    def __init__(self, *others: Consumer) -> None:
        self._others = others
        self._kept: deque[_Kept] = deque()
        self.told_ns = 0
        """When the latest call or gap that was passed on was over; 0 before the first."""

    @property
    def next_ns(self) -> int | None:
        """When the first call or gap that is still kept was over; None if none is kept."""
        return next((due_ns for due_ns, _ in self._kept if due_ns != _AT_ONCE), None)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def state(self, mem: MemState) -> None:
        self._keep(_AT_ONCE, mem.begin_ns, lambda other: other.state(mem))

    def name(self, name: DeviceName) -> None:
        self._keep(_AT_ONCE, 0, lambda other: other.name(name))

    def gap(self, gap: Gap) -> None:
        self._keep(gap.exit_ns, gap.exit_ns, lambda other: other.gap(gap))

    def feed(self, events: Sequence[Event]) -> None:
        if events:
            self._kept.append((events[0].exit_ns, lambda until_ns: self._feed(events, until_ns)))

    def pass_on(self, until_ns: int) -> None:
        """Pass on what was over by ``until_ns``; states and names as soon as everything before them is passed on."""
        while self._kept and self._kept[0][0] <= until_ns:
            _, tell = self._kept.popleft()
            tell(until_ns)

    def _keep(self, due_ns: int, over_ns: int, tell: Callable[[Consumer], None]) -> None:
        def tell_all(_: int) -> None:
            self.told_ns = over_ns or self.told_ns
            for other in self._others:
                tell(other)

        self._kept.append((due_ns, tell_all))

    def _feed(self, events: Sequence[Event], until_ns: int) -> None:
        due = next((at for at, event in enumerate(events) if event.exit_ns > until_ns), len(events))
        self.told_ns = events[due - 1].exit_ns
        for other in self._others:
            other.feed(events[:due])
        if due < len(events):
            later = events[due:]
            self._kept.appendleft((later[0].exit_ns, lambda until_ns: self._feed(later, until_ns)))


class JudgedAhead(Pipeline):
    """A pipeline whose judge receives the stream at once, and whose account receives each part when its time is shown.

    :param followers: consumers that receive the same as the account, at the same time.
    """

    def __init__(self, kernel: KernelInfo, *followers: Consumer) -> None:
        super().__init__(kernel)
        self.backlog = Backlog(self.account, *followers)
        self._books = self.backlog

    def show(self, time_ns: int) -> None:
        """Account for what was over by ``time_ns``, and judge it; the judge already knows :data:`AHEAD_NS` more."""
        self.backlog.pass_on(time_ns)
        if not self.backlog:
            self.finish(whole=False)
        elif time_ns - self.accounted_ns <= _QUIET_NS:
            self.advance(time_ns + AHEAD_NS)

    @property
    def accounted_ns(self) -> int:
        """When the latest call or gap that is shown was over."""
        return self.backlog.told_ns or self.begin_ns
