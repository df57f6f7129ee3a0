"""The live screen on a real pseudo-terminal: it can be left, and leaves the terminal as it was.

What every key does is tested in test_tui_app.py and test_tui_keys.py.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DEADLINE_S = 300.0
ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"

PROGRAM = """
import sys
from dataclasses import replace
from swiotlb_top.errors import CannotError
from swiotlb_top.cli import main
from swiotlb_top.sources import select
from tests.support.snapshots import QUIET, STALLED, ScriptedSource
scripts = {
    "works": [QUIET, STALLED],
    "short": [replace(STALLED, pools=STALLED.pools[:1], devices=STALLED.devices[:1], notes=())],
    "fails": [STALLED, CannotError("gone away")],
    "breaks": [STALLED, KeyError("bug")],
    "draws badly": [STALLED],
}
if sys.argv[1] == "draws badly":
    from swiotlb_top.tui import app

    def render(*_):
        raise KeyError("no such picture")

    app.render = render
select.KERNEL_SOURCES.clear()
select.KERNEL_SOURCES["fake"] = lambda: ScriptedSource(scripts[sys.argv[1]])
sys.exit(main(["-d", "0.05"]))
"""


@dataclass
class Screen:
    """A program on a pseudo-terminal of 80 by 24."""

    descriptor: int
    slave: int
    process: subprocess.Popen[bytes]
    before: list[object]
    seen: bytes = field(default=b"")

    def wait_for(self, what: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while what not in self.seen and what not in ESCAPES.sub(b"", self.seen):
            left = deadline - time.monotonic()
            assert left > 0, f"{what!r} not in {self.seen[-400:]!r}"
            self.wait_for_more()

    def wait_for_more(self) -> None:
        if select.select([self.descriptor], [], [], 0.2)[0]:
            self.seen += os.read(self.descriptor, 65536)

    def end(self) -> int:
        self.wait_for(LEAVE_SCREEN)
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.wait_for_more()
        while select.select([self.descriptor], [], [], 0)[0]:
            self.seen += os.read(self.descriptor, 65536)
        return self.process.wait()

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before and self.seen.rindex(SHOW_CURSOR) > self.seen.rindex(
            HIDE_CURSOR
        )


def start(source: str, **environment: str) -> Screen:
    descriptor, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    before = termios.tcgetattr(slave)
    # Where these are set, they and not the terminal say how large it is.
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, source],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**inherited, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
    )
    return Screen(descriptor, slave, process, before)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    started: list[Screen] = []
    yield started
    for screen in started:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.descriptor)
        os.close(screen.slave)


def test_q_quits_and_restores_the_terminal(screens: list[Screen]) -> None:
    screen = start("works")
    screens.append(screen)
    screen.wait_for(b"0000:00:04.0")
    assert ENTER_SCREEN in screen.seen
    assert termios.tcgetattr(screen.slave) != screen.before
    os.write(screen.descriptor, b"xq")
    assert screen.end() == 0
    assert screen.is_restored()


def test_the_mouse_is_left_to_the_terminal(screens: list[Screen]) -> None:
    screen = start("works")
    screens.append(screen)
    screen.wait_for(b"q quit")
    assert not re.search(rb"\x1b\[\?100[0236]h", screen.seen)


@pytest.mark.parametrize("letter", [b"p", b"P"])
def test_a_letter_that_arrives_with_esc_is_not_lost_nor_is_esc(screens: list[Screen], letter: bytes) -> None:
    """As where both are typed fast, or the machine is slow to read them: to a terminal the two are one Alt key."""
    screen = start("works")
    screens.append(screen)
    screen.wait_for(b"0000:00:04.0")
    os.write(screen.descriptor, b"\r")
    screen.wait_for(b"DEVICE 0000:00:04.0")
    screen.seen = b""
    os.write(screen.descriptor, b"\x1b" + letter)
    screen.wait_for(b"PAUSED")
    screen.wait_for(b"POOLS")
    os.write(screen.descriptor, b"q")
    assert screen.end() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_and_restores_the_terminal(screens: list[Screen], number: int, status: int) -> None:
    screen = start("works")
    screens.append(screen)
    screen.wait_for(b"0000:00:04.0")
    screen.process.send_signal(number)
    assert screen.end() == status
    assert screen.is_restored()
    assert b"Traceback" not in screen.seen


def test_ctrl_c_ends_it_and_restores_the_terminal(screens: list[Screen]) -> None:
    screen = start("works")
    screens.append(screen)
    screen.wait_for(b"0000:00:04.0")
    os.write(screen.descriptor, b"\x03")
    assert screen.end() == 130
    assert screen.is_restored()


def test_ctrl_z_gives_the_terminal_back_and_the_screen_returns(screens: list[Screen]) -> None:
    screen = start("works")
    screens.append(screen)
    screen.wait_for(b"q quit")
    os.write(screen.descriptor, b"\x1a")
    screen.wait_for(LEAVE_SCREEN)
    deadline = time.monotonic() + DEADLINE_S
    while state_of(screen.process.pid) != "T":
        assert time.monotonic() < deadline
        screen.wait_for_more()
    assert screen.is_restored()
    screen.seen = b""
    screen.process.send_signal(signal.SIGCONT)
    screen.wait_for(ENTER_SCREEN)
    screen.wait_for(b"q quit")
    os.write(screen.descriptor, b"q")
    assert screen.end() == 0
    assert screen.is_restored()


def state_of(process: int) -> str:
    """The letter in /proc: T is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_bug_in_drawing_leaves_the_screen_before_it_is_reported(screens: list[Screen]) -> None:
    screen = start("draws badly")
    screens.append(screen)
    assert screen.end() == 70
    screen.wait_for(b"no such picture")
    assert screen.is_restored()
    assert screen.seen.index(LEAVE_SCREEN) < screen.seen.index(b"no such picture")


