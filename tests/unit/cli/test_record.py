"""``swiotlb-top record`` as a program: where the recording goes, what is said where, and how it ends.

The program is the real one; the kernel it records is one without a fault that runs in its process.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.cli import main
from swiotlb_top.cli.options import Size
from swiotlb_top.errors import Exit
from swiotlb_top.reports import advice
from swiotlb_top.reports.replay import replay
from swiotlb_top.verify import Verdict
from tests.support.sound_session import SETTING, SoundSession, recorded_from
from tests.support.terminals import written_on

DEADLINE_S = 300.0
PROGRAM = """
import sys
from swiotlb_top.cli import main
from tests.support.sound_session import SoundSession, recorded_from
with recorded_from(SoundSession()):
    sys.exit(main(sys.argv[1:]))
"""


def record(
    *arguments: str,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    cwd: Path | None = None,
    file_bytes: int = resource.RLIM_INFINITY,
) -> subprocess.CompletedProcess[bytes]:
    """Record as the leader of a session of its own, in which no file may grow beyond ``file_bytes``."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))

    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM, "record", *arguments],
        stdout=stdout,
        stderr=stderr,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        cwd=cwd,
        preexec_fn=limit,
        start_new_session=True,
    )


def test_to_standard_output_goes_the_recording_and_nothing_else(tmp_path: Path) -> None:
    ran = record("-o", "-", "--duration", "3")
    path = tmp_path / "a.swtrace"
    path.write_bytes(ran.stdout)
    replayed = replay(path, SETTING.revision)
    assert (replayed.verdict, replayed.exit_code) == (Verdict.AGREE, Exit.OK)
    said = ran.stderr.decode().splitlines()
    assert said[0].startswith(f"standard output: {replayed.pipeline.account.events} events in ")
    assert said[0].endswith(f" s, {len(ran.stdout)} bytes")
    assert not any("next:" in line for line in said)
    assert ran.returncode == Exit.OK


def test_what_the_command_prints_does_not_get_into_the_recording(tmp_path: Path) -> None:
    ran = record("-o", "-", "--", "sh", "-c", "echo of the command")
    path = tmp_path / "a.swtrace"
    path.write_bytes(ran.stdout)
    assert replay(path, SETTING.revision).exit_code == Exit.OK
    assert ran.stderr.splitlines()[0] == b"of the command"


def test_what_the_command_prints_goes_where_it_went_if_the_recording_is_a_file(tmp_path: Path) -> None:
    ran = record("-o", str(tmp_path / "a.swtrace"), "--", "sh", "-c", "echo of the command")
    assert ran.stdout.splitlines()[0] == b"of the command"
    assert ran.stderr == b""


@contextmanager
def terminal() -> Iterator[tuple[int, Callable[[], str]]]:
    """A terminal, and what was written there; all of it is short enough to wait there until it is read."""
    ours, theirs = os.openpty()
    try:
        yield theirs, lambda: written_on(theirs, ours)
    finally:
        os.close(theirs)
        os.close(ours)


def test_a_terminal_is_told_how_far_it_is(tmp_path: Path) -> None:
    with terminal() as (stderr, written):
        ran = record("-o", str(tmp_path / "a.swtrace"), "--duration", "3", stderr=stderr)
        lines = written().split("\r")
    assert [line.partition(" ")[0] for line in lines if line.strip()] == ["0", "1", "2"]
    assert all("Ctrl-C stops" in line for line in lines if line.strip())
    assert lines[-2].strip() == lines[-1] == ""
    assert ran.returncode == Exit.OK


def test_a_command_has_the_terminal_for_itself(tmp_path: Path) -> None:
    with terminal() as (stderr, written):
        record("-o", str(tmp_path / "a.swtrace"), "--", "sh", "-c", "echo of the command >&2", stderr=stderr)
        assert written() == "of the command\r\n"


def test_a_terminal_gets_no_recording() -> None:
    with terminal() as (stdout, _):
        ran = record("-o", "-", "--duration", "1", stdout=stdout)
    assert ran.returncode == Exit.USAGE
    assert ran.stderr.startswith(b"swiotlb-top: a recording is not for a terminal: ")
    assert ran.stderr.count(b"\n") == 1


def test_a_reader_that_is_gone_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ran = record("-o", "-", "--duration", "1", stdout=pipe)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


def test_standard_output_that_is_full_is_said() -> None:
    with open("/dev/full", "wb") as full:
        ran = record("-o", "-", "--duration", "1", stdout=full)
    assert ran.returncode == Exit.OUTPUT
    assert ran.stderr == b"swiotlb-top: standard output cannot be written: No space left on device\n"


# ---- exit status ---------------------------------------------------------

