"""What the probes do, and what is known of calls from before they did it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from swiotlb_top.probes.read.in_flight import ELSEWHERE_BYTES, NEST_BYTES, InFlight
from swiotlb_top.probes.read.program import Mode, Program

CPUS = 2


class Maps:
    """Stands in for loaded programs: what is done to their maps, in order."""

    def __init__(self) -> None:
        self.done: list[str | int] = []

    def update(self, name: str, value: int) -> None:
        assert name == "control"
        self.done.append(value)

    def clear(self, name: str, size_bytes: int) -> None:
        assert size_bytes == {"nests": NEST_BYTES * CPUS, "elsewhere": ELSEWHERE_BYTES}[name]
        self.done.append(name)

    def look_up(self, _: str, size_bytes: int) -> bytes:
        return bytes(size_bytes)


class Tasks:
    """Stands in for the kernel's, which are known to have left it, or are not."""

    def __init__(self) -> None:
        self.have_left = True

    def wait(self, meanwhile: Callable[[], object]) -> bool:
        meanwhile()
        return self.have_left


def program() -> tuple[Program, Maps, Tasks]:
    """One that is loaded and does nothing yet."""
    loaded, maps, tasks = object.__new__(Program), Maps(), Tasks()
    loaded._objects, loaded._cpus, loaded._mode = cast(Any, maps), CPUS, Mode.STOP
    loaded._in_flight, loaded._task_grace, loaded._never_told = InFlight(), cast(Any, tasks), 0
    loaded._lock = threading.Lock()
    return loaded, maps, tasks


def test_entries_of_calls_that_nobody_saw_return_are_forgotten_when_noting_begins_and_then_kept() -> None:
    loaded, maps, _ = program()
    for mode in (Mode.COUNT, Mode.NOTE, Mode.RECORD, Mode.NOTE, Mode.COUNT, Mode.RECORD, Mode.STOP):
        loaded.set_mode(mode)
    forgets = ["nests", "elsewhere"]
    assert maps.done == [1, *forgets, 2, 3, 2, 1, *forgets, 3, 0]


def test_what_is_known_of_calls_from_before_holds_as_long_as_entries_are_noted() -> None:
    loaded, _, _ = program()
    loaded.set_mode(Mode.NOTE)
    assert not loaded.has_every_entry
    loaded.wait_for_tasks(int)
    loaded.set_mode(Mode.RECORD)
    assert loaded.has_every_entry
    loaded.set_mode(Mode.COUNT)
    loaded.set_mode(Mode.RECORD)
    assert not loaded.has_every_entry


def test_tasks_of_which_nothing_shows_leave_it_unknown_for_a_minute() -> None:
    loaded, _, tasks = program()
    tasks.have_left = False
    loaded.set_mode(Mode.RECORD)
    loaded.wait_for_tasks(int)
    for now_ns, known in ((1, False), (60_000_000_001, False), (60_000_000_002, True)):
        assert loaded.none_under_way_before(now_ns) == now_ns
        assert loaded.has_every_entry is known
