"""A flight: files of what came before, one an episode and no more than are to be kept; and never half of one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.flight.recorder import fly
from swiotlb_top.flight.shelf import Shelf
from swiotlb_top.flight.triggers import Trigger
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import MemState
from swiotlb_top.stream import End
from swiotlb_top.verify import Verdict
from tests.support.flight_session import SECOND_NS, FlightSession, asking, flown, full_at_first, plan, watched

FAILURE = (Trigger("failure"),)


def test_a_storm_of_failures_writes_one_file(tmp_path: Path) -> None:
    flight = flown(FlightSession(looked=asking(stop=150)), plan(tmp_path, triggers=FAILURE))
    (file,) = flight.files
    assert file.name.endswith("Z-failure.swtrace")
    report = replay(file, "6.10")
    assert report.findings.verdict is Verdict.AGREE
    assert report.pipeline.account.map_failures > 1
    assert len(flight.said) == 1
    assert flight.said[0].startswith(f"{file}: ")


def test_once_it_was_quiet_for_long_enough_the_next_failure_writes_another(tmp_path: Path) -> None:
    flight = flown(FlightSession(looked=asking(stop=150)), plan(tmp_path, triggers=FAILURE, rearm_ns=1))
    assert len(flight.files) > 2


def test_no_more_files_stay_than_are_to_be_kept_and_they_are_the_latest(tmp_path: Path) -> None:
    looks = range(20, 250, 40)
    flight = flown(FlightSession(looked=asking(*looks, stop=300)), plan(tmp_path, keep=3))
    assert len(flight.said) == len(looks)
    assert [line.partition(": ")[0] for line in flight.said[-3:]] == [str(file) for file in flight.files]


def test_names_sort_by_time_and_so_do_the_files(tmp_path: Path) -> None:
    flight = flown(FlightSession(looked=asking(20, 60, 100, stop=140)), plan(tmp_path))
    begins_ns = [state.begin_ns for file in range(3) if isinstance(state := flight.items(file)[0], MemState)]
    assert begins_ns == sorted(begins_ns)
    assert [line.partition(": ")[0] for line in flight.said] == [str(file) for file in flight.files]


def test_a_file_after_a_file_agrees_too_and_its_devices_are_known(tmp_path: Path) -> None:
    """Devices introduce themselves once, before the first of both."""
    flight = flown(FlightSession(looked=asking(40, 120, stop=160)), plan(tmp_path))
    reports = [replay(file, "6.10") for file in flight.files]
    assert [report.findings.verdict for report in reports] == [Verdict.AGREE] * 2
    assert [report.miscounts for report in reports] == [(), ()]
    assert reports[1].pipeline.begin_ns > reports[0].pipeline.last_ns


def test_devices_that_were_introduced_long_ago_are_known(tmp_path: Path) -> None:
    """A recording in which time runs back by more than a minute is refused."""

    def looked(look: int) -> None:
        if look == 30:
            session.sleep(120)
        ask(look)

    ask = asking(90, stop=130)
    session = FlightSession(looked=looked)
    flight = flown(session, plan(tmp_path))
    assert replay(flight.files[0], "6.10").findings.verdict is Verdict.AGREE


def test_files_of_earlier_flights_count_and_what_one_left_unfinished_goes(tmp_path: Path) -> None:
    for day in ("01", "02"):
        (tmp_path / f"swiotlb-202001{day}T000000.000Z-asked.swtrace").touch()
    (tmp_path / "swiotlb-20200103T000000.000Z-asked.swtrace.partial").touch()
    (tmp_path / "mine.swtrace").touch()
    flight = flown(FlightSession(looked=asking(20, stop=60)), plan(tmp_path, keep=2))
    assert [file.name[:16] for file in flight.files if file.name != "mine.swtrace"] == [
        "swiotlb-20200102",
        "swiotlb-20231114",
    ]
    assert (tmp_path / "mine.swtrace").exists()


def test_where_the_wall_clock_is_set_back_the_new_file_stays(tmp_path: Path) -> None:
    for day in ("01", "02"):
        (tmp_path / f"swiotlb-203001{day}T000000.000Z-asked.swtrace").touch()
    flight = flown(FlightSession(looked=asking(20, stop=60)), plan(tmp_path, keep=1))
    assert [file.name[:16] for file in flight.files] == ["swiotlb-20231114"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_ends_and_writes_nothing(number: int, tmp_path: Path) -> None:
    def looked(look: int) -> None:
        if look == 50:
            signal.raise_signal(number)

    flight = flown(FlightSession(looked=looked), plan(tmp_path))
    assert (flight.files, flight.said, flight.complaints) == ([], [], [])


def test_told_to_end_after_a_trigger_it_writes_the_file_first(tmp_path: Path) -> None:
    flight = flown(FlightSession(looked=asking(50, stop=52)), plan(tmp_path))
    assert len(flight.files) == len(flight.said) == 1
    assert isinstance(flight.items()[-1], End)


def test_a_file_that_cannot_be_written_is_told_of_and_leaves_nothing_and_the_next_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_at_first(monkeypatch)
    flight = flown(FlightSession(looked=asking(40, 120, stop=160)), plan(tmp_path))
    (complaint,) = flight.complaints
    assert "No space left on device" in complaint
    (file,) = flight.files
    assert replay(file, "6.10").findings.verdict is Verdict.AGREE


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text("a file"), "Not a directory"),
        (lambda path: path.symlink_to(path / "loop"), "cannot write into"),
    ],
)
def test_what_is_no_directory_is_refused_in_one_line(make: Callable[[Path], Any], why: str, tmp_path: Path) -> None:
    make(tmp_path / "there")
    with pytest.raises(CannotError, match=why) as refused:
        flown(FlightSession(), plan(tmp_path / "there"))
    assert "-o" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_directory_is_made_and_its_parents_are_not(tmp_path: Path) -> None:
    flown(FlightSession(looked=asking(stop=20)), plan(tmp_path / "new"))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    with pytest.raises(CannotError, match="No such file or directory"):
        flown(FlightSession(), plan(tmp_path / "no" / "such"))


def test_two_flights_do_not_share_a_directory(tmp_path: Path) -> None:
    with Shelf(tmp_path, 1), pytest.raises(CannotError, match=f"process {os.getpid()}, writes into {tmp_path} already"):
        flown(FlightSession(), plan(tmp_path))
    flown(FlightSession(looked=asking(stop=20)), plan(tmp_path))


def test_a_directory_that_cannot_be_written_to_without_privileges_is_refused_when_they_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[bool] = []
    monkeypatch.setattr(os, "access", lambda _, __: not given_up)
    with watched(FlightSession()), pytest.raises(CannotError, match="without privileges") as refused:
        fly(plan(tmp_path), print, print, attached=lambda: given_up.append(True))
    assert "\n" not in str(refused.value)


def test_the_counters_of_a_later_file_begin_where_the_one_before_ended(tmp_path: Path) -> None:
    flight = flown(FlightSession(looked=asking(60, 120, stop=200)), plan(tmp_path))
    for file in range(2):
        (end,) = (item for item in flight.items(file) if isinstance(item, End))
        assert end.counters["maps"] > 0
        assert replay(flight.files[file], "6.10").miscounts == ()


def test_how_full_the_pools_are_is_looked_at_where_that_is_a_trigger(tmp_path: Path) -> None:
    flight = flown(FlightSession(looked=asking(stop=150)), plan(tmp_path, triggers=(Trigger("use", 10),)))
    assert [file.name[-12:] for file in flight.files] == ["-use.swtrace"]


def test_a_moment_without_transient_pools_is_awaited_for_a_state_but_not_for_ever(tmp_path: Path) -> None:
    """What is mapped in them is in no state, so that its unmaps could not be judged."""

    class Transient(FlightSession):
        def sizes(self) -> MemState:
            return replace(super().sizes(), transient_nslabs=1)

    usual, waiting = FlightSession(looked=asking(stop=300)), Transient(looked=asking(stop=300))
    for session in (usual, waiting):
        flown(session, plan(tmp_path))
    assert 3 < len(waiting.states_ns) < len(usual.states_ns)


def test_what_is_held_keeps_to_its_bytes_and_the_files_begin_later(tmp_path: Path) -> None:
    wanted = plan(tmp_path, window_ns=60 * SECOND_NS, limit_bytes=60_000)
    flight = flown(FlightSession(looked=asking(250, stop=300)), wanted)
    (file,) = flight.files
    assert file.stat().st_size < 80_000
    assert sum(isinstance(item, MemState) for item in flight.items()) >= 4
    assert replay(file, "6.10").findings.verdict is Verdict.AGREE


def test_a_state_that_has_no_room_is_refused_with_the_size_that_has(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="make it 1M or more"):
        flown(FlightSession(), plan(tmp_path, limit_bytes=100))
    assert [*tmp_path.glob("*.swtrace*")] == []
