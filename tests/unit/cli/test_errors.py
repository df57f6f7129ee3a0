"""Every way to end: one line on standard error, the right exit status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from swiotlb_top.accounting.snapshot import Snapshot, VerdictView
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit, SwiotlbTopError, UnreadableError
from swiotlb_top.sources import Source, select
from tests.support.doctoring import STALL
from tests.support.snapshots import QUIET, STALLED, ScriptedSource

DEADLINE_S = 300.0


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys; from swiotlb_top.cli import main; {code}\nsys.exit(main({list(arguments)!r}))"
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def use_source(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    monkeypatch.setattr(select, "KERNEL_SOURCES", {"fake": lambda: source})


def refusing(error: SwiotlbTopError) -> Source:
    raise error


@pytest.mark.parametrize("error", [CannotError("needs root"), UnreadableError("bad magic")])
def test_an_error_is_one_line_with_its_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: SwiotlbTopError
) -> None:
    monkeypatch.setitem(select.KERNEL_SOURCES, "live", lambda: refusing(error))
    assert main(["--source", "live"]) == error.exit_code
    assert capsys.readouterr().err == f"swiotlb-top: {error}\n"


def test_an_error_stays_one_line_whatever_it_quotes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(select.KERNEL_SOURCES, "live", lambda: refusing(CannotError("no\n\x1b[2Jfile")))
    assert main(["--source", "live"]) == 3
    assert capsys.readouterr().err == "swiotlb-top: no  [2Jfile\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--source", "guess"],
        ["-n", "0"],
        ["-n", "many"],
        ["-d", "-1"],
        ["-d", "nan"],
        ["-d", "inf"],
        ["-d", "soon"],
        ["-d", "0"],
        ["--trace", "x", "--source", "live"],
        ["--speed", "2"],
        ["--start", "1"],
        ["--trace", "x", "--speed", "0"],
        ["-n", "1", "doctor"],
        ["record"],
        ["record", "-o", "x", "--duration", "0"],
        ["replay"],
        ["size"],
        ["size", "x", "--headroom", "much"],
        ["size", "x", "--areas", "0"],
        ["size", "x", "--chart", "--json"],
        ["export", "--web.listen-address", "nowhere"],
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err


@pytest.mark.parametrize("command", [[], ["record"], ["replay"], ["size"], ["export"], ["doctor"]])
def test_help_ends_with_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    examples = capsys.readouterr().out.split("Examples:\n")[1]
    assert all(line.split()[0] in ("swiotlb-top", "curl") for line in examples.splitlines() if line)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("swiotlb-top, version ")


def test_a_plain_frame_needs_neither_bcc_nor_the_library_of_the_live_screen() -> None:
    program = (
        "import sys; from swiotlb_top.cli import main; "
        f"main(['--trace', {str(STALL)!r}, '-n', '1', '-d', '0']); "
        "print([name for name in ('bcc', 'textual') if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ran.returncode, ran.stderr) == (0, "[]\n")
    assert ran.stdout.startswith("swiotlb-top")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], Exit.OK), (["replay", "--help"], Exit.OK), (["-n", "1", "-d", "0", "--json"], Exit.INCONCLUSIVE)],
)
def test_what_is_not_needed_is_not_imported(arguments: list[str], status: Exit) -> None:
    code = (
        "import atexit\n"
        "from swiotlb_top.sources import select\n"
        "from tests.support.snapshots import QUIET, ScriptedSource\n"
        "select.KERNEL_SOURCES = {'fake': lambda: ScriptedSource([QUIET])}\n"
        "heavy = ('rich', 'textual', 'bcc', 'prometheus_client')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))\n"
    )
    ran = run(*arguments, code=code)
    assert (ran.returncode, ran.stderr) == (status, "[]\n")


def test_until_a_command_runs_nothing_is_imported_but_the_command_line() -> None:
    program = (
        "import sys, swiotlb_top.cli; "
        "print(sorted({name.split('.')[1] for name in sys.modules if name.startswith('swiotlb_top.')}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ran.returncode, ran.stdout) == (0, "['cli', 'errors', 'json_schema']\n")


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> Source:
        raise KeyboardInterrupt

    monkeypatch.setattr(select, "KERNEL_SOURCES", {"fake": interrupt})
    assert main([]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_it_quietly_and_not_as_a_success(form: list[str]) -> None:
    program = (
        "import sys; from swiotlb_top.cli import main; from swiotlb_top.sources import select;"
        "from tests.support.snapshots import STALLED, ScriptedSource;"
        "select.KERNEL_SOURCES = {'fake': lambda: ScriptedSource([STALLED])};"
        f"sys.exit(main({['-d', '0.01', *form]!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 141
        assert process.stderr.read() == b""


def test_the_source_is_closed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ScriptedSource([QUIET, CannotError("gone")])
    use_source(monkeypatch, source)
    assert main(["-n", "2", "-d", "0.001"]) == 3
    assert source.closed


def test_frames_are_counted_and_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use_source(monkeypatch, ScriptedSource([QUIET, STALLED]))
    assert main(["-n", "2", "-d", "0.001"]) == Exit.DISAGREE
    output = capsys.readouterr().out
    assert [line.split()[0] for line in output.splitlines() if line].count("swiotlb-top") == 2
    assert output.count("FAILING") == 1


WELL = replace(QUIET, maps=10, unmaps=10, verdict=VerdictView("6.10", 20, 20, 0, 0, 0))
CORRUPT = replace(WELL, verdict=VerdictView("6.10", 20, 19, 1, 0, 1))
DOUBTFUL = replace(WELL, verdict=VerdictView("6.10", 20, 19, 0, 1, 0))


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    ("shown", "status"), [(WELL, Exit.OK), (STALLED, 1), (CORRUPT, 1), (DOUBTFUL, 5), (replace(WELL, unseen="why"), 5)]
)
def test_the_status_of_counted_frames_is_that_of_the_last_headline(
    monkeypatch: pytest.MonkeyPatch, form: list[str], shown: Snapshot, status: int
) -> None:
    later = replace(shown, time_ns=shown.time_ns + 1)
    use_source(monkeypatch, ScriptedSource([shown, later]))
    assert main(["-n", "1", "-d", "0.001", *form]) == status
