"""How the host has one CPU of a machine stand still: QEMU's monitor, where a CPU is, and one thread held of several."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.harness.holding import Functions, Holding, stopped
from tests.lab.harness.monitor import Monitor

GREETING: dict[str, object] = {"QMP": {"version": {}, "capabilities": []}}
TWO_CPUS = [{"cpu-index": 1, "thread-id": 12}, {"cpu-index": 0, "thread-id": 11}]
REGISTERS = "\nCPU#0\nRAX=0 \nRIP=ffffffff81000010 RFL=00000246\n\nCPU#1\nRIP=ffffffff81000027 RFL=0\n"
SYMBOLS = "ffffffff81000020 t swiotlb_bounce\nffffffff81000000 T memcpy\nffffffff81000030 T panic\n"


class Qemu:
    """The other end of a monitor: answers by a table, and says of what it was asked."""

    def __init__(self, connection: socket.socket, answers: dict[str, object]) -> None:
        self.asked: list[str] = []
        self._file = connection.makefile("rw")
        self._answers = answers
        self._say(GREETING)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for line in self._file:
            command = json.loads(line)["execute"]
            self.asked.append(command)
            self._say({"event": "SOMETHING ELSE"})
            if command in self._answers:
                self._say({"return": self._answers[command]})
            else:
                self._say({"error": {"desc": f"no {command} here"}})

    def _say(self, answer: object) -> None:
        self._file.write(json.dumps(answer) + "\n")
        self._file.flush()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, qemus = socket.socketpair()
    with ours, qemus:
        yield ours, qemus


def test_what_the_monitor_returns_is_told_from_what_it_says_in_between(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    Qemu(ends[1], {"qmp_capabilities": {}, "query-cpus-fast": TWO_CPUS, "human-monitor-command": REGISTERS})
    monitor = Monitor(ends[0])
    assert monitor.threads() == [11, 12]
    assert monitor.instruction_pointers() == [0xFFFFFFFF81000010, 0xFFFFFFFF81000027]
    with pytest.raises(RuntimeError, match="stop: no stop here"):
        monitor.execute("stop")


def test_a_monitor_that_is_closed_is_a_lost_connection(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].close()
    with pytest.raises(ConnectionError):
        Monitor(ends[0])


def test_an_address_is_in_the_function_that_begins_last_before_it() -> None:
    functions = Functions(SYMBOLS)
    assert functions.at(0xFFFFFFFF81000010) == "memcpy"
    assert functions.at(0xFFFFFFFF81000020) == functions.at(0xFFFFFFFF8100002F) == "swiotlb_bounce"
    assert functions.at(0x1000) == ""


def state(thread: int) -> str:
    return Path(f"/proc/{thread}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process of two threads, which says the number of the second."""
    script = (
        "import threading, time\n"
        "def other():\n"
        "    print(threading.get_native_id(), flush=True)\n"
        "    time.sleep(1000)\n"
        "threading.Thread(target=other).start()\n"
        "time.sleep(1000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_one_thread_stands_still_while_the_others_go_on(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    other = int(child.stdout.readline())
    with stopped(other):
        assert state(other) == "t"
        assert state(child.pid) != "t"
    assert state(other) != "t"


def test_a_cpu_inside_swiotlb_is_held_and_the_machine_goes_on(
    ends: tuple[socket.socket, socket.socket], child: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert child.stdout
    cpus = [{"cpu-index": 0, "thread-id": child.pid}, {"cpu-index": 1, "thread-id": int(child.stdout.readline())}]
    qemu = Qemu(
        ends[1],
        {
            "qmp_capabilities": {},
            "query-cpus-fast": cpus,
            "human-monitor-command": REGISTERS,
            "stop": {},
            "cont": {},
        },
    )
    (tmp_path / "symbols").write_text(SYMBOLS)
    over = threading.Event()
    holding = Holding(for_s=0.01, pause_s=0)
    work = threading.Thread(target=holding, args=(Monitor(ends[0]), tmp_path, over))
    work.start()
    while not holding.held:
        time.sleep(0.01)
    over.set()
    work.join()
    assert set(holding.held) == {("swiotlb_bounce", 1)}
    assert qemu.asked.count("stop") == qemu.asked.count("cont")