def test_a_source_that_fails_later_is_drawn_and_does_not_end_the_screen(screens: list[Screen]) -> None:
    screen = start("fails")
    screens.append(screen)
    screen.wait_for(b"the source fails: gone away")
    assert screen.process.poll() is None
    os.write(screen.descriptor, b"q")
    assert screen.end() == 0


def test_a_bug_in_a_source_leaves_the_screen_before_it_is_reported(screens: list[Screen]) -> None:
    screen = start("breaks")
    screens.append(screen)
    assert screen.end() == 70
    screen.wait_for(b"KeyError")
    assert screen.is_restored()
    assert screen.seen.index(LEAVE_SCREEN) < screen.seen.index(b"KeyError")


def test_frames_are_drawn_in_a_new_size(screens: list[Screen]) -> None:
    screen = start("short")
    screens.append(screen)
    screen.wait_for(b"Tab panel")
    termios.tcsetwinsize(screen.slave, (24, 60))
    deadline = time.monotonic() + DEADLINE_S
    while not _narrow_frame(screen.seen):
        assert time.monotonic() < deadline
        screen.wait_for_more()


def _narrow_frame(seen: bytes) -> bool:
    """Whether a whole frame, whose footer has fewer keys, stands at the end."""
    last = ESCAPES.sub(b"", seen[seen.rfind(b"swiotlb-top") :])
    return b"q quit" in last and b"Tab panel" not in last


def test_no_color_draws_without_colours(screens: list[Screen]) -> None:
    screen = start("works", NO_COLOR="1")
    screens.append(screen)
    screen.wait_for(b"0000:00:04.0")
    screen.wait_for(b"q quit")
    assert not re.search(rb"\x1b\[[0-9;]*(3[0-7]|4[0-7])m", screen.seen)


def test_a_dumb_terminal_gets_plain_frames(screens: list[Screen]) -> None:
    screen = start("works", TERM="dumb")
    screens.append(screen)
    screen.wait_for(b"0000:00:04.0")
    assert b"\x1b" not in screen.seen
    screen.process.send_signal(signal.SIGINT)
    assert screen.process.wait(DEADLINE_S) == 130
