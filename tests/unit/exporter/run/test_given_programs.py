"""An exporter whose program file is not there yet, or not to be trusted, is blind until it is, and does not end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.probes.compile import program_file
from tests.kernels import layout_of
from tests.support.program_files import file_for

DEADLINE_S = 300.0
EXPORTER = """
import sys
from swiotlb_exporter.run import serve
from swiotlb_top.cli import main
from swiotlb_top.probes.compile import given
from swiotlb_top.sources import select
from tests.support.snapshots import STALLED, ScriptedSource
def attach(program):
    given.read(program, trusted=True)
    return ScriptedSource([STALLED])
serve.RETRY_S = 0.1
select.open_live = attach
sys.exit(main(["export", "--source", "live", "--interval", "1", "--textfile", ".", *sys.argv[1:]]))
"""


@contextmanager
def exporter(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command, over a source that wants a program file and nothing else."""
    words = [sys.executable, "-c", EXPORTER, "--program", "here.swprog", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, stderr=subprocess.PIPE, cwd=directory, env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def eventually_says(page: Path, words: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not page.exists() or words not in page.read_text():
        assert time.monotonic() < end_s, page.read_text() if page.exists() else "there is no page"
        time.sleep(0.05)


@pytest.mark.parametrize("first", ["nothing", "anybody's"])
def test_it_is_watched_from_when_the_file_is_there_and_to_be_trusted(first: str, tmp_path: Path) -> None:
    page, file = tmp_path / "swiotlb.prom", tmp_path / "here.swprog"
    why = "cannot read here.swprog: No such file or directory"
    if first == "anybody's":
        file.write_bytes(program_file.packed(file_for(layout_of("debian"))))
        file.chmod(0o666)
        why = "here.swprog is not loaded, as others than root and this user can write it"
    with exporter(tmp_path) as process:
        eventually_says(page, why)
        assert "\nswiotlb_up 0" in page.read_text()
        new = tmp_path / "new"
        new.write_bytes(program_file.packed(file_for(layout_of("debian"))))
        new.chmod(0o644)
        new.rename(file)
        eventually_says(page, "\nswiotlb_up 1")
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == Exit.OK
    blind, *_ = said.splitlines()
    assert why in blind
    assert "serving swiotlb_up 0" in blind
    assert said.count(why) == 1
    assert "Traceback" not in said


def test_with_exit_if_blind_it_ends_as_for_any_file_that_cannot_be_read(tmp_path: Path) -> None:
    with exporter(tmp_path, "--exit-if-blind") as process:
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == Exit.UNREADABLE
    assert said == "swiotlb-top: cannot read here.swprog: No such file or directory\n"
