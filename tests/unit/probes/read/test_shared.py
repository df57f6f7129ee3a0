"""Several readers of one ring: each gets every record while it wants some, and the probes do what any of them needs."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import cast

import pytest

from swiotlb_top.probes.read.program import Mode, Program
from swiotlb_top.probes.read.shared import Share, Shared
from swiotlb_top.records import RECORD, Kind, exits_ns


def record(number: int, kind: Kind = Kind.UNMAP) -> bytes:
    """One that is told from others by its time."""
    return RECORD.pack(number, 0, 0, kind, *[0] * 8)


class Probes:
    """Stands in for the BPF program and its ring."""

    def __init__(self) -> None:
        self.modes: list[Mode] = []
        self.came: deque[bytes] = deque()
        self.is_whole = True
        self.ring = SimpleNamespace(drain=self._drain, drain_what_is_there=lambda: (self.is_whole, self._drain()))

    def come(self, *numbers: int, kind: Kind = Kind.UNMAP) -> None:
        self.came += [record(number, kind) for number in numbers]

    def _drain(self) -> bytes:
        return b"".join(self.came.popleft() for _ in range(len(self.came)))

    def set_mode(self, mode: Mode) -> None:
        self.modes.append(mode)


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def recorder_and_screen(probes: Probes) -> tuple[Share, Share]:
    """One that records all the time, and one that does now and then."""
    shared = Shared(cast(Program, probes))
    return shared.share(Mode.RECORD), shared.share(Mode.COUNT)


def drained(share: Share) -> list[int]:
    return [*exits_ns(share.drain())]


def test_whoever_takes_records_first_the_other_gets_them_too(
    probes: Probes, recorder_and_screen: tuple[Share, Share]
) -> None:
    recorder, screen = recorder_and_screen
    screen.set_mode(Mode.RECORD)
    probes.come(1, 2)
    assert drained(screen) == [1, 2]
    probes.come(3)
    whole, records = recorder.drain_what_is_there()
    assert (whole, [*exits_ns(records)]) == (True, [1, 2, 3])
    probes.come(4)
    probes.is_whole = False
    whole, records = screen.drain_what_is_there()
    assert (whole, [*exits_ns(records)]) == (False, [3, 4])
    assert (drained(recorder), drained(recorder), drained(screen)) == ([4], [], [])


def test_who_wants_no_records_gets_none_of_those_that_others_take(
    probes: Probes, recorder_and_screen: tuple[Share, Share]
) -> None:
    recorder, screen = recorder_and_screen
    probes.come(1)
    assert drained(recorder) == [1]
    screen.set_mode(Mode.RECORD)
    probes.come(2)
    assert drained(recorder) == [2]
    screen.set_mode(Mode.COUNT)
    probes.come(3)
    assert drained(recorder) == [3]
    screen.set_mode(Mode.RECORD)
    assert drained(screen) == [2]  # from before it stopped


def test_a_device_introduces_itself_once_and_so_to_all_of_them(
    probes: Probes, recorder_and_screen: tuple[Share, Share]
) -> None:
    recorder, screen = recorder_and_screen
    probes.come(1)
    probes.come(2, kind=Kind.DEVICE)
    assert drained(recorder) == [1, 2]
    probes.come(3)
    assert drained(recorder) == [3]
    screen.set_mode(Mode.RECORD)
    probes.come(4)
    assert drained(screen) == [2, 4]


def test_the_probes_do_the_most_that_any_wants(probes: Probes, recorder_and_screen: tuple[Share, Share]) -> None:
    recorder, screen = recorder_and_screen
    screen.set_mode(Mode.RECORD)
    screen.set_mode(Mode.COUNT)
    recorder.set_mode(Mode.STOP)
    assert probes.modes == [Mode.RECORD, Mode.RECORD, Mode.COUNT]


def test_the_only_reader_gets_what_came_until_the_probes_stopped(probes: Probes) -> None:
    only = Shared(cast(Program, probes)).share(Mode.RECORD)
    only.set_mode(Mode.STOP)
    probes.come(1)
    assert (probes.modes, drained(only)) == ([Mode.STOP], [1])


def test_in_two_threads_each_gets_every_record_once_and_in_order(
    probes: Probes, recorder_and_screen: tuple[Share, Share]
) -> None:
    for share in recorder_and_screen:
        share.set_mode(Mode.RECORD)
    taken: list[list[int]] = [[], []]
    expected = [*range(1, 1001)]

    def take(share: Share, into: list[int]) -> None:
        while len(into) < len(expected):
            into += drained(share)

    threads = [
        threading.Thread(target=take, args=pair, daemon=True) for pair in zip(recorder_and_screen, taken, strict=True)
    ]
    for thread in threads:
        thread.start()
    for number in expected:
        probes.come(number)
    for thread in threads:
        thread.join(60)
    assert taken == [expected] * 2