ENDINGS = {
    "well": ("true", 0, None),
    "badly": ("exit 7", 7, "the command ended with status 7"),
    "with a status of the recorder's": ("exit 3", Exit.CANNOT, "the command ended with status 3"),
    "with a status that looks like a signal": ("exit 137", 137, "the command ended with status 137"),
    "by a signal": ("kill -KILL $$", 128 + signal.SIGKILL, "the command ended by SIGKILL"),
    "by a signal without a name": ("kill -40 $$", 128 + 40, "the command ended by signal 40"),
    "after Ctrl-C, as it likes": ("trap 'exit 5' INT; kill -INT 0", 5, "the command ended with status 5"),
    "after Ctrl-C, by it": ("kill -INT 0", 128 + signal.SIGINT, "the command ended by SIGINT"),
    "after an interrupt that it did not get": (
        "kill -INT $PPID; exec sleep 1000",
        128 + signal.SIGTERM,
        "the command ended by SIGTERM",
    ),
    "after an order to stop": (
        "kill -TERM $PPID; exec sleep 1000",
        128 + signal.SIGTERM,
        "the command ended by SIGTERM",
    ),
    "only when it is made to": (
        "trap '' TERM; kill -TERM $PPID; while :; do sleep 0.01; done",
        128 + signal.SIGKILL,
        "the command ended by SIGKILL",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_status_is_that_of_the_command_and_the_recording_is_whole(ending: str, tmp_path: Path) -> None:
    script, status, says = ENDINGS[ending]
    path = tmp_path / "a.swtrace"
    ran = record("-o", str(path), "--", "sh", "-c", script)
    said = [line for line in ran.stdout.decode().splitlines() if line.startswith("the command")]
    assert (ran.returncode, said, ran.stderr) == (status, [says] if says else [], b"")
    assert replay(path, SETTING.revision).exit_code == Exit.OK
    assert list(tmp_path.iterdir()) == [path]


def test_a_command_that_has_no_time_left_is_ended(tmp_path: Path) -> None:
    ran = record("-o", str(tmp_path / "a.swtrace"), "--duration", "1", "--", "sleep", "1000")
    assert ran.returncode == 128 + signal.SIGTERM


def test_without_a_command_it_is_0(tmp_path: Path) -> None:
    assert record("-o", str(tmp_path / "a.swtrace"), "--duration", "1").returncode == Exit.OK


def test_a_recorder_that_fails_has_its_own_status_and_ends_the_command(tmp_path: Path) -> None:
    command = "while [ -e running ]; do sleep 0.01; done; exit 7"
    (tmp_path / "running").touch()
    ran = record("-o", "a.swtrace", "--", "sh", "-c", command, cwd=tmp_path, file_bytes=8192)
    assert ran.returncode == Exit.CANNOT
    assert ran.stderr.startswith(b"swiotlb-top: cannot write a.swtrace.partial: File too large; ")
    assert ran.stderr.count(b"\n") == 1


def test_a_command_that_cannot_be_started_leaves_nothing_behind(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF, or not")
    program.chmod(0o755)
    ran = record("-o", str(tmp_path / "a.swtrace"), "--", str(program))
    assert (ran.returncode, ran.stdout) == (Exit.USAGE, b"")
    assert ran.stderr == f"swiotlb-top: cannot run {program}: Exec format error\n".encode()
    assert list(tmp_path.iterdir()) == [program]


# ---- several files -------------------------------------------------------


def test_files_of_a_size_are_numbered_and_so_many_are_kept(tmp_path: Path) -> None:
    ran = record("-o", "disk.swtrace", "--max-size", "64K", "--keep", "2", "--duration", "60", cwd=tmp_path)
    first, last = sorted(tmp_path.iterdir())
    assert ran.stdout.decode().startswith(f"{first.name} to {last.name} (")
    assert (ran.returncode, ran.stderr) == (Exit.OK, b"")
    for path in (first, last):
        assert replay(path, SETTING.revision).exit_code == Exit.OK


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-o", "a", "--keep", "3"), "--keep goes with --max-size"),
        (("-o", "a", "--keep", "1", "--max-size", "1G"), "1 is not in the range x>=2"),
        (("-o", "-", "--max-size", "1G"), "--max-size needs a name for the files: give -o one"),
        (("-o", "a", "--max-size", "65535"), "65535 is not between 64K and 16T"),
        (("-o", "a", "--max-size", "17T"), "17T is not between 64K and 16T"),
        (("-o", "a", "--max-size", "much"), "'much' is no size: give bytes, or a unit, as in 500K, 100M or 2G"),
        (("-o", "a", "--max-size", "1.5G"), "'1.5G' is no size"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", *arguments]) == Exit.USAGE
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("65536", 65_536), ("64k", 65_536), ("1M", 1 << 20), ("2 GiB", 2 << 30), ("3gb", 3 << 30), ("16T", 16 << 40)],
)
def test_a_size_is_bytes_or_has_a_unit(text: str, size_bytes: int) -> None:
    assert Size().convert(text, None, None) == size_bytes


def test_that_the_file_lies_on_a_disk_that_bounces_is_said_and_recording_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def line(output: Path) -> str:
        asked.append(output)
        return f"{output} lies on vda"

    monkeypatch.setattr(advice, "advice", line)
    with recorded_from(SoundSession()):
        assert main(["record", "-o", str(tmp_path / "a.swtrace"), "--duration", "1"]) == Exit.OK
    assert asked == [tmp_path / "a.swtrace"]
    assert capsys.readouterr().err == f"swiotlb-top: {tmp_path / 'a.swtrace'} lies on vda\n"


def test_that_advice_cannot_be_given_is_no_reason_not_to_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(output: Path) -> str:
        raise PermissionError(output)

    monkeypatch.setattr(advice, "advice", fail)
    with recorded_from(SoundSession()):
        assert main(["record", "-o", str(tmp_path / "a.swtrace"), "--duration", "1"]) == Exit.OK
    assert capsys.readouterr().err == ""
