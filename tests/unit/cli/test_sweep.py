"""Whatever is given to any option, and wherever output goes: one line, a status that says what happened, no traceback.

Commands and options are found by walking the command line itself: a new one is swept as soon as it is there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pytest

from swiotlb_top import recorder
from swiotlb_top.cli import main
from swiotlb_top.cli.group import swiotlb_top
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.flight import hosted as flight_hosted
from swiotlb_top.flight import recorder as flight_recorder
from swiotlb_top.flight import shelf
from swiotlb_top.probes.compile import building
from swiotlb_top.probes.compile.flags import macros_of
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.sources import Source, sampler, select
from tests.kernels import btf_of, kallsyms_of, program_of

DEADLINE_S = 300.0
BTF, KALLSYMS = str(btf_of("debian")), str(kallsyms_of("debian"))
PROGRAM = str(program_of("debian"))
RECORDING = str(Path(__file__).parents[2] / "traces/large.swtrace")
SCREEN = ""
NEEDED = {
    SCREEN: ["-n", "1", "-d", "0"],
    "check": ["--trace", RECORDING],
    "record": ["-o", "out.swtrace"],
    "snapshot": ["-o", "flights"],
    "info": [RECORDING],
    "replay": [RECORDING],
    "diff": [RECORDING, RECORDING],
    "size": [RECORDING],
    "convert": [RECORDING, "-o", "out.csv"],
    "cut": [RECORDING, "-o", "out.swtrace"],
    "anonymise": [RECORDING, "-o", "out.swtrace"],
    "export": ["--web.listen-address", "127.0.0.1:0"],
    "program build": ["--btf", BTF, "--kallsyms", KALLSYMS, "-o", "out.swprog"],
    "program show": [PROGRAM],
    "doctor": [],
    "revisions": [],
    "why": [],
    "man": [],
}
"""What each command needs to get as far as doing something."""
NUMBERS = [
    "-1",
    "0",
    "1",
    "1e308",
    "nan",
    "-inf",
    "inf",
    "1" + "0" * 21,
    "9" * 5000,
    "0x10",
    "1_000",
    "\u00b2",
    "\uff11",
]
WORDS = [
    "",
    " ",
    "-",
    "abc",
    "x" * 100_000,
    "\udcff\udcfe",
    "\x1b[2J",
    "a\nb",
    "%s",
    "{}",
    ":",
    "[::1",
    "localhost:0:0",
]
PATHS = [
    "/",
    ".",
    "..",
    "~",
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "/proc/self/mem",
    "/nonexistent/x",
    "/etc/passwd/x",
]
VALUES = NUMBERS + WORDS + PATHS
PROPER = {Exit.OK, Exit.DISAGREE, Exit.USAGE, Exit.CANNOT, Exit.UNREADABLE, Exit.INCONCLUSIVE, 128 + signal.SIGINT}


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that it is called by."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} ")
        else:
            yield above + name, command


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    for name, command in ((SCREEN, swiotlb_top), *commands(swiotlb_top)):
        for parameter in command.params:
            if not (isinstance(parameter, click.Option) and parameter.is_flag):
                yield name, parameter


def spelled(parameter: click.Parameter, value: str) -> list[str]:
    return [value] if isinstance(parameter, click.Argument) else [f"{parameter.opts[-1]}", value]


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is watched, nothing goes on for ever, and files are written into an empty directory."""
    frames = sampler.frames

    def two_frames(source: Source, interval_s: float, count: int | None) -> Iterator[Any]:
        return islice(frames(source, min(interval_s, 0.001), count), 2)

    def refuse(**_: object) -> None:
        raise CannotError("no probes here")

    def interrupt(*_: object, **__: object) -> Source:
        raise KeyboardInterrupt

    monkeypatch.setattr(select, "open_live", interrupt)
    monkeypatch.setattr(sampler, "frames", two_frames)
    monkeypatch.setattr(building, "compiled", lambda wanted: dict.fromkeys(map(macros_of, wanted), Image((), {})))
    monkeypatch.setattr(recorder, "Session", refuse)
    monkeypatch.setattr(flight_recorder, "Session", refuse)
    monkeypatch.setattr(flight_hosted, "Session", interrupt)
    monkeypatch.setattr(shelf, "DIRECTORY", tmp_path / "flights")
    monkeypatch.setattr(select, "KERNEL_SOURCES", {"live": interrupt, "debugfs": interrupt})
    monkeypatch.chdir(tmp_path)


