"""A recording opened: its events, and tables of rows, read as they are asked for.

Every iteration reads the file anew, and keeps what is not over yet: mappings that are held, a few seconds of calls that
may overlap, and, where rows are judged, a byte an event. A recording that is cut short or damaged gives all that comes
before the fault, and then raises UnreadableError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from swiotlb_top.accounting.watcher import Watcher
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.pipeline import Uncounted, account_of
from swiotlb_top.recording.answers import Answers
from swiotlb_top.recording.books import Books, Ended, Gone, Happening, Refused
from swiotlb_top.recording.clock import Clock
from swiotlb_top.recording.columnar import to_arrow, to_pandas
from swiotlb_top.recording.devices import device_rows
from swiotlb_top.recording.info import Info, inspect
from swiotlb_top.recording.rows import Device, Failure, Mapping, Pool, Row, Slots
from swiotlb_top.recording.steps import STEP_NS, Steps
from swiotlb_top.state import MemState
from swiotlb_top.stream import Item, Records, tell
from swiotlb_top.trace import Header, TraceReader

R = TypeVar("R", bound=Row, covariant=True)


class Rows(Generic[R]):
    """A table of a recording, made anew whenever it is iterated over.

    :raises UnreadableError: while iterating, after what can be read.
    """

    def __init__(self, row: type[R], read: Callable[[], Iterator[R]]) -> None:
        self.row: Final = row
        """The type of its rows, a named tuple; its fields are the columns."""
        self._read = read

    def __iter__(self) -> Iterator[R]:
        return self._read()

    def to_arrow(self) -> Any:
        """All of it as a ``pyarrow.Table``.

        :raises CannotError: pyarrow is not installed.
        :raises UnreadableError: it cannot be read to its end.
        """
        return to_arrow(self, self.row)

    def to_pandas(self) -> Any:
        """All of it as a ``pandas.DataFrame``.

        :raises CannotError: pandas is not installed.
        :raises UnreadableError: it cannot be read to its end.
        """
        return to_pandas(self, self.row)


class Recording:
    """One file.

    :param revision: name of the revision to judge by, or None for its kernel's own.
    :raises UnreadableError: it is no recording.
    """

    def __init__(self, path: str | os.PathLike[str], revision: str | None = None) -> None:
        self.path: Final = Path(path)
        self._trace = TraceReader(self.path)
        self._revision = revision

    @property
    def header(self) -> Header:
        """Of which kernel it is, and when it began."""
        return self._trace.header

    @cached_property
    def clock(self) -> Clock:
        """Gives the wall clock of its times."""
        return Clock.of(self.header, _first_ns(self._trace))

    def info(self) -> Info:
        """What it is and holds; it is read once for that, and not judged."""
        return inspect(self.path)

    def events(self) -> Iterator[Event]:
        """What the kernel did, one event a call, and a Gap where events were lost, as they were recorded: roughly in
        the order in which calls ended.

        :raises UnreadableError: after what can be read.
        """
        for item in self._trace.stream():
            if isinstance(item, Records):
                yield from item.events()
            elif isinstance(item, Gap):
                yield item

    def mappings(self, *, judged: bool = True) -> Rows[Mapping]:
        """A row a mapping, and a row a map that was refused, in the order in which they were over.

        Those whose end is not in the recording come where it ends, or where events were lost.

        :param judged: with cause, verdict and overlap, for which the recording is judged first, once for all tables.
        """
        return Rows(Mapping, lambda: self._mappings(judged))

    def failures(self, *, judged: bool = True) -> Rows[Failure]:
        """A row a map that was refused, in the order of the events.

        :param judged: with cause, sentence and verdict.
        """
        return Rows(Failure, lambda: (one.failure for one in self.happenings(judged) if isinstance(one, Refused)))

    def pools(self) -> Rows[Pool]:
        """A row a memory pool, in the order in which they went."""
        return Rows(Pool, lambda: (one.row for one in self.happenings(judged=False) if isinstance(one, Gone)))

    def devices(self) -> Rows[Device]:
        """A row a device, in the order in which they appear."""
        return Rows(Device, self._devices)

    def slots(self, step_ns: int = STEP_NS) -> Rows[Slots]:
        """How many slots are in use over time, a row a step in which anything happened.

        :param step_ns: length of a step, at least 1.
        """
        return Rows(Slots, lambda: self._steps(step_ns))

    def happenings(self, judged: bool) -> Iterator[Happening]:
        """What happened, one thing after the other: what the rows are made of."""
        books = Books(self.header.kernel, self._revision, self.clock, self._answers if judged else None)
        for item in self._items_and_then(books.finish):
            if item is not None:
                tell(item, books)
            yield from books.take()

    # ---- the tables ------------------------------------------------------

    def _mappings(self, judged: bool) -> Iterator[Mapping]:
        for happening in self.happenings(judged):
            if isinstance(happening, Ended | Refused):
                yield happening.mapping

    def _devices(self) -> Iterator[Device]:
        account = account_of(self.header.kernel, self._revision, Watcher())
        found: list[Device] = []

        def add_up() -> None:
            found.extend(device_rows(account.devices))

        for item in self._items_and_then(add_up):
            if item is not None:
                tell(item, account)
            yield from found

    def _steps(self, step_ns: int) -> Iterator[Slots]:
        steps = Steps(account_of(self.header.kernel, self._revision, Watcher()), self.clock, step_ns)
        for item in self._items_and_then(steps.finish):
            if item is not None:
                tell(item, steps)
            yield from steps.take()

    @cached_property
    def _answers(self) -> Answers:
        answers = Answers(Uncounted(self.header.kernel, self._revision))
        answers.take(self._trace)
        return answers

    def _items_and_then(self, finish: Callable[[], None]) -> Iterator[Item | None]:
        """The items, and None after the last that can be read, once ``finish`` was called. Then it raises."""
        damage: UnreadableError | None = None
        try:
            yield from self._trace.stream()
        except UnreadableError as error:
            damage = error
        finish()
        yield None
        if damage is not None:
            raise damage


def _first_ns(trace: TraceReader) -> int:
    """When the first state was read, or the first call was over; 0 where there is neither."""
    try:
        for item in trace.stream():
            if isinstance(item, MemState) and item.begin_ns:
                return item.begin_ns
            if isinstance(item, Records) and item.count:
                return next(item.events()).exit_ns
    except UnreadableError:
        pass
    return 0
