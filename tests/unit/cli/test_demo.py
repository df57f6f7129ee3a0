"""A machine that cannot be watched shows nothing; the recording that comes with the tool is shown on request only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Snapshot, VerdictView
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError
from swiotlb_top.sources import Source, select
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.screen import DEMO, plain, render
from swiotlb_top.tui.view import PLAIN, Page
from tests.support.snapshots import QUIET

ROOT = Path(__file__).parents[3]
DEADLINE_S = 300.0
FORMS = [[], ["-n", "1"], ["-n", "1", "-d", "0"], ["--json"], ["-n", "1", "--json"], ["--source", "live"]]


@pytest.fixture
def unwatchable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Source:
        raise CannotError("nothing can be watched here")

    monkeypatch.setattr(select, "KERNEL_SOURCES", {"live": refuse, "debugfs": refuse})


@pytest.mark.usefixtures("unwatchable")
@pytest.mark.parametrize("form", FORMS)
def test_a_machine_that_cannot_be_watched_shows_no_number_and_says_why(
    capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    assert main(form) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("swiotlb-top: ")
    assert "nothing can be watched here" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.usefixtures("unwatchable")
def test_a_demonstration_is_shown_on_any_machine_to_who_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--demo", "-n", "1", "-d", "0"])
    said = capsys.readouterr()
    assert said.err == ""
    assert DEMO in said.out.splitlines()[0]


def test_json_says_whether_it_is_a_demonstration(capsys: pytest.CaptureFixture[str]) -> None:
    for form, demo in ((["--demo"], True), (["--trace", str(ROOT / "tests/traces/stall.swtrace")], False)):
        main([*form, "-n", "1", "-d", "0", "--json"])
        assert json.loads(capsys.readouterr().out)["demo"] is demo


@pytest.mark.parametrize("page", list(Page))
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 4)])
def test_every_page_of_a_demonstration_says_that_it_is_one(page: Page, width: int, height: int) -> None:
    frame = Frame(replace(QUIET, demo=True))
    drawn = render(frame, replace(PLAIN, page=page), UNICODE, width, height)
    assert DEMO[: width - 16] in drawn[0].plain
    assert not any(DEMO in line.plain for line in render(Frame(QUIET), PLAIN, UNICODE, width, height))


def test_a_demonstration_never_says_well() -> None:
    calm = replace(QUIET, verdict=VerdictView("6.10", 10, 10, 0, 0, 0))
    assert "well" in labels(replace(calm, demo=False))
    assert "well" not in labels(replace(calm, demo=True))
    assert "demo" in labels(replace(calm, demo=True))


def labels(snapshot: Snapshot) -> list[str]:
    frame = Frame(snapshot, replace(snapshot, time_ns=snapshot.time_ns - 1_000_000_000))
    return [line.plain.split()[0] for line in plain(frame, UNICODE, 100) if line.plain]


@pytest.mark.parametrize("other", [["--trace", "x.swtrace"], ["--source", "live"]])
def test_a_demonstration_and_another_source_exclude_each_other(
    capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    assert main(["--demo", *other]) == 2
    assert f"--demo and {other[0]} exclude each other" in capsys.readouterr().err


def test_a_demonstration_begins_where_one_asks(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--demo", "--start", "1", "--speed", "2", "-n", "1", "-d", "0", "--json"])
    playback = json.loads(capsys.readouterr().out)["playback"]
    assert playback["position_ns"] >= 1e9
    assert playback["speed"] == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(
    ("status", "arguments", "demonstrated"), [(3, "", True), (3, "-n 1", False), (0, "", False), (70, "", False)]
)
def test_make_run_shows_the_demonstration_only_where_the_machine_cannot_be_watched(
    tmp_path: Path, status: int, arguments: str, demonstrated: bool
) -> None:
    """A stand-in for the tool says why it cannot, and whether it is asked for a demonstration."""
    tool = tmp_path / "bin/swiotlb-top"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\n[ "$1" = --demo ] && exec echo demonstrated\necho why >&2\nexit {status}\n')
    tool.chmod(0o755)
    (tmp_path / "run").touch()
    asked = ["make", "--no-print-directory", "-o", f"{tmp_path}/run", "run", f"VENV={tmp_path}", "SUDO="]
    ran = subprocess.run(
        [*asked, f"ARGS={arguments}"], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert ("demonstrated" in ran.stdout) == demonstrated
    assert ran.stderr.splitlines()[0] == "why"
    assert (ran.returncode == 0) == (demonstrated or not status)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root, with setpriv, can drop")
@pytest.mark.parametrize("form", FORMS)
def test_whoever_is_not_root_sees_no_number(form: list[str]) -> None:
    """The real thing, on whatever machine this is: without privileges nothing of it can be watched."""
    ran = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "swiotlb_top", *form],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr.count("\n") == 1
