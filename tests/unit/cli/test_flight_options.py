"""What the flight recorder's options refuse, and what they are where nothing is given; and the command that asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.flight import recorder, snapshot
from swiotlb_top.flight.recorder import Plan
from swiotlb_top.flight.triggers import Trigger


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
