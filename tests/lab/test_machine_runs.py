"""What the lab promises of a machine, each promise tried on one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.harness import accelerator
from tests.lab.harness.errors import LostVMError, PanicError
from tests.lab.harness.lab import BOOTS, Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.vm import CHECKOUT, Result

PATIENCE_S = 300.0


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.fixture(scope="module")
def boots(lab: Lab) -> Result:
    """Skips here, where no machine can be had, rather than in a process that a test starts."""
    return lab.run(Machine(), ["no-such-command"])


def test_a_command_that_is_not_there_is_127_not_a_lost_machine(boots: Result) -> None:
    assert boots.status == 127
    assert "no-such-command" in boots.stderr


@dataclass(frozen=True)
class Asked:
    """What a machine said of itself, and of a file of the host's that it tried to change."""

    result: Result
    about_itself: list[str]
    hosts_file: Path


@pytest.fixture(scope="module")
def asked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    mine = tmp_path_factory.mktemp("host") / "mine"
    mine.write_text("the host's\n")
    script = f"""
        nproc; awk '/MemTotal/ {{ print $2 }}' /proc/meminfo; cat /proc/cmdline
        cat {mine}; echo changed >{mine}; cat {mine}
        /usr/bin/python3 -c 'import bcc' && .venv/bin/python -c 'import bcc, click, rich, prometheus_client' || exit
        seq 300000
    """
    result = lab.run(Machine(cpus=2, memory_mb=512, extra_cmdline=("lab.word=1",)), shell(script))
    return Asked(result, result.stdout.splitlines()[:5], mine)


def test_status_0_comes_back_with_all_of_a_long_output(asked: Asked) -> None:
    assert asked.result.status == 0
    assert asked.result.stdout.splitlines()[5:] == [str(n) for n in range(1, 300001)]


def test_the_hosts_files_are_seen_and_cannot_be_changed(asked: Asked) -> None:
    assert asked.about_itself[3:] == ["the host's", "changed"]
    assert asked.hosts_file.read_text() == "the host's\n"


def test_a_machine_has_the_cpus_the_memory_and_the_command_line_it_was_given(asked: Asked) -> None:
    cpus, total_kb, command_line, *_ = asked.about_itself
    assert cpus == "2"
    assert 400_000 < int(total_kb) < 512 * 1024
    assert command_line.endswith(" lab.word=1")


def test_the_distributions_python_has_bcc_and_the_environments_has_the_rest(asked: Asked) -> None:
    assert (asked.result.status, asked.result.stderr) == (0, "")


def test_a_panic_is_a_lost_machine_and_its_console_is_shown(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PanicError, match="sysrq triggered crash"):
        lab.run(Machine(), shell("echo c >/proc/sysrq-trigger; sleep 1000"))
    assert "run again" not in capfd.readouterr().err


def test_a_machine_whose_panic_may_be_the_emulators_is_run_again_and_that_is_said(
    lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PanicError, match="sysrq triggered crash"):
        lab.run(Machine(cpus=2), shell("echo c >/proc/sysrq-trigger; sleep 1000"))
    image = lab.image(Machine().kernel)
    how = accelerator.foretold(lab.root, image, icount=False)
    again = BOOTS - 1 if accelerator.keeps_stale_code(how, 2, image.architecture) else 0
    assert capfd.readouterr().err.count("it is run again\n") == again


def test_a_guest_that_hangs_is_ended_at_its_deadline(lab: Lab) -> None:
    started = time.monotonic()
    with pytest.raises(LostVMError, match="deadline"):
        lab.run(Machine(), ["sleep", "1000"], deadline_s=12)
    assert 12 <= time.monotonic() - started < 120


# --- the command line


def test_a_terminal_reaches_the_command_with_each_of_its_sizes_and_is_given_back(boots: Result) -> None:
    host, guest = pty.openpty()
    fcntl.ioctl(guest, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    before = termios.tcgetattr(guest)
    words = [sys.executable, "-m", "tests.lab", "run", "--tty", "--deadline", "100", "--"]
    script = "test -t 0 && test -t 2 && stty size && echo $TERM && read answer && echo got $answer && "
    script += "until [ \"$(stty size)\" = '44 102' ]; do sleep 0.1; done; exit 3"
    with subprocess.Popen(
        [*words, *shell(script)],
        stdin=guest,
        stdout=guest,
        stderr=guest,
        cwd=CHECKOUT,
        env={**os.environ, "TERM": "vt100"},
    ) as process:
        assert read_lines(host, until="vt100")[-2:] == ["33 101", "vt100"]
        os.write(host, b"forty-two\r")
        assert "got forty-two" in read_lines(host, until="got forty-two")
        fcntl.ioctl(guest, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 102, 0, 0))
        assert process.wait(PATIENCE_S) == 3
    assert termios.tcgetattr(guest) == before
    os.close(guest)
    os.close(host)


def read_lines(terminal: int, *, until: str) -> list[str]:
    """What appears on a terminal up to the line `until`; or all there is, if that line never comes."""
    said = b""
    while select.select([terminal], [], [], PATIENCE_S)[0]:
        said += os.read(terminal, 4096)
        lines = said.decode().replace("\r", "").split("\n")
        if until in lines[:-1]:
            return lines[:-1]
    return said.decode().splitlines()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_guest_dies_with_whoever_started_it(boots: Result, tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "run", "--deadline", "100", "--", *shell("echo here; sleep 1000")],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        (qemu,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(how)
        process.wait(10)
    give_up = time.monotonic() + 10
    while is_running(qemu) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not is_running(qemu)
    if how == signal.SIGTERM:
        assert list(tmp_path.iterdir()) == []


def is_running(pid: str) -> bool:
    """False for a zombie too: it holds no machine, it only waits to be reaped."""
    try:
        return re.search(r"\) [ZX] ", Path(f"/proc/{pid}/stat").read_text()) is None
    except FileNotFoundError:
        return False


def test_a_lost_machine_is_exit_status_70_and_a_dry_run_boots_none(boots: Result) -> None:
    words = [sys.executable, "-m", "tests.lab", "run", "--deadline", "1"]
    lost = subprocess.run([*words, "--", "true"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert lost.returncode == 70
    assert lost.stderr.startswith("lab: lost the machine: the guest was still running at its deadline")
    dry = subprocess.run([*words, "--dry-run", "--", "true"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0
    assert dry.stdout.startswith("setpriv --pdeathsig KILL qemu-system-x86_64 ")
