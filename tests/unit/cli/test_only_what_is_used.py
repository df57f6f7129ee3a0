"""No command imports a library that it does not use: an exporter needs no screen, and a report needs neither."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.prometheus import free_port

ROOT = Path(__file__).parents[3]
STALL = ROOT / "tests/traces/stall.swtrace"
DEADLINE_S = 120.0

SHOWS_ITS_IMPORTS = """
import json, sys
before = set(sys.modules)
from swiotlb_top.cli import main
status = main(json.loads(sys.argv[1]))
tops = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
print(json.dumps([status, sorted(tops - {"swiotlb_top", "swiotlb_exporter", "__mp_main__"})]), file=sys.stderr)
"""
"""Runs a command. The last line on standard error has its status, and the libraries that it imported."""

ENDS_AFTER = """
import os, signal, sys, threading, time, urllib.request

def end_when_it_answers():
    while True:
        time.sleep(0.1)
        try:
            page = open(sys.argv[2], "rb").read() if "://" not in sys.argv[2] else urllib.request.urlopen(sys.argv[2]).read()
        except OSError:
            continue
        if b"swiotlb_up 1" in page:
            return os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_when_it_answers, daemon=True).start()
"""  # noqa: E501 (a program)
"""Sends SIGTERM to a process once the page or file that is its second argument says that swiotlb is watched."""

BASIC = {"click"}
"""What the command line itself is made of."""
COMMANDS: dict[str, tuple[list[str], set[str]]] = {
    "help": (["--help"], BASIC),
    "version": (["--version"], BASIC),
    "man": (["man"], BASIC),
    "check": (["check", "--source", "live", "--seconds", "0.1"], BASIC),
    "record": (["record", "-o", "OUT.swtrace", "--duration", "0.1"], BASIC),
    "snapshot": (["snapshot"], BASIC),
    "info": (["info", "FILE"], BASIC),
    "replay": (["replay", "FILE"], BASIC),
    "replay as all revisions": (["replay", "FILE", "--revision", "all"], BASIC),
    "diff": (["diff", "FILE", "FILE"], BASIC),
    "size": (["size", "FILE"], BASIC),
    "convert to a table": (["convert", "FILE", "-o", "OUT.csv"], BASIC),
    "convert to a timeline": (["convert", "FILE", "-o", "OUT.pftrace"], BASIC),
    "convert to Parquet": (["convert", "FILE", "-o", "OUT.parquet"], {*BASIC, "duckdb", "_duckdb"}),
    "cut": (["cut", "FILE", "-o", "OUT.swtrace", "--from", "1", "--to", "2"], BASIC),
    "anonymise": (["anonymise", "FILE", "-o", "OUT.swtrace"], BASIC),
    "doctor": (["doctor"], BASIC),
    "program": (["program", "show", "FILE"], BASIC),
    "revisions": (["revisions"], BASIC),
    "why, of a line": (["why", "virtio-pci 0000:00:04.0: swiotlb buffer is full"], BASIC),
    "why, of a recording": (["why", "FILE"], BASIC),
    "a frame as JSON": (["--demo", "-n", "1", "--json"], BASIC),
    "a plain frame": (["--demo", "-n", "1"], {*BASIC, "rich"}),
}
"""Of each command a command line, and the libraries that it may import."""


def ended(
    program: str, words: list[str], *more: str, at: Path, flags: tuple[str, ...] = (), path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program with a command line in a directory of its own."""
    there = [str(STALL) if word == "FILE" else word for word in words]
    modules = os.pathsep.join(map(str, (*path, ROOT, ROOT / "exporters")))
    return subprocess.run(
        [sys.executable, *flags, "-c", program, json.dumps(there), *more],
        cwd=at,
        env={**os.environ, "HOME": str(at), "PYTHONPATH": modules},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def imported(*arguments: str, words: list[str], at: Path, program: str = SHOWS_ITS_IMPORTS) -> set[str]:
    """The libraries that a command imported."""
    told = ended(program, words, *arguments, at=at)
    assert told.stderr, told
    status, libraries = json.loads(told.stderr.splitlines()[-1])
    assert status in range(6), told.stderr
    return set(libraries)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_what_it_uses(name: str, tmp_path: Path) -> None:
    words, libraries = COMMANDS[name]
    assert imported(words=words, at=tmp_path) == libraries


def test_every_command_is_among_them() -> None:
    from swiotlb_top.cli.group import swiotlb_top

    tried = {words[0] for words, _ in COMMANDS.values()}
    assert set(swiotlb_top.commands) - {"export"} <= tried


def test_the_exporter_imports_click_and_prometheus_client(tmp_path: Path) -> None:
    port = free_port()
    words = ["export", "--trace", "FILE", "--web.listen-address", f"127.0.0.1:{port}"]
    page = f"http://127.0.0.1:{port}/metrics"
    program = ENDS_AFTER + SHOWS_ITS_IMPORTS
    assert imported(page, words=words, at=tmp_path, program=program) == {"click", "prometheus_client"}


def test_the_exporter_s_file_takes_no_more(tmp_path: Path) -> None:
    words = ["export", "--trace", "FILE", "--textfile", str(tmp_path)]
    program = ENDS_AFTER + SHOWS_ITS_IMPORTS
    assert imported(str(tmp_path / "swiotlb.prom"), words=words, at=tmp_path, program=program) == {
        "click",
        "prometheus_client",
    }


@pytest.fixture
def without_a_screen(tmp_path: Path) -> Path:
    """A directory with what an exporter needs, in place of all that is installed."""
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for package in ("click", "prometheus_client"):
        (place,) = (home for home in map(Path, site.getsitepackages()) if (home / package).is_dir())
        (libraries / package).symlink_to(place / package)
    return libraries


def test_without_the_screen_s_libraries_the_screen_says_what_it_lacks(without_a_screen: Path, tmp_path: Path) -> None:
    told = ended(SHOWS_ITS_IMPORTS, ["--demo", "-n", "1"], at=tmp_path, flags=("-S",), path=(without_a_screen,))
    assert told.stdout == ""
    assert told.stderr.splitlines()[0] == (
        "swiotlb-top: the screen needs the Python package rich, which is not installed; --json does not"
    )
    assert json.loads(told.stderr.splitlines()[-1])[0] == 3


@pytest.mark.parametrize(
    "words",
    [["replay", "FILE"], ["size", "FILE"], ["man"], ["--demo", "-n", "1", "--json"]],
    ids=lambda words: words[0],
)
def test_without_them_everything_else_works(words: list[str], without_a_screen: Path, tmp_path: Path) -> None:
    told = ended(SHOWS_ITS_IMPORTS, words, at=tmp_path, flags=("-S",), path=(without_a_screen,))
    assert told.stdout != ""
    assert json.loads(told.stderr.splitlines()[-1])[0] in (0, 5)
