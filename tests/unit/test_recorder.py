"""What a recording says of itself, from a session that does what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swiotlb_top import recorder
from swiotlb_top.events import Device
from swiotlb_top.probes.read.program import Calls, Faults, Mode
from swiotlb_top.recorder import Recording, RecordReport
from swiotlb_top.records import RECORD, decode, tally
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import End, Known, Records
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.trace.files import Files
from tests.support.doctoring import STALL

EARLIER = 7
COUNTED = Calls(maps=10_000, map_failures=10_000, unmaps=10_000)


class FakeSession:
    """A kernel whose state and records are those of a recording; some of these come while older calls are waited for.

    :param entries: whether every call that is under way was seen to begin, each time that is asked.
    """

    def __init__(self, *entries: bool) -> None:
        trace = TraceReader(STALL)
        items = [*trace]
        self.kernel = trace.header.kernel
        self.state = next(item for item in items if isinstance(item, MemState))
        self.records = next(item for item in items if isinstance(item, Records)).data
        self.faults = Faults()
        self.program = SimpleNamespace(faults=lambda: self.faults, counted=lambda: ({}, COUNTED))
        self.names: tuple[DeviceName, ...] = ()
        self.late_names: dict[int, DeviceName] = {}
        self._entries = iter(entries)
        self._known_ns = 0

    def set_mode(self, _: Mode) -> None: ...

    def wait_for_older_calls(self, meanwhile: Callable[[], object]) -> None:
        later, self.records = self.records[EARLIER * RECORD.size :], self.records[: EARLIER * RECORD.size]
        meanwhile()
        self.records = later

    def has_every_entry(self) -> bool:
        return next(self._entries)

    def settle(self) -> tuple[MemState, bytes, bytes]:
        return self.state, b"", self.drain()

    def drain(self) -> bytes:
        records, self.records = self.records, b""
        return records

    def drain_to_what_is_known(self) -> tuple[bytes, int]:
        self._known_ns += 1000
        return self.drain(), self._known_ns

    def device_names(self, _: bytes) -> Iterator[DeviceName]:
        names, self.names = self.names, ()
        return iter(names)

    def device_name(self, dev: int) -> DeviceName:
        return self.late_names[dev]


def recorded(session: FakeSession, directory: Path) -> list[Any]:
    """The items of what is recorded until an order to stop comes in the second look."""
    path = directory / "a.swtrace"
    header = Header(session.kernel, "0", "CLOCK_MONOTONIC", 0)
    with Files(path, header) as files:
        stopped: list[int] = []
        looks = iter(range(2))
        recording = Recording(cast(Any, session), files)
        recording._drain = lambda: _look(recording, looks, stopped)  # type: ignore[method-assign]
        recording.run(None, (), stopped)
    return [*TraceReader(path)]


def _look(recording: Recording, looks: Iterator[int], stopped: list[int]) -> None:
    recording._drain_to_what_is_known()
    if next(looks, None) is None:
        stopped.append(1)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_DRAIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(recorder, "_LAST_RECORDS_S", 0.0)


def test_a_recording_tells_up_to_when_calls_are_known(tmp_path: Path) -> None:
    items = recorded(FakeSession(*[True] * 9), tmp_path)
    assert [item.before_ns for item in items if isinstance(item, Known)] == [1000, 2000, 3000, 4000, 5000]


def test_while_one_may_be_under_way_that_was_not_seen_to_begin_it_tells_that_none_is(tmp_path: Path) -> None:
    """Without a word of it a reader would believe the states."""
    items = recorded(FakeSession(False, False, *[True] * 9), tmp_path)
    assert [item.before_ns for item in items if isinstance(item, Known)] == [0, 0, 3000, 4000, 5000]


def test_what_came_while_older_calls_were_waited_for_is_not_recorded_but_for_who_devices_are(tmp_path: Path) -> None:
    session = FakeSession(*[True] * 9)
    every = list(decode(session.records))
    left_out = tally(session.records[: EARLIER * RECORD.size])
    introduced = [event for event in every[:EARLIER] if isinstance(event, Device)]
    items = recorded(session, tmp_path)
    told = [event for item in items if isinstance(item, Records) for event in item.events()]
    assert told == introduced + every[EARLIER:]
    assert introduced
    (end,) = (item for item in items if isinstance(item, End))
    for name in ("maps", "map_failures", "unmaps"):
        assert end.counters[name] == getattr(COUNTED, name) - left_out[name]
    assert left_out["maps"] > 0


def test_where_the_probes_did_not_count_every_device_a_recording_has_no_counts(tmp_path: Path) -> None:
    """They would be fewer than what was recorded."""
    session = FakeSession(*[True] * 9)
    session.faults = Faults(uncounted_calls=3)
    items = recorded(session, tmp_path)
    (end,) = (item for item in items if isinstance(item, End))
    assert not {"maps", "map_failures", "unmaps"} & end.counters.keys()
    assert replay(tmp_path / "a.swtrace").miscounts == ()
    report = RecordReport("a.swtrace", None, 9, 8, lost=2, duration_ns=10**9, counters={})
    assert report.as_text() == "a.swtrace: 8 events in 1.0 s, 9 bytes\nlost 2"


def test_a_disk_that_had_no_name_when_its_controller_began_to_map_is_named_at_the_end(tmp_path: Path) -> None:
    session = FakeSession(*[True] * 9)
    early = DeviceName(1, "0000:00:1f.2", "ahci"), DeviceName(2, "0000:00:04.0", "virtio-pci", "vda")
    gone = DeviceName(3, "0000:00:05.0", "nvme")
    session.names = (*early, gone)
    session.late_names = {1: replace(early[0], known_as="sda"), 3: DeviceName(3, "0000:00:06.0", "nvme", "nvme1n1")}
    items = recorded(session, tmp_path)
    assert [item for item in items if isinstance(item, DeviceName)] == [*early, gone, replace(early[0], known_as="sda")]
