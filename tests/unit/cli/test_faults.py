"""A fault of the tool itself: a status of its own, one line, and the traceback in a file for who asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.sources import Source, select

DEADLINE_S = 300.0


@pytest.fixture(params=[ZeroDivisionError("by\nnothing"), OSError(24, "Too many open files"), MemoryError()])
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exception:
    error: Exception = request.param

    def fail() -> Source:
        raise error

    monkeypatch.setattr(select, "KERNEL_SOURCES", {"live": fail})
    return error


def test_a_fault_is_one_line_and_never_the_status_of_a_disagreement(
    fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-n", "1"]) == Exit.FAULT
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("swiotlb-top: a fault in swiotlb-top itself")
    assert type(fault).__name__ in said.err
    assert "SWIOTLB_TOP_TRACEBACK=FILE" in said.err
    assert said.err.count("\n") == 1


def test_the_traceback_is_kept_where_one_asks(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "traceback.txt"
    monkeypatch.setenv("SWIOTLB_TOP_TRACEBACK", str(kept))
    assert main(["-n", "1"]) == 70
    assert str(kept) in capsys.readouterr().err
    assert kept.read_text().startswith("Traceback (most recent call last)")
    assert type(fault).__name__ in kept.read_text()


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("path", ["/nonexistent/x", "/", "/dev/full"])
def test_a_traceback_that_cannot_be_kept_hides_no_fault(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWIOTLB_TOP_TRACEBACK", path)
    assert main(["-n", "1"]) == 70
    said = capsys.readouterr().err
    assert f"cannot be written to {path}" in said
    assert said.count("\n") == 1


INTERRUPTED_WHILE_IMPORTING = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(name, path, target=None):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt)
sys.argv = ["swiotlb-top", "--demo", "-n", "1", "-d", "0"]
runpy.run_module("swiotlb_top", run_name="__main__")
"""


@pytest.mark.parametrize(
    "module", ["swiotlb_top.cli", "click", "swiotlb_top.cli.record", "swiotlb_top.sources.replay", "rich.console"]
)
def test_an_interrupt_while_modules_are_imported_leaves_no_traceback(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-c", f"MODULE = {module!r}\n{INTERRUPTED_WHILE_IMPORTING}"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("", "")
    assert ran.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    """As the shell has it for commands in the background."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import sys; sys.argv = ['swiotlb-top', '--version']\n"
        "from swiotlb_top.__main__ import run; run()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=DEADLINE_S)


def test_a_completion_that_no_shell_asks_for_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_SWIOTLB_TOP_COMPLETE", "nonsense")
    assert main([]) == Exit.USAGE
    assert "'nonsense'" in capsys.readouterr().err
