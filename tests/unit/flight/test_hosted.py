"""A flight recorder beside a source: no gap where a file was written, and each snapshot says how it does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from swiotlb_top.accounting.snapshot import FlightView
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Event
from swiotlb_top.flight import hosted as flight_hosted
from swiotlb_top.flight.hosted import Hosted, hosted
from swiotlb_top.flight.recorder import Plan
from swiotlb_top.flight.shelf import Shelf, holder
from swiotlb_top.flight.triggers import Trigger
from swiotlb_top.probes.read.program import Mode
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.sources import Source
from swiotlb_top.state import KernelInfo
from swiotlb_top.stream import End, Records
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Verdict
from tests.support.flight_session import SECOND_NS, FlightSession, full_at_first, plan, watched
from tests.support.snapshots import QUIET, ScriptedSource

PATIENCE_S = 60


@dataclass
class Flown:
    """What came of it."""

    directory: Path
    session: HostedSession
    said: list[str] = field(default_factory=list)
    views: list[FlightView] = field(default_factory=list)
    """Of a snapshot after each look, and at last of one after the end."""
    threads: set[str] = field(default_factory=set)
    """Those that looked at the kernel."""

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.glob("*.swtrace*"))

    @property
    def last(self) -> FlightView:
        return self.views[-1]


class HostedSession(FlightSession):
    """The kernel, and what the probes were told to do."""

    modes: list[Mode]

    def set_mode(self, mode: Mode) -> None:
        super().set_mode(mode)
        self.modes.append(mode)

    def another(self) -> HostedSession:
        return self


def flown(wanted: Plan, asks: tuple[int, ...], looks: int, kind: type[HostedSession] = HostedSession) -> Flown:
    """Let one fly that is asked for a file in some looks, until it has looked so often."""
    came: list[int] = []
    over = threading.Event()
    recorder: Hosted | None = None

    def looked(number: int) -> None:
        result.threads.add(threading.current_thread().name)
        if recorder is not None:
            result.views.append(shown(recorder))
        if number in asks:
            came.append(signal.SIGUSR1)
        if number == looks:
            over.set()

    session = kind(looked=looked)
    session.modes = []
    result = Flown(wanted.directory, session)
    with watched(session), probed(), Shelf(wanted.directory, wanted.keep) as shelf:
        recorder = Hosted(wanted, shelf, came, result.said.append)
        source = recorder.open_live()
        result.views.append(shown(recorder))
        with recorder.running():
            while not over.wait(0.01) and threads_named("flight"):
                pass
        source.close()
        result.views.append(shown(recorder))
    assert threads_named("flight") == []
    return result


def threads_named(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == name]


def shown(recorder: Hosted) -> FlightView:
    view = recorder.retold(QUIET).flight
    assert view is not None
    return view


@contextmanager
def probed() -> Iterator[None]:
    """What else is shown of this kernel is of no interest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flight_hosted, "LiveSource", lambda _: ScriptedSource([QUIET]))
        patch.setattr(flight_hosted, "logged", lambda source: source)
        yield


def calls_in(path: Path) -> list[Event]:
    """The events of a file but for devices, which every file introduces anew."""
    items = (item for item in TraceReader(path).stream() if isinstance(item, Records))
    return [event for item in items for event in item.events() if type(event).__name__ != "Device"]


def agrees(path: Path) -> ReplayReport:
    report = replay(path, "6.10")
    assert report.findings.verdict is Verdict.AGREE
    assert (report.miscounts, report.lost, report.damage) == ((), 0, "")
    return report


def test_two_files_and_nothing_is_missing_between_them(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path), asks=(40, 48), looks=100)
    first, second = flight.files
    for path in (first, second):
        agrees(path)
    ends_ns = calls_in(first)[-1].exit_ns
    assert calls_in(second)[0].exit_ns < ends_ns < calls_in(second)[-1].exit_ns
    happened = [event for event in flight.session.told if event.exit_ns >= calls_in(first)[0].exit_ns]
    both = {*calls_in(first), *calls_in(second)}
    last_ns = calls_in(second)[-1].exit_ns
    assert both >= {e for e in happened if e.exit_ns <= last_ns and type(e).__name__ != "Device"}


def test_the_probes_never_stop_and_a_file_claims_no_counts_of_theirs(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path), asks=(40,), looks=80)
    assert flight.session.modes == []
    (file,) = flight.files
    (end,) = (item for item in TraceReader(file).stream() if isinstance(item, End))
    assert not {"maps", "map_failures", "unmaps"} & set(end.counters)
    assert end.counters["nslabs"] > 0


