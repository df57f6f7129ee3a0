"""Who asks for a file gets the one that was written for it, or is told why there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.flight import snapshot as module
from swiotlb_top.flight.shelf import Shelf
from swiotlb_top.flight.snapshot import snapshot

RECORDER = """
import signal, sys, time
from pathlib import Path
from swiotlb_top.flight.shelf import Shelf

asked = []
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
with Shelf(Path(sys.argv[1]), 8) as shelf:
    print("ready", flush=True)
    while not asked:
        time.sleep(0.01)
    if sys.argv[2] == "writes":
        shelf.place_for(10**18, "asked").touch()
    if sys.argv[2] != "ends":
        time.sleep(300)
"""


@contextmanager
def recorder(directory: Path, does: str) -> Iterator[int]:
    """A process that holds the directory, and what it does when it is asked."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RECORDER, str(directory), does]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_the_file_that_is_written_then_is_the_answer(tmp_path: Path) -> None:
    (tmp_path / "swiotlb-20301231T000000.000Z-failure.swtrace").touch()
    with recorder(tmp_path, "writes"):
        assert snapshot(tmp_path) == tmp_path / "swiotlb-20010909T014640.000Z-asked.swtrace"


def test_if_it_ends_without_a_file_that_is_said(tmp_path: Path) -> None:
    with recorder(tmp_path, "ends") as pid, pytest.raises(CannotError, match=f"process {pid}, has ended without"):
        snapshot(tmp_path)


def test_one_that_writes_nothing_is_not_awaited_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    with recorder(tmp_path, "sleeps") as pid, pytest.raises(CannotError, match=f"process {pid}, has written no file"):
        snapshot(tmp_path)


@pytest.mark.parametrize("there", ["nothing", "a directory", "one that has ended", "a file"])
def test_where_none_runs_it_is_said_how_to_start_one(there: str, tmp_path: Path) -> None:
    directory = tmp_path / "flights"
    if there == "a file":
        directory.write_text("")
    elif there != "nothing":
        directory.mkdir()
    if there == "one that has ended":
        with Shelf(directory, 1):
            pass
    with pytest.raises(CannotError, match=f"no flight recorder writes into {directory}; start one: swiotlb-top record"):
        snapshot(directory)


def test_one_that_was_killed_does_not_run_whoever_has_its_number_now(tmp_path: Path) -> None:
    with recorder(tmp_path, "sleeps") as pid:
        pass
    assert (tmp_path / "flight.pid").read_text() == f"{pid}\n"
    (tmp_path / "flight.pid").write_text(f"{os.getpid()}\n")
    with pytest.raises(CannotError, match="no flight recorder writes into"):
        snapshot(tmp_path)


@pytest.mark.parametrize(
    ("error", "why"), [(PermissionError, "become root"), (ProcessLookupError, "is not to be seen from here")]
)
def test_one_that_may_not_be_signalled_is_named(
    error: type[OSError], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, __: int) -> None:
        raise error

    with recorder(tmp_path, "sleeps") as pid, monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        with pytest.raises(CannotError, match=rf"process {pid}\b.*{why}"):
            snapshot(tmp_path)
