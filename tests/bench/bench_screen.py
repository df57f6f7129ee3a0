"""What the screen costs: CPU a frame for 50 devices and 200 pools, and from the command to the first frame.

Each way of drawing runs on a pseudo-terminal of 160 by 50, once for few frames and once for many: the difference is
the frames'. Beside it rich's own live display with tables of the same rows that are on the screen, and `top`. Then the
live screen in the lab, attached: under -icount, guest seconds are 10^9 instructions each.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.snapshot import DeviceView, PoolView, Snapshot, VerdictView
from swiotlb_top.allocator import Cause
from tests.lab.harness import cache
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell
from tests.support.slots import mapping, slots_with

DEVICES: Final = 50
POOLS: Final = 200
INTERVAL_S: Final = 0.1
FEW, MANY = 5, 65
STALL: Final = Path(__file__).parents[1] / "traces" / "stall.swtrace"
ROWS: Final = 12
"""Of each table, as many as the screen shows at this size."""
QUIET_S, BUSY_S = 60, 30

# Ticks are hundredths of a second, of its threads as well.
ATTACHED: Final = f"""
    pane() {{ tmux -u -L lab capture-pane -p; }}
    tmux -u -L lab -f /dev/null new-session -d -x 160 -y 50 "exec $tool --source live"
    tries=0
    until pane | grep -q '^verdict' || [ $tries -eq 600 ]; do tries=$((tries + 1)); sleep 0.5; done
    screen=$(tmux -L lab list-panes -F '#{{pane_pid}}')
    ticks() {{ awk '{{ print $14 + $15 }}' /proc/$screen/stat; }}
    spent() {{ sleep 10; before=$(ticks); sleep $2; echo "$1 $(($(ticks) - before))"; }}
    spent quiet {QUIET_S}
    (while :; do dd if=/dev/nvme0n1 bs=64k count=100 iflag=direct of=/dev/null status=none; sleep 0.5; done) &
    spent busy {BUSY_S}
    pane
"""


def snapshot(second: int) -> Snapshot:
    """A busy machine: every number has changed since the second before."""
    slots = slots_with(512, 4, [mapping(slot, 2, 1 + (slot + second) % DEVICES) for slot in range(0, 512, 4)])
    return Snapshot(
        time_ns=second * 1_000_000_000,
        source="live",
        reason="fentry+fexit swiotlb_tbl_map_single",
        kernel_release="6.12.0",
        nslabs=POOLS * 512,
        used_slots=(52_000 + 997 * second) % (POOLS * 512),
        used_hiwater_slots=80_000,
        transient_slots=0,
        maps=second * 400_000,
        map_failures=second * 230,
        unmaps=second * 399_000,
        growths=199,
        pools_added=199,
        lost=0,
        pools=tuple(
            PoolView(i + 1, i << 21, 512, 4, (260 + 7 * i + second) % 512, False, not i, 108, slots, 0)
            for i in range(POOLS)
        ),
        devices=tuple(
            DeviceView(
                i + 1,
                f"0000:{i:02x}:00.0",
                "nvme",
                maps=second * (8000 + i),
                map_failures=second * (i % 5),
                unmaps=second * (7990 + i),
                mapped_bytes=second * (8000 + i) * 4096,
                unmapped_bytes=second * (7990 + i) * 4096,
                causes=((Cause.EXHAUSTED, 3),),
                last_failure="needs 128 slots, 67 of 512 are free",
                map_p99_ns=9000 + i,
                map_p50_ns=3000,
                sizes=(5, 4, 3, 2, 1, 0, 7, 8, 0),
            )
            for i in range(DEVICES)
        ),
        verdict=VerdictView("6.10", second * 4000, second * 4000, 0, 0, 0),
        sampled=True,
    )


class Busy:
    """A source that costs nothing to ask: its snapshots are made beforehand."""

    def __init__(self) -> None:
        made = [snapshot(second) for second in range(1, 20)]
        self._last = made[-1].time_ns
        self._made: Iterator[Snapshot] = (
            replace(one, time_ns=lap * self._last + one.time_ns) for lap in range(1000) for one in made
        )

    def snapshot(self) -> Snapshot:
        return next(self._made)

    def close(self) -> None:
        """Nothing is open."""


def draw_with_textual(frames: int) -> None:
    """The screen as it is, ended after so many frames."""
    from swiotlb_top.findings.noticing import Noticing
    from swiotlb_top.sources.sampler import Sampler
    from swiotlb_top.tui.app import LiveScreen
    from swiotlb_top.tui.glyphs import UNICODE

    with Sampler(Busy(), INTERVAL_S, notice=Noticing()) as sampler:
        screen = LiveScreen(sampler, UNICODE)

        def end() -> None:
            if sampler.frame.sequence >= frames:
                screen.exit()

        screen.call_later(lambda: screen.set_interval(INTERVAL_S, end))
        screen.run()


def draw_with_rich(frames: int) -> None:
    """The same rows in rich's live display."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from swiotlb_top.accounting import fields, numbers
    from swiotlb_top.accounting.fields import Field, Row
    from swiotlb_top.accounting.frame import Frame

    def table(named: tuple[Field[Row], ...], frame: Frame, rows: tuple[Row, ...]) -> Table:
        drawn = Table(box=None)
        for field in named:
            drawn.add_column(field.title)
        for row in rows:
            drawn.add_row(*(Text(numbers.shown(field.value(frame, row), field.unit)) for field in named))
        return drawn

    source = Busy()
    frame = Frame(source.snapshot())
    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        for _ in range(frames):
            frame = frame.then(source.snapshot())
            devices = table(fields.DEVICES, frame, frame.now.devices[:ROWS])
            pools = table(fields.POOLS, frame, frame.now.pools[:ROWS])
            live.update(Group(devices, pools), refresh=True)
            time.sleep(INTERVAL_S)