def ends_properly(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = main(arguments)
    said = capsys.readouterr()
    assert status in PROPER, (arguments, status, said.err)
    assert "Traceback" not in said.err
    assert said.err.count("\n") <= 1, (arguments, said.err)
    told = said.err or (said.out if arguments[0] == "doctor" else "")  # whose report says what is missing
    assert told or status in (Exit.OK, Exit.DISAGREE, Exit.INCONCLUSIVE, 128 + signal.SIGINT), (arguments, status)


def test_every_command_is_swept() -> None:
    assert set(NEEDED) == {SCREEN, *(name for name, _ in commands(swiotlb_top))}


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize(
    ("command", "parameter"),
    [pytest.param(command, option, id=f"{command or 'screen'} {option.name}") for command, option in parameters()],
)
def test_no_value_of_any_option_is_a_fault(
    command: str, parameter: click.Parameter, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in VALUES:
        given = spelled(parameter, value)
        if command == SCREEN:
            ends_properly([*NEEDED[SCREEN], *given], capsys)
            ends_properly([*NEEDED[SCREEN], "--trace", RECORDING, *given], capsys)
        else:
            ends_properly([*command.split(), *NEEDED[command], *given], capsys)


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("value", VALUES)
def test_no_word_in_place_of_a_command_is_a_fault(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    ends_properly([value], capsys)


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "TERM", "NO_COLOR", "HOME", "XDG_CACHE_HOME", "LC_ALL", "LANG"])
def test_no_value_in_the_environment_is_a_fault(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in VALUES:
        monkeypatch.setenv(name, value)
        ends_properly(["--trace", RECORDING, *NEEDED[SCREEN]], capsys)
        ends_properly(["--help"], capsys)


RUNS = {
    "frame": ["--trace", RECORDING, "-n", "1", "-d", "0"],
    "frames for ever": ["--trace", RECORDING, "-d", "0.01"],
    "json for ever": ["--trace", RECORDING, "-d", "0.01", "--json"],
    "check": ["check", "--trace", RECORDING],
    "check json": ["check", "--trace", RECORDING, "--json"],
    "help": ["--help"],
    "version": ["--version"],
    "usage": ["nonsense"],
    "record": ["record", "-o", "/nonexistent/x.swtrace"],
    "flight": ["record", "--flight", "60s", "-o", "/nonexistent/x"],
    "snapshot": ["snapshot", "-o", "/nonexistent"],
    "info": ["info", RECORDING],
    "replay": ["replay", RECORDING],
    "convert": ["convert", RECORDING, "-o", "-", "--format", "csv"],
    "replay json": ["replay", RECORDING, "--json"],
    "replay all": ["replay", RECORDING, "--revision", "all"],
    "diff": ["diff", RECORDING, RECORDING],
    "diff json": ["diff", RECORDING, RECORDING, "--json"],
    "size": ["size", RECORDING, "--chart"],
    "size json": ["size", RECORDING, "--json"],
    "unreadable": ["replay", "/nonexistent/x.swtrace"],
    "cut": ["cut", RECORDING, "-o", "/nonexistent/x.swtrace"],
    "anonymise": ["anonymise", RECORDING, "-o", "/nonexistent/x.swtrace"],
    "export": ["export", "--web.listen-address", "nowhere"],
    "export flight": ["export", "--flight", "60s", "-o", "/nonexistent/x"],
    "doctor": ["doctor"],
    "doctor json": ["doctor", "--json"],
    "revisions": ["revisions"],
    "why": ["why"],
    "why recording": ["why", RECORDING],
    "man": ["man"],
    "program": ["program", "show", PROGRAM],
}
QUIET_ONES = {
    "usage": Exit.USAGE,
    "record": Exit.CANNOT,
    "flight": Exit.CANNOT,
    "snapshot": Exit.CANNOT,
    "unreadable": Exit.UNREADABLE,
    "cut": Exit.CANNOT,
    "anonymise": Exit.CANNOT,
    "export": Exit.USAGE,
    "export flight": Exit.CANNOT,
}
"""Runs that write nothing on standard output, and how they end."""


def in_a_shell(arguments: list[str], redirection: str) -> subprocess.CompletedProcess[str]:
    """Run the tool with Python's own warnings on; ``redirection`` is the shell's."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-X", "dev", "-m", "swiotlb_top", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )


def test_every_command_is_run_with_every_output() -> None:
    assert {arguments[0] for arguments in RUNS.values()} >= set(swiotlb_top.commands)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("redirection", ["<&- >&-", ">/dev/full"])
def test_output_that_cannot_be_written_has_a_status_of_its_own_and_is_named(run: str, redirection: str) -> None:
    ran = in_a_shell(RUNS[run], redirection)
    assert ran.returncode == QUIET_ONES.get(run, Exit.OUTPUT), ran.stderr
    assert ran.stderr.startswith("swiotlb-top: ")
    assert ran.stderr.count("\n") == 1
    assert ("standard output cannot be written" in ran.stderr) == (run not in QUIET_ONES)


@pytest.mark.parametrize("run", RUNS)
def test_without_standard_error_the_status_says_the_same(run: str) -> None:
    redirection = "2>/dev/full" if run in QUIET_ONES else ">/dev/full 2>&-"
    assert in_a_shell(RUNS[run], redirection).returncode == QUIET_ONES.get(run, Exit.OUTPUT)


@pytest.mark.parametrize("run", sorted(set(RUNS) - set(QUIET_ONES)))
def test_a_reader_that_is_gone_is_no_fault_and_no_success(run: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "swiotlb_top", *RUNS[run]],
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("run", sorted(name for name in RUNS if "ever" not in name))
def test_python_has_nothing_to_warn_of(run: str) -> None:
    ran = in_a_shell(RUNS[run], "")
    assert all(line.startswith("swiotlb-top: ") for line in ran.stderr.splitlines()), ran.stderr
