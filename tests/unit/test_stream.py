"""One way for the data: a stream is told to a consumer item by item, at once or when its time has come."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Gap
from swiotlb_top.records import RECORD, Kind, RawRecord
from swiotlb_top.sources.ahead import Backlog, Upcoming
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Batch, Consumer, End, Item, Known, Records, deliver, ended_ns
from tests.support.histories import DEV, machine

STATE = machine()
NAME = DeviceName(DEV, "0000:00:04.0", "virtio-pci")
END = End({}, 5, 0)


class Diary(Consumer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def state(self, mem: MemState) -> None:
        self.told.append(mem)

    def feed(self, events: Sequence[Event]) -> None:
        self.told += [event.exit_ns for event in events]

    def gap(self, gap: Gap) -> None:
        self.told.append(gap)

    def name(self, name: DeviceName) -> None:
        self.told.append(name)

    def known_before(self, time_ns: int) -> None:
        self.told.append(f"known before {time_ns}")

    def end(self, end: End) -> None:
        self.told.append(end)


def gap(exit_ns: int) -> Gap:
    return Gap(0, exit_ns, 1, "")


def records(*exits_ns: int, kind: int = Kind.POOL_FREE) -> Records:
    return Records(b"".join(RECORD.pack(*RawRecord(ns, 0, 0, kind, 0, 0, 1, 0, 0, 0, 0, 0)) for ns in exits_ns))


def test_a_consumer_is_told_everything_in_its_order() -> None:
    diary = Diary()
    deliver([NAME, STATE, records(1, 2), gap(3), Known(4), END], diary)
    assert diary.told == [NAME, STATE, 1, 2, gap(3), "known before 4", END]


def test_what_does_not_concern_a_consumer_leaves_it_as_it_is() -> None:
    deliver([NAME, STATE, records(1, 2), gap(3), Known(4), END], Consumer())


def test_packed_events_are_as_a_list_of_them() -> None:
    block = records(1, 2, 3, 4)
    events = list(block.events())
    batch = Batch(block.data)
    assert (len(batch), list(batch.part(1, 3))) == (4, events[1:3])
    assert (list(batch), batch[2], batch[1:], list(batch.part(1, 3))) == (events, events[2], events[1:], events[1:3])
    assert ended_ns(batch) == ended_ns(events) == [1, 2, 3, 4]


def test_packed_events_are_decoded_only_if_somebody_looks() -> None:
    unknown = Batch(records(1, kind=77).data)
    assert len(unknown) == 1
    assert ended_ns(unknown) == [1]
    with pytest.raises(ValueError, match="unknown kind"):
        list(unknown)


def test_what_comes_before_an_event_that_nobody_knows_is_told() -> None:
    diary = Diary()
    with pytest.raises(UnreadableError, match="holds events this swiotlb-top does not know"):
        deliver([Records(records(1, 2).data + records(3, kind=77).data), STATE], diary)
    assert diary.told == [1, 2]


@pytest.mark.parametrize("time_ns", range(7))
def test_records_are_split_behind_the_first_call_that_was_over_later(time_ns: int) -> None:
    whole = records(1, 3, 2, 5, 4)
    told, rest = whole.split(time_ns)
    exits_ns = [event.exit_ns for event in told.events()]
    assert told.data + (rest.data if rest else b"") == whole.data
    assert [ns > time_ns for ns in exits_ns[:-1]] == [False] * (len(exits_ns) - 1)
    assert told.last_ns == exits_ns[-1]
    assert rest is None or told.last_ns > time_ns


def test_a_stream_can_be_taken_up_to_one_time_after_the_other_each_time_with_one_event_more() -> None:
    items: list[Item] = [STATE, records(1, 2, 3, 4, 5), NAME, gap(6), records(7), END]
    upcoming = Upcoming(iter(items))
    told: list[list[object]] = []
    for until_ns in (2, 2, 5, 9):
        diary = Diary()
        deliver(upcoming.until(lambda until_ns=until_ns: until_ns), diary)  # type: ignore[misc]
        told.append(diary.told)
    assert told == [[STATE, 1, 2, 3], [4], [5, NAME, gap(6)], [7, END]]
    assert upcoming.is_over


def test_a_block_without_records_is_passed_over() -> None:
    items: list[Item] = [STATE, records(), records(1), END]
    upcoming = Upcoming(iter(items))
    assert list(upcoming.until(lambda: 1)) == items
    assert upcoming.is_over


def test_a_backlog_tells_on_what_its_time_has_come_for_and_keeps_the_order() -> None:
    diary = Diary()
    backlog = Backlog(diary)
    deliver([STATE, records(1, 3, 2), NAME, gap(4), STATE, records(6)], backlog)
    assert diary.told == []
    seen = []
    for until_ns in (0, 1, 2, 3, 5, 6):
        backlog.pass_on(until_ns)
        seen.append((list(diary.told), backlog.told_ns, backlog.next_ns))
    assert seen == [
        ([STATE], 0, 1),
        ([STATE, 1], 1, 3),
        ([STATE, 1], 1, 3),
        ([STATE, 1, 3, 2, NAME], 2, 4),
        ([STATE, 1, 3, 2, NAME, gap(4), STATE], 4, 6),
        ([STATE, 1, 3, 2, NAME, gap(4), STATE, 6], 6, None),
    ]
    assert not backlog
    assert all(later[0][: len(before[0])] == before[0] for before, later in pairwise(seen))
