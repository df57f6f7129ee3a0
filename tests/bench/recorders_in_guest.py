"""What recording each swiotlb map and unmap takes, by several recorders: run inside a lab machine.

Each watches the same two functions from entry to return while one disk is read in so many requests, each of which is
one map and one unmap. What they write is in /results: of a flight recorder, what it holds when it is over. Prints a
JSON object a recorder: what it and the readers used of the CPU, in seconds, how much memory it had, how many bytes it
wrote, and how many events it says it lost. The exporter by itself counts calls, and records none but in bursts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.probe_cost_in_guest import FTRACE_EVENTS, TRACING
from tests.lab.workloads.scrape import asked, total

REQUESTS: Final = 20_000
RESULTS: Final = Path("/results")
SAID: Final = RESULTS / "said"
METRICS: Final = "http://127.0.0.1:9788/metrics"
_UP_S: Final = 120.0
BPFTRACE: Final = """
kprobe:swiotlb_tbl_map_single { @map[tid] = nsecs; @dev[tid] = arg0; @orig[tid] = arg1; @size[tid] = arg2; }
kretprobe:swiotlb_tbl_map_single /@map[tid]/ {
    printf("%lu map %lx %lx %lu %lx %lu\\n", nsecs, @dev[tid], @orig[tid], @size[tid], retval, nsecs - @map[tid]);
    delete(@map[tid]); delete(@dev[tid]); delete(@orig[tid]); delete(@size[tid]);
}
kprobe:__swiotlb_tbl_unmap_single {
    @unmap[tid] = nsecs; @udev[tid] = arg0; @utlb[tid] = arg1; @usize[tid] = arg2;
}
kretprobe:__swiotlb_tbl_unmap_single /@unmap[tid]/ {
    printf("%lu unmap %lx %lx %lu %lu\\n", nsecs, @udev[tid], @utlb[tid], @usize[tid], nsecs - @unmap[tid]);
    delete(@unmap[tid]); delete(@udev[tid]); delete(@utlb[tid]); delete(@usize[tid]);
}
BEGIN { printf("attached\\n"); }
"""
"""Prints what swiotlb-top records of a call, but for the pool and the state."""


@dataclass(frozen=True)
class Recorder:
    """One recorder."""

    command: tuple[str, ...]
    output: Path
    """What it writes; of trace-cmd what it leaves."""
    is_up: Callable[[], bool]
    """Whether it records."""
    lost: Callable[[str], int]
    """How many events it says that it lost, of what it prints."""
    write: Callable[[], None] = lambda: None
    """Has it write what it holds."""


def _printed(pattern: str) -> Callable[[str], int]:
    return lambda said: sum(map(int, re.findall(pattern, said)))


def flight_recorder(name: str, *words: str, is_up: Callable[[], bool]) -> Recorder:
    """A recorder that holds in memory what it records, until it is asked for."""
    directory, output = Path(f"/run/swiotlb-{name}"), RESULTS / f"{name}.swtrace"
    tool = (sys.executable, "-m", "swiotlb_top")

    def write() -> None:
        command = [*tool, "snapshot", "-o", str(directory)]
        held = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        shutil.copyfile(held, output)

    return Recorder((*tool, *words, "--flight", "60s", "-o", str(directory)), output, is_up, lambda _: 0, write)


def _says(metric: str) -> bool:
    """Whether the exporter answers, and this metric is not 0."""
    try:
        return total(asked(METRICS), metric) > 0
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def recorders() -> dict[str, Recorder]:
    """By name."""
    ours, theirs, printed = RESULTS / "ours.swtrace", RESULTS / "theirs.dat", RESULTS / "printed.txt"
    on = TRACING / "events/swiotlb_cost/enable"
    return {
        "swiotlb-top record": Recorder(
            (sys.executable, "-m", "swiotlb_top", "record", "-o", str(ours)),
            ours,
            lambda: (partial := ours.with_name(f"{ours.name}.partial")).exists() and partial.stat().st_size > 500,
            _printed(r"lost (\d+)"),
        ),
        "record --flight": flight_recorder(
            "record-flight", "record", is_up=lambda: "are held in memory" in SAID.read_text()
        ),
        "export --flight": flight_recorder(
            "export-flight", "export", "--source", "live", is_up=lambda: _says("swiotlb_flight_recording")
        ),
        "export": Recorder(
            (sys.executable, "-m", "swiotlb_top", "export", "--source", "live"),
            Path(os.devnull),
            lambda: _says("swiotlb_up"),
            lambda _: 0,
        ),
        "trace-cmd record": Recorder(
            ("trace-cmd", "record", "-e", "swiotlb_cost", "-o", str(theirs)),
            theirs,
            lambda: on.read_text().startswith("1") and (TRACING / "tracing_on").read_text().startswith("1"),
            _printed(r"(?:overrun|dropped events): (\d+)"),
        ),
        "bpftrace printf": Recorder(
            ("bpftrace", "-B", "full", "-o", str(printed), "-e", BPFTRACE),
            printed,
            lambda: _probes_on() >= 4,
            _printed(r"Lost (\d+) events"),
        ),
    }


@contextmanager
def ftrace_events() -> Iterator[None]:
    """The kprobe events that trace-cmd records."""
    definitions = TRACING / "kprobe_events"
    definitions.write_text("\n".join(FTRACE_EVENTS))
    try:
        yield
    finally:
        (TRACING / "events/swiotlb_cost/enable").write_text("0")
        definitions.write_text("")


def _probes_on() -> int:
    """How many kprobes there are on the two functions; those of trace-cmd are off meanwhile."""
    lines = Path("/sys/kernel/debug/kprobes/list").read_text().splitlines()
    return sum("swiotlb_tbl" in line and "DISABLED" not in line for line in lines)


def cpu_s(usage: object) -> float:
    """User and system time."""
    return float(usage.ru_utime + usage.ru_stime)  # type: ignore[attr-defined]


def load() -> float:
    """Read, and give the CPU time that took."""
    process = subprocess.Popen(["tests/lab/workloads/counted.sh", str(REQUESTS), "nvme0n1"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"counted.sh ended with {process.returncode}")
    return cpu_s(usage)


def measured(name: str, recorder: Recorder) -> dict[str, object]:
    """Record the load."""
    with SAID.open("w") as out:
        process = subprocess.Popen(recorder.command, stdout=out, stderr=out)
        until_s = time.monotonic() + _UP_S
        while not recorder.is_up():
            if process.poll() is not None or time.monotonic() > until_s:
                process.kill()
                raise RuntimeError(f"{name} does not record: {SAID.read_text()[-500:]}")
            time.sleep(0.2)
        time.sleep(5)
        before_s, _ = _used_by(process.pid)
        readers_s = load()
        time.sleep(1)
        after_s, resident_bytes = _used_by(process.pid)
        recorder.write()
        process.send_signal(signal.SIGINT)
        _, status, _ = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "recorder": name,
        "recorder_s": after_s - before_s,
        "readers_s": readers_s,
        "resident_bytes": resident_bytes,
        "bytes": recorder.output.stat().st_size,
        "lost": recorder.lost(SAID.read_text()),
    }


def _used_by(pid: int) -> tuple[float, int]:
    """CPU time and resident bytes of a process and its children that run: trace-cmd has one for each CPU."""
    ticks = pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    print(json.dumps({"recorder": "nobody", "readers_s": load()}), flush=True)
    with ftrace_events():
        for name, recorder in recorders().items():
            if name != "trace-cmd record":
                (TRACING / "events/swiotlb_cost/enable").write_text("0")
            print(json.dumps(measured(name, recorder)), flush=True)


if __name__ == "__main__":
    main()
