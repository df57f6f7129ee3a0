"""The live source and a flight recorder on the same probes: neither takes a call from the other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.flight.recorder import Flight
from swiotlb_top.flight.triggers import Alarm
from swiotlb_top.kernel.around import Around
from swiotlb_top.pipeline import Uncounted
from swiotlb_top.probes.read.program import Calls, Mode, Program
from swiotlb_top.probes.read.shared import Share, Shared
from swiotlb_top.probes.session import Session
from swiotlb_top.records import RECORD, split_at
from swiotlb_top.reports.replay import replay
from swiotlb_top.sources import live
from swiotlb_top.sources.live import LiveSource
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.trace.introductions import Introductions
from swiotlb_top.verify import Verdict
from tests.support.flight_session import FlightSession, plan, watched
from tests.support.live_session import FakePlan
from tests.support.sound_session import SETTING

LOOKS = 60


class Reader:
    """A session's place in this kernel: what :meth:`.Session.another` gives."""

    def __init__(self, session: FlightSession, program: Any, share: Share) -> None:
        self._session, self.program, self._share = session, program, share
        self.drained = 0
        """How many records it got."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def set_mode(self, mode: Mode) -> None:
        self._share.set_mode(mode)

    def drain(self) -> bytes:
        records = self._share.drain()
        self.drained += len(records) // RECORD.size
        return records

    def drain_to_what_is_known(self) -> tuple[bytes, int]:
        records = self.drain()
        return records, self.known_now_ns()

    def known_now_ns(self) -> int:
        return self._session.known_now_ns()

    def settle(self) -> tuple[MemState, bytes, bytes]:
        seen = self.drain()
        state = self._session.state()
        return (state, *split_at(seen + self.drain(), state.begin_ns))

    def around(self, _: DeviceName) -> Around:
        return Around()


@dataclass
class Both:
    """What came of a flight beside which snapshots were taken."""

    file: Path
    session: FlightSession
    snapshots: list[Snapshot]
    modes: list[Mode]
    readers: tuple[Reader, Reader]


@contextmanager
def on_its_clock(session: FlightSession) -> Iterator[None]:
    """The live source takes its time from this kernel, and knows which revision it has."""

    def uncounted(kernel: KernelInfo, devices: Devices) -> Uncounted:
        return Uncounted(kernel, SETTING.revision, devices)

    with watched(session), pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(
            sleep=session.sleep, perf_counter=lambda: session.now_ns() / 1e9, thread_time=lambda: 0.0
        )
        patch.setattr(live, "time", clock)
        patch.setattr(live, "now_ns", session.now_ns)
        patch.setattr(live, "Uncounted", uncounted)
        yield


def flown(directory: Path) -> Both:
    """Record, take a snapshot after every look, and write what is held in the end."""
    session, modes = FlightSession(), list[Mode]()
    ring = SimpleNamespace(drain=session.drain)
    counted = session.program
    program = SimpleNamespace(
        ring=ring,
        set_mode=modes.append,
        plan=FakePlan(),
        counted=counted.counted,
        totals=dict,
        holdings=None,
        askers=dict,
        most_of_all_slots=lambda: -1,
        costs=tuple,
        faults=counted.faults,
        growths=lambda: 0,
        wait=lambda: None,
    )
    shared = Shared(cast(Program, program))
    recorder, screen = (Reader(session, program, shared.share(mode)) for mode in (Mode.RECORD, Mode.COUNT))
    snapshots: list[Snapshot] = []
    came: list[int] = []
    with on_its_clock(session):
        source = LiveSource(cast(Session, screen))
        flight = Flight(cast(Session, recorder), plan(directory), Introductions(), Calls())
        flight.begin()

        def looked() -> None:
            snapshots.append(source.snapshot())
            if len(snapshots) == LOOKS:
                came.append(signal.SIGUSR1)

        assert flight.watch(Alarm((), 1), came, looked)
        flight.pause(came)
        file = directory / "a.swtrace"
        flight.write(file)
    return Both(file, session, snapshots, modes, (recorder, screen))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return flown(tmp_path_factory.mktemp("both"))


def test_the_recorder_misses_no_call_that_a_burst_takes_out_of_the_ring(both: Both) -> None:
    recorder, screen = both.readers
    assert recorder.drained == len(both.session.told)
    assert 0 < screen.drained < recorder.drained
    report = replay(both.file, SETTING.revision)
    assert report.findings.verdict is Verdict.AGREE
    assert (report.findings.doubts, report.lost, report.miscounts) == ({}, 0, ())


def test_bursts_are_judged_and_the_kernel_is_right(both: Both) -> None:
    verdicts = [snapshot.verdict for snapshot in both.snapshots if snapshot.verdict]
    agree = [verdict.agree for verdict in verdicts]
    assert agree == sorted(agree)
    assert len(set(agree)) > 3
    assert (verdicts[-1].disagree, verdicts[-1].inconclusive) == (0, 0)


def test_for_the_recorder_the_probes_record_all_the_time(both: Both) -> None:
    assert {*both.modes} == {Mode.RECORD}


def test_every_call_is_counted_while_the_file_is_written_too(both: Both) -> None:
    maps = [snapshot.maps for snapshot in both.snapshots]
    assert maps == sorted(maps)
    assert maps[-1] > 0
