"""``size --live``: this machine is recorded for a while and sized by that, and nothing is left of the recording.

The kernel that is recorded is one without a fault that runs in this process.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swiotlb_top import recorder
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from tests.support.sound_session import SETTING, SoundSession, recorded_from

REVISION = ("--revision", SETTING.revision)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; afterwards there is none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_this_machine_is_sized_by_what_it_does_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    with recorded_from(SoundSession()):
        status = main(["size", "--live", "--duration", "1", *REVISION, "--json"])
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert status == Exit.DISAGREE  # this kernel is asked for too large mappings, too, which no size serves
    assert (told["worst"], told["recordings"][0]["file"], said.err) == ("this machine", "this machine", "")
    assert told["recordings"][0]["maps"] > 0
    assert len(told["configurations"]) == 13


def test_people_read_of_this_machine_and_of_no_file(capsys: pytest.CaptureFixture[str], scratch: Path) -> None:
    with recorded_from(SoundSession()):
        main(["size", "--live", "--duration", "1s", *REVISION])
    said = capsys.readouterr().out
    assert said.startswith("this machine: kernel ")
    assert str(scratch) not in said


def test_while_it_records_only_this_user_can_read_it(scratch: Path) -> None:
    modes: list[int] = []

    def look(_: int) -> None:
        modes.extend(path.stat().st_mode & 0o077 for path in [*scratch.iterdir(), *scratch.glob("*/*")])

    with recorded_from(SoundSession(looked=look)):
        main(["size", "--live", "--duration", "1", *REVISION])
    assert modes
    assert set(modes) == {0}


def interrupting(number: int) -> Callable[[int], None]:
    return lambda look: os.kill(os.getpid(), number) if look == 20 else None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_ctrl_c_the_answer_is_about_what_there_is(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with recorded_from(SoundSession(looked=interrupting(number))):
        status = main(["size", "--live", *REVISION, "--json"])
    assert status == Exit.DISAGREE  # this kernel is asked for too large mappings, too, which no size serves
    assert json.loads(capsys.readouterr().out)["recordings"][0]["maps"] > 0


def test_told_to_end_while_it_computes_it_leaves_no_recording_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swiotlb_top.sizing.recordings.read", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with recorded_from(SoundSession()), pytest.raises(SystemExit) as ended:
        main(["size", "--live", "--duration", "1", *REVISION])
    assert ended.value.code == 128 + signal.SIGTERM


def test_a_machine_that_cannot_be_watched_says_the_one_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise CannotError("no probes here")

    monkeypatch.setattr(recorder, "Session", refuse)
    assert main(["size", "--live", "--duration", "1"]) == Exit.CANNOT
    assert capsys.readouterr() == ("", "swiotlb-top: no probes here\n")


def test_of_a_machine_that_maps_nothing_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.support.sound_session.STEPS", 0)
    with recorded_from(SoundSession()):
        assert main(["size", "--live", "--duration", "1", *REVISION]) == Exit.CANNOT
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("swiotlb-top: this machine: there is no map to size swiotlb by")


def test_without_a_place_for_it_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent/directory")
    assert main(["size", "--live", "--duration", "1"]) == Exit.CANNOT
    assert capsys.readouterr().err == (
        "swiotlb-top: there is no place for what is recorded: No such file or directory; "
        "set TMPDIR to a directory with room\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--live", "a.swtrace"], "--live and FILE exclude each other"),
        ([], "Missing argument 'FILE...': name recordings, or give --live"),
        (["--duration", "5m", "a.swtrace"], "--duration goes with --live"),
        (["--live", "--duration", "long"], "'long' is no time"),
        (["--live", "--revision", "0.1"], "0.1"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error_before_anything_is_recorded(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorder, "Session", None)
    assert main(["size", *arguments]) == Exit.USAGE
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
