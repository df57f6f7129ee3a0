"""``swiotlb-top record`` as a program: where the recording goes, what is said where, and how it ends.

The program is the real one; the kernel it records is one without a fault that runs in its process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swiotlb_top.errors import Exit
from swiotlb_top.reports.replay import replay
from swiotlb_top.verify import Verdict
from tests.support.sound_session import SETTING

DEADLINE_S = 300.0
PROGRAM = """
import sys
from swiotlb_top.cli import main
from tests.support.sound_session import SoundSession, recorded_from
with recorded_from(SoundSession()):
    sys.exit(main(sys.argv[1:]))
"""


def record(
    *arguments: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM, "record", *arguments],
        stdout=stdout,
        stderr=stderr,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
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
    os.set_blocking(ours, False)

    def written() -> str:
        try:
            return os.read(ours, 100_000).decode()
        except BlockingIOError:
            return ""

    try:
        yield theirs, written
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