class OnTerminal:
    """A command on a pseudo-terminal of its own, 160 by 50."""

    def __init__(self, command: list[str]) -> None:
        self._descriptor, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, 160))
        environment = {**os.environ, "TERM": "xterm-256color"}
        self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)

    def read_until(self, what: bytes) -> None:
        seen = b""
        while what not in seen:
            seen += os.read(self._descriptor, 1 << 16)

    def press(self, key: bytes) -> None:
        os.write(self._descriptor, key)

    def cpu_s(self) -> float:
        """User and system time of it all, once it has ended."""
        with suppress(OSError):
            while os.read(self._descriptor, 1 << 16):
                pass
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        os.close(self._descriptor)
        return usage.ru_utime + usage.ru_stime


def ms_a_frame(command: list[str]) -> float:
    """CPU of one frame, in milliseconds; ``command`` is given the number of frames."""
    few, many = (min(OnTerminal([*command, str(frames)]).cpu_s() for _ in range(3)) for frames in (FEW, MANY))
    return (many - few) / (MANY - FEW) * 1000


def first_frame_s() -> tuple[float, float]:
    """From the command to the first frame of a recording: the quickest of five, and the CPU of one that then quits."""
    took_s, cpu_s = [], []
    for _ in range(5):
        began_s = time.perf_counter()
        screen = OnTerminal([sys.executable, "-m", "swiotlb_top", "--trace", str(STALL)])
        screen.read_until(b"quit")
        took_s.append(time.perf_counter() - began_s)
        screen.press(b"q")
        cpu_s.append(screen.cpu_s())
    return min(took_s), min(cpu_s)


def modules_at_start() -> set[str]:
    """What the screen has imported by the time it draws a recording."""
    program = (
        "import sys; from swiotlb_top.cli import main; "
        f"main(['--trace', {str(STALL)!r}, '-n', '1', '-d', '0']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def attached() -> tuple[float, float, str]:
    """In the lab, percent of a CPU of 10^9 instructions a second, while nothing happens and under load; maps/s then."""
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(cache.default_root(), Path(scratch), may_build=True)
        ran = lab.run(Machine(kernel="dynamic", swiotlb="512,force", icount=True), guest_shell(ATTACHED))
    if ran.status:
        raise SystemExit(ran.stderr)
    ticks = {name: int(number) for name, number in re.findall(r"^(quiet|busy) (\d+)$", ran.stdout, re.MULTILINE)}
    (rate,) = re.findall(r"^rates +maps (\S+)/s", ran.stdout, re.MULTILINE)
    return ticks["quiet"] / QUIET_S, ticks["busy"] / BUSY_S, rate


def main() -> None:
    ways = {"textual": draw_with_textual, "rich": draw_with_rich}
    if len(sys.argv) == 3:
        ways[sys.argv[1]](int(sys.argv[2]))
        return
    this = [sys.executable, "-m", "tests.bench.bench_screen"]
    ours, rich = ms_a_frame([*this, "textual"]), ms_a_frame([*this, "rich"])
    top = ms_a_frame(["top", "-d", str(INTERVAL_S), "-n"])
    wall_s, cpu_s = first_frame_s()
    print(f"screen, {DEVICES} devices, {POOLS} pools, 160 by 50: {ours:.1f} ms CPU a frame ({ours / 10:.1f} % at 1 s)")
    print(f"rich's live display, {2 * ROWS} of the rows: {rich:.1f} ms; the screen takes {ours / rich:.2f} of that")
    print(f"top, on this machine: {top:.1f} ms; the screen takes {ours / top:.2f} of that")
    print(f"first frame of a recording after {wall_s:.2f} s; start to end {cpu_s:.2f} s of CPU")
    print(f"bcc imported for it: {'bcc' in modules_at_start()}")
    quiet, busy, rate = attached()
    print(f"attached: {quiet:.1f} % of a CPU of 10^9 instructions a second, {busy:.1f} % at {rate} maps/s")


if __name__ == "__main__":
    main()
