"""A recording opened: its events, and tables of rows, read as they are asked for.

Every iteration reads the file again. In memory it keeps the mappings that are held, a few seconds of calls that may
overlap, and, if rows are judged, two bytes an event. Of a recording that is cut short or damaged, everything before the
damage is given, and then UnreadableError is raised.
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
    """A table of a recording. Each iteration reads the recording again.

    :raises UnreadableError: while iterating, after all rows before the damage.
    """

    def __init__(self, row: type[R], read: Callable[[], Iterator[R]]) -> None:
        self.row: Final = row
        """The type of its rows, a named tuple whose fields are the columns."""
        self._read = read

    def __iter__(self) -> Iterator[R]:
        return self._read()

    def to_arrow(self) -> Any:
        """All rows as a ``pyarrow.Table``.

        :raises CannotError: pyarrow is not installed.
        :raises UnreadableError: it cannot be read to its end.
        """
        return to_arrow(self, self.row)

    def to_pandas(self) -> Any:
        """All rows as a ``pandas.DataFrame``.

        :raises CannotError: pandas is not installed.
        :raises UnreadableError: it cannot be read to its end.
        """
        return to_pandas(self, self.row)


class Recording:
    """One recording on disk.

    :param revision: name of the revision to judge by, or None for the one that its kernel has.
    :raises UnreadableError: the file is no recording.
    """

    def __init__(self, path: str | os.PathLike[str], revision: str | None = None) -> None:
        self.path: Final = Path(path)
        self._trace = TraceReader(self.path)
        self._revision = revision

    @property
    def header(self) -> Header:
        """The kernel that was recorded, and when the recording began."""
        return self._trace.header

    @cached_property
    def clock(self) -> Clock:
        """Converts the times of the recording to wall clock."""
        return Clock.of(self.header, _first_ns(self._trace))

    def info(self) -> Info:
        """A description of the recording. The file is read once, and not judged."""
        return inspect(self.path)

    def events(self) -> Iterator[Event]:
        """One event for each call in the kernel, and a Gap where events were lost.

        They come as they were recorded: roughly in the order in which the calls returned.

        :raises UnreadableError: after all events before the damage.
        """
        for item in self._trace.stream():
            if isinstance(item, Records):
                yield from item.events()
            elif isinstance(item, Gap):
                yield item

    def mappings(self, *, judged: bool = True) -> Rows[Mapping]:
        """One row for each mapping and each map that failed, in the order in which mappings ended and maps failed.

        A mapping whose unmap is not in the recording gets its row where events were lost, or at the end.

        :param judged: fill in cause, verdict and overlap. The recording is judged for that, once for all tables.
        """
        return Rows(Mapping, lambda: self._mappings(judged))

    def failures(self, *, judged: bool = True) -> Rows[Failure]:
        """One row for each map that failed, in the order of the events.

        :param judged: fill in cause, sentence and verdict.
        """
        return Rows(Failure, lambda: (one.failure for one in self.happenings(judged) if isinstance(one, Refused)))

    def pools(self) -> Rows[Pool]:
        """One row for each memory pool, in the order in which they were freed. Those never freed come at the end."""
        return Rows(Pool, lambda: (one.row for one in self.happenings(judged=False) if isinstance(one, Gone)))

    def devices(self) -> Rows[Device]:
        """One row for each device, in the order in which they appear."""
        return Rows(Device, self._devices)

    def slots(self, step_ns: int = STEP_NS) -> Rows[Slots]:
        """How many slots are in use over time: one row for each step of time that has an event.

        :param step_ns: length of a step, at least 1.
        """
        return Rows(Slots, lambda: self._steps(step_ns))

    def happenings(self, judged: bool) -> Iterator[Happening]:
        """What happened, in the order of the events. The rows are made from it.

        :param judged: fill in what the judge answers.
        :raises UnreadableError: after everything before the damage.
        """
        books = Books(self.header.kernel, self._revision, self.clock, self._answers if judged else None)
        for item in self._items_and_then(books.finish):
            if item is not None:
                tell(item, books)
            yield from books.take()

    # ---- the tables ------------------------------------------------------

    def _mappings(self, judged: bool) -> Iterator[Mapping]:
        for happening in self.happenings(judged):
            if isinstance(happening, Ended) or (isinstance(happening, Refused) and happening.has_row):
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
        """The items of the recording, then None.

        ``finish`` is called before None is given. If the recording is damaged, the error is raised after None.
        """
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
    """When the first state was read or the first call returned, whichever is recorded first; 0 if there is neither."""
    try:
        for item in trace.stream():
            if isinstance(item, MemState) and item.begin_ns:
                return item.begin_ns
            if isinstance(item, Records) and item.count:
                return next(item.events()).exit_ns
    except UnreadableError:
        pass
    return 0
