"""``make run`` installs nothing unasked, and still gets to the tool.

Stand-ins for Debian's tools say what is installed, and note what they are asked for.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.terminals import written_on

ROOT = Path(__file__).parents[2]
DEADLINE_S = 300.0
TOOLS: Final = ("cat", "chmod", "echo", "env", "grep", "id", "make", "mkdir", "rm", "sh", "sleep", "test", "touch")
"""All that a machine has besides the stand-ins."""
DPKG_QUERY: Final = """#!/bin/sh
for package; do :; done
grep -qx "$package" "$MACHINE/installed" && echo installed
"""
APT_GET: Final = """#!/bin/sh
echo "$@" >>"$MACHINE/asked"
case "$*" in *install*) for package; do echo "$package" >>"$MACHINE/installed"; done ;; esac
"""
PYTHON: Final = """#!/bin/sh
test "$1 $2" = "-m venv" || exit 0
shift 3
mkdir -p "$1/bin"
cat >"$1/bin/python" <"$MACHINE/nothing"
cat >"$1/bin/swiotlb-top" <"$MACHINE/tool"
chmod +x "$1/bin/python" "$1/bin/swiotlb-top"
grep -qx python3-venv "$MACHINE/installed" || { echo "there is no ensurepip" >&2; exit 1; }
"""
TOOL: Final = """#!/bin/sh
test "$1" = --demo && exec echo demonstration
grep -qx python3-bpfcc "$MACHINE/installed" && exec echo watching
echo "bcc cannot be imported" >&2
exit 3
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


@dataclass(frozen=True)
class Machine:
    """One whose Debian, Python and tool are stand-ins."""

    directory: Path

    def has(self, *packages: str) -> None:
        (self.directory / "installed").write_text("".join(f"{package}\n" for package in packages))

    def asked(self) -> list[str]:
        """What apt-get was called with."""
        noted = self.directory / "asked"
        return noted.read_text().splitlines() if noted.exists() else []

    def make(self, *arguments: str, terminal: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run make; with a terminal, standard input and standard error are that."""
        told = (f"PYTHON={self.directory}/bin/python3", f"VENV={self.directory}/venv", "SUDO=")
        return subprocess.run(
            ["make", "--no-print-directory", *arguments, *told],
            cwd=ROOT,
            env={"PATH": str(self.directory / "bin"), "MACHINE": str(self.directory)},
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with python3-venv and without bcc."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    for name, script in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET), ("python3", PYTHON)):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "tool").write_text(TOOL)
    (tmp_path / "nothing").write_text("#!/bin/sh\n")
    made = Machine(tmp_path)
    made.has("python3", "python3-venv")
    return made


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: the person's, and the program's."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_without_a_terminal_it_installs_nothing_and_says_in_one_line_how_to(machine: Machine) -> None:
    ran = machine.make("run")
    assert machine.asked() == []
    assert ran.stderr.splitlines() == [
        "missing, and not installed: python3-bpfcc. To install: make run INSTALL=yes",
        "bcc cannot be imported",
    ]


def test_it_gets_to_the_demonstration_all_the_same(machine: Machine) -> None:
    ran = machine.make("run")
    assert (ran.returncode, ran.stdout) == (0, "demonstration\n")


def test_told_to_it_installs_what_is_missing_and_no_more(machine: Machine) -> None:
    ran = machine.make("run", "INSTALL=yes")
    assert machine.asked() == ["-qq update", "-qq install -y --no-install-recommends python3-bpfcc"]
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "installing: python3-bpfcc\nwatching\n", "")


def test_told_to_later_it_installs_then(machine: Machine) -> None:
    machine.make("run")
    assert machine.make("run", "INSTALL=yes").stdout.endswith("watching\n")


def test_where_nothing_is_missing_it_says_nothing(machine: Machine) -> None:
    machine.has("python3", "python3-venv", "python3-bpfcc")
    ran = machine.make("run")
    assert machine.asked() == []
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "watching\n", "")


@pytest.mark.parametrize(
    ("answer", "installs"), [("y", True), ("Y", True), ("yes", True), ("n", False), ("", False), ("no, y?", False)]
)
def test_on_a_terminal_it_asks_first(answer: str, installs: bool, machine: Machine, terminal: tuple[int, int]) -> None:
    person, program = terminal
    os.write(person, f"{answer}\n".encode())
    ran = machine.make("run", terminal=program)
    assert "missing: python3-bpfcc. Install with apt-get? [y/N] " in written_on(program, person)
    assert bool(machine.asked()) == installs
    assert ran.stdout.endswith("watching\n" if installs else "demonstration\n")


def test_without_python3_venv_it_says_what_is_missing_and_starts_afresh_once_it_is_there(machine: Machine) -> None:
    machine.has("python3")
    ran = machine.make("run")
    assert ran.returncode != 0
    assert ran.stderr.splitlines()[:2] == [
        "missing, and not installed: python3-venv python3-bpfcc. To install: make run INSTALL=yes",
        "there is no ensurepip",
    ]
    assert machine.make("run", "INSTALL=yes").stdout.endswith("watching\n")


def test_on_another_distribution_it_says_what_debian_calls_it(machine: Machine) -> None:
    (machine.directory / "bin/apt-get").unlink()
    ran = machine.make("run")
    assert ran.stderr.splitlines()[0] == "not a Debian system; please install what Debian calls: python3-bpfcc"
    assert ran.stdout == "demonstration\n"


def test_what_make_test_needs_is_installed_unasked(machine: Machine) -> None:
    (machine.directory / "venv/bin").mkdir(parents=True)
    (machine.directory / "venv/bin/prometheus").symlink_to("/bin/true")
    assert machine.make(f"{machine.directory}/venv/test").returncode == 0
    installed = [line.rpartition("--no-install-recommends ")[2] for line in machine.asked() if " install " in line]
    assert installed[0] == "python3-bpfcc"
    assert "qemu-system-x86" in installed[1]
