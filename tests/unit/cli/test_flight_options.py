"""What the flight recorder's options refuse, and what they are where nothing is given, of ``record`` and of ``export``;
and the command that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from swiotlb_exporter.run import serve
from swiotlb_exporter.run.serve import Watching
from swiotlb_exporter.wanted import Part, Wanted
from swiotlb_top.accounting.snapshot import FlightView
from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.flight import hosted as flight_hosted
from swiotlb_top.flight import recorder, snapshot
from swiotlb_top.flight.recorder import Plan
from swiotlb_top.flight.triggers import Trigger
from tests.support.snapshots import QUIET, ScriptedSource


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that would be flown."""
    plans: list[Plan] = []

    def fly(plan: Plan, *_: Any, **__: Any) -> None:
        plans.append(plan)

    monkeypatch.setattr(recorder, "fly", fly)
    return plans


def test_a_minute_before_a_failure_is_what_is_written_by_default(planned: list[Plan]) -> None:
    assert main(["record", "--flight", "60s"]) == Exit.OK
    default = Plan(Path("/run/swiotlb-top"), 60 * 10**9, 64 << 20, 8, (Trigger("failure"),), 300 * 10**9)
    assert planned == [default]


def test_all_of_it_can_be_chosen(planned: list[Plan]) -> None:
    on = ["--on", "use=90", "--on", "failures=10", "--on", "disagreement"]
    chosen = ["--flight", "2m", "--flight-size", "1g", *on, "--rearm", "1h"]
    assert main(["record", *chosen, "--keep", "3", "-o", "there"]) == Exit.OK
    triggers = (Trigger("use", 90.0), Trigger("failures", 10.0), Trigger("disagreement"))
    assert planned == [Plan(Path("there"), 120 * 10**9, 1 << 30, 3, triggers, 3600 * 10**9)]


class Hosting(NamedTuple):
    """What ``export`` would do."""

    plan: Plan | None
    watching: Watching


@pytest.fixture
def hosting(monkeypatch: pytest.MonkeyPatch) -> list[Hosting]:
    """What the exporter would serve, and the flight recorder beside it."""
    plans: list[Plan] = []
    served: list[Hosting] = []

    @contextmanager
    def fake(plan: Plan, _: Any) -> Iterator[Any]:
        plans.append(plan)
        view = FlightView(str(plan.directory))
        yield SimpleNamespace(
            open_live=lambda: ScriptedSource([QUIET]),
            retold=lambda shown: replace(shown, flight=view),
            running=nullcontext,
        )
        plans.clear()

    def over_http(watching: Watching, *_: Any, **__: Any) -> None:
        served.append(Hosting(plans[0] if plans else None, watching))

    monkeypatch.setattr(flight_hosted, "hosted", fake)
    monkeypatch.setattr(serve, "over_http", over_http)
    monkeypatch.setattr(serve, "into_directory", over_http)
    return served


def test_the_exporter_is_a_flight_recorder_besides_where_that_is_wanted(hosting: list[Hosting]) -> None:
    assert main(["export", "--flight", "60s"]) == Exit.OK
    ((plan, watching),) = hosting
    assert plan == Plan(Path("/run/swiotlb-top"), 60 * 10**9, 64 << 20, 8, (Trigger("failure"),), 300 * 10**9)
    assert watching.open_source().snapshot() == replace(QUIET, flight=FlightView("/run/swiotlb-top"))
    assert watching.beside is nullcontext


def test_its_words_are_those_of_record(hosting: list[Hosting]) -> None:
    on = ["--on", "use=90", "--on", "disagreement"]
    chosen = ["--flight", "2m", "--flight-size", "1g", *on, "--rearm", "1h", "--keep", "3", "-o", "there"]
    assert main(["export", "--textfile", "here", *chosen]) == Exit.OK
    triggers = (Trigger("use", 90.0), Trigger("disagreement"))
    assert hosting[0].plan == Plan(Path("there"), 120 * 10**9, 1 << 30, 3, triggers, 3600 * 10**9)


def test_which_series_there_are_is_said_on_the_command_line(hosting: list[Hosting]) -> None:
    few = [
        "--devices",
        "7",
        "--only",
        "nvme*",
        "--only",
        "0000:00:04.0",
        "--without",
        "bytes",
        "--without",
        "histograms",
    ]
    assert main(["export", *few]) == Exit.OK
    assert main(["export"]) == Exit.OK
    wanted = Wanted(7, ("nvme*", "0000:00:04.0"), frozenset({Part.BYTES, Part.HISTOGRAMS}))
    assert [one.watching.wanted for one in hosting] == [wanted, Wanted()]


def test_by_itself_it_is_none(hosting: list[Hosting]) -> None:
    assert main(["export", "--source", "debugfs"]) == Exit.OK
    assert hosting[0].plan is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", "3"], "--keep goes with --flight"),
        (["-o", "there"], "--output goes with --flight"),
        (["--on", "failure"], "--on goes with --flight"),
        (["--flight", "60s", "--trace", "a.swtrace"], "it takes no --trace and no --source debugfs"),
        (["--flight", "60s", "--source", "debugfs"], "it takes no --trace and no --source debugfs"),
        (["--flight", "60s", "-o", "-"], "-o names their directory"),
        (["--flight", "9s", "--on", "disagreement"], "--flight must be 10 s"),
    ],
)
def test_what_the_exporter_refuses(
    arguments: list[str], said: str, hosting: list[Hosting], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments]) == Exit.USAGE
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert hosting == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--flight", "60s", "--duration", "1"], "--flight takes no --duration, no --max-size and no COMMAND"),
        (["--flight", "60s", "--", "true"], "--flight takes no --duration, no --max-size and no COMMAND"),
        (["--flight", "60s", "-o", "-"], "-o names their directory"),
        (["-o", "a.swtrace", "--keep", "3"], "--keep goes with --max-size or --flight"),
        (["-o", "a.swtrace", "--on", "failure"], "--on goes with --flight"),
        (["-o", "a.swtrace", "--rearm", "9"], "--rearm goes with --flight"),
        (["-o", "a.swtrace", "--flight-size", "9M"], "--flight-size goes with --flight"),
        (["--flight", "60s", "--max-size", "1G"], "--flight takes no --duration, no --max-size and no COMMAND"),
        (
            ["--flight", "60s", "--flight-size", "64X"],
            "'64X' is no size: give bytes, or a unit",
        ),
        (["--flight", "60s", "--on", "fails"], "'fails' is no trigger; there are: failure, failures=N, use=PERCENT"),
        (["--flight", "9s", "--on", "disagreement"], "a disagreement is known seconds later: --flight must be 10 s"),
        ([], "Missing option '-o' / '--output'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    arguments: list[str], said: str, planned: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", *arguments]) == Exit.USAGE
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert planned == []


def test_who_asks_for_a_file_is_told_its_name_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot, "snapshot", lambda directory: directory / "a.swtrace")
    assert main(["snapshot"]) == Exit.OK
    assert main(["snapshot", "-o", "there"]) == Exit.OK
    assert capsys.readouterr() == ("/run/swiotlb-top/a.swtrace\nthere/a.swtrace\n", "")


def test_where_no_flight_recorder_runs_it_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snapshot", "-o", str(tmp_path)]) == Exit.CANNOT
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert f"no flight recorder writes into {tmp_path}" in told.err