def test_it_flies_in_a_thread_of_its_own(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path), asks=(), looks=20)
    assert flight.threads == {"flight"}


def test_a_snapshot_says_whether_it_records_and_what_it_has_written(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path), asks=(40,), looks=80)
    (file,) = flight.files
    assert flight.views[0] == FlightView(str(tmp_path), fired=(("failures", 0), ("asked", 0)))
    recording = [view for view in flight.views if view.recording]
    assert all(view.held_bytes > 0 for view in recording)
    assert (recording[0].files, recording[0].last_file) == (0, "")
    written = recording[-1]
    assert (written.files, written.not_written, written.fired) == (1, 0, (("failures", 0), ("asked", 1)))
    assert (written.last_file, written.last_trigger) == (str(file), "asked")
    assert file.name.startswith("swiotlb-20231114T22")
    assert written.last_wall_ns > 1_700_000_000 * SECOND_NS
    assert (flight.last.recording, flight.last.held_bytes, flight.last.files) == (False, 0, 1)
    assert [line.partition(": ")[0] for line in flight.said] == [str(file)]


def test_a_storm_of_failures_writes_one_file_and_counts_one_trigger(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path, triggers=(Trigger("failure"),)), asks=(), looks=150)
    (file,) = flight.files
    assert agrees(file).pipeline.account.map_failures > 1
    assert flight.last.fired == (("failure", 1), ("asked", 0))


def test_only_the_latest_files_stay(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path, keep=2), asks=(20, 60, 100), looks=140)
    assert len(flight.files) == 2
    assert (flight.last.files, flight.last.last_file) == (3, str(flight.files[-1]))


def test_a_file_that_cannot_be_written_is_told_of_and_what_it_would_have_held_is_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_at_first(monkeypatch)
    flight = flown(plan(tmp_path, window_ns=60 * SECOND_NS), asks=(40, 80), looks=120)
    assert "No space left on device" in flight.said[0]
    (file,) = flight.files
    assert agrees(file).pipeline.begin_ns == flight.session.states_ns[0]
    assert (flight.last.files, flight.last.not_written) == (1, 1)


def test_told_to_end_after_a_trigger_it_writes_the_file_first(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path), asks=(50,), looks=52)
    (file,) = flight.files
    agrees(file)


def test_one_that_cannot_go_on_says_so_once_and_the_source_stays(tmp_path: Path) -> None:
    flight = flown(plan(tmp_path, limit_bytes=100), asks=(), looks=10_000)
    (line,) = flight.said
    assert line.startswith("the flight recorder ends: ")
    assert "make it 1M or more" in line
    assert not flight.last.recording


def test_where_no_revision_is_known_the_other_triggers_are_left(tmp_path: Path) -> None:
    class Elsewhere(HostedSession):
        @property
        def kernel(self) -> KernelInfo:
            return replace(super().kernel, machine="s390x")

    triggers = (Trigger("disagreement"), Trigger("failure"))
    flight = flown(plan(tmp_path, triggers=triggers), asks=(), looks=150, kind=Elsewhere)
    assert flight.said[0].startswith("no file is written for a disagreement: ")
    assert flight.last.fired == (("disagreement", 0), ("failure", 1), ("asked", 0))


def test_where_another_source_had_to_do_it_says_that_it_does_not_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> Source:
        raise CannotError("no BTF")

    monkeypatch.setattr(flight_hosted, "Session", refused)
    with Shelf(tmp_path, 1) as shelf:
        recorder = Hosted(plan(tmp_path), shelf, [], print)
        with pytest.raises(CannotError, match="no BTF"):
            recorder.open_live()
        with recorder.running():
            assert threads_named("flight") == []
            assert not shown(recorder).recording


def test_privileges_that_are_given_up_and_were_needed_for_its_files_end_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(HostedSession()), probed(), Shelf(tmp_path, 1) as shelf:
        recorder = Hosted(plan(tmp_path), shelf, [], print)
        recorder.open_live()
        monkeypatch.setattr(os, "access", lambda _, __: False)
        with pytest.raises(CannotError, match="without privileges"), recorder.running():
            pass


def test_whoever_reads_its_process_id_may_ask_it_at_once(tmp_path: Path) -> None:
    with hosted(plan(tmp_path), print) as recorder:
        assert holder(tmp_path) == os.getpid()
        signal.raise_signal(signal.SIGUSR1)
        assert recorder._came == [signal.SIGUSR1]
    assert holder(tmp_path) is None
