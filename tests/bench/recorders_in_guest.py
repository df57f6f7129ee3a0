"""What recording each swiotlb map and unmap takes, by several recorders: run inside a lab machine.

Each watches the same two functions from entry to return while one disk is read in so many requests, each of which is
one map and one unmap. What they write is in /results. Prints a JSON object a recorder: what it and the readers used of
the CPU, in seconds, how many bytes it wrote, and how many events it says it lost.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.probe_cost_in_guest import FTRACE_EVENTS, TRACING

REQUESTS: Final = 20_000
RESULTS: Final = Path("/results")
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


def _printed(pattern: str) -> Callable[[str], int]:
    return lambda said: sum(map(int, re.findall(pattern, said)))


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
    said = RESULTS / "said"
    with said.open("w") as out:
        process = subprocess.Popen(recorder.command, stdout=out, stderr=out)
        until_s = time.monotonic() + _UP_S
        while not recorder.is_up():
            if process.poll() is not None or time.monotonic() > until_s:
                process.kill()
                raise RuntimeError(f"{name} does not record: {said.read_text()[-500:]}")
            time.sleep(0.2)
        time.sleep(5)
        before_s = _cpu_of(process.pid)
        readers_s = load()
        time.sleep(1)
        recording_s = _cpu_of(process.pid) - before_s
        process.send_signal(signal.SIGINT)
        _, status, _ = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "recorder": name,
        "recorder_s": recording_s,
        "readers_s": readers_s,
        "bytes": recorder.output.stat().st_size,
        "lost": recorder.lost(said.read_text()),
    }


def _cpu_of(pid: int) -> float:
    """CPU time of a process and its children that run: trace-cmd has one for each CPU."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    print(json.dumps({"recorder": "nobody", "recorder_s": 0.0, "readers_s": load(), "bytes": 0, "lost": 0}), flush=True)
    with ftrace_events():
        for name, recorder in recorders().items():
            if name != "trace-cmd record":
                (TRACING / "events/swiotlb_cost/enable").write_text("0")
            print(json.dumps(measured(name, recorder)), flush=True)


if __name__ == "__main__":
    main()
