"""What probes add to one swiotlb map and unmap: run inside a lab machine that counts instructions.

Prints a JSON object a configuration: ``{"watched_by": …, "map": instructions, "unmap": instructions}``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from swiotlb_top.probes.read.program import Mode
from swiotlb_top.probes.session import Session
from tests.lab.workloads.dma_map_benchmark import benchmark, bind, nvme_function

RING_BYTES: Final = 64 << 20
"""Room for what one second maps, so that nothing has to read meanwhile."""
TRACING: Final = Path("/sys/kernel/tracing")
BPFTRACE: Final = """
kprobe:swiotlb_tbl_map_single { @map_entry[tid] = nsecs; }
kretprobe:swiotlb_tbl_map_single /@map_entry[tid]/ { @map_ns = hist(nsecs - @map_entry[tid]); delete(@map_entry[tid]); }
kprobe:__swiotlb_tbl_unmap_single { @unmap_entry[tid] = nsecs; }
kretprobe:__swiotlb_tbl_unmap_single /@unmap_entry[tid]/ {
    @unmap_ns = hist(nsecs - @unmap_entry[tid]); delete(@unmap_entry[tid]);
}
BEGIN { printf("attached\\n"); }
"""
FTRACE_EVENTS: Final = {
    "p:swiotlb_cost/map swiotlb_tbl_map_single": "map",
    "r:swiotlb_cost/mapped swiotlb_tbl_map_single $retval": "mapped",
    "p:swiotlb_cost/unmap __swiotlb_tbl_unmap_single": "unmap",
    "r:swiotlb_cost/unmapped __swiotlb_tbl_unmap_single": "unmapped",
}


@contextmanager
def nothing() -> Iterator[None]:
    """No probe at all."""
    yield


@contextmanager
def _ours(begin: Mode, then: Mode) -> Iterator[None]:
    with Session(mode=begin, ring_bytes=RING_BYTES) as session:
        session.set_mode(then)
        yield
        lost = session.program.faults().lost_events
        if lost:
            raise RuntimeError(f"{lost} records lost: a full ring is cheaper than a record, so this says nothing")


def counters() -> AbstractContextManager[None]:
    """swiotlb-top's counters, as its screen and exporter use them all the time."""
    return _ours(Mode.COUNT, Mode.COUNT)


def events() -> AbstractContextManager[None]:
    """swiotlb-top's counters and a record a call, as its screen and exporter use them in bursts."""
    return _ours(Mode.COUNT, Mode.RECORD)


def recorder() -> AbstractContextManager[None]:
    """The same with spare programs, by which no call is missed."""
    return _ours(Mode.RECORD, Mode.RECORD)


@contextmanager
def bpftrace_histogram() -> Iterator[None]:
    """The latency histogram people paste."""
    with subprocess.Popen(["bpftrace", "-e", BPFTRACE], stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        while "attached" not in tool.stdout.readline():
            if tool.poll() is not None:
                raise RuntimeError("bpftrace ended without attaching")
        try:
            yield
        finally:
            tool.send_signal(signal.SIGINT)
            tool.communicate(timeout=120)


@contextmanager
def ftrace_kprobe_events() -> Iterator[None]:
    """ftrace's kprobe and kretprobe events, as trace-cmd sets them up."""
    definitions = TRACING / "kprobe_events"
    definitions.write_text("\n".join(FTRACE_EVENTS))
    enable = TRACING / "events/swiotlb_cost/enable"
    enable.write_text("1")
    try:
        yield
    finally:
        enable.write_text("0")
        definitions.write_text("")


CONFIGURATIONS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "nothing": nothing,
    "our counters": counters,
    "our events": events,
    "our recorder": recorder,
    "bpftrace histogram": bpftrace_histogram,
    "ftrace kprobe events": ftrace_kprobe_events,
}


def main() -> None:
    bind(nvme_function())
    for name in sys.argv[1:] or CONFIGURATIONS:
        with CONFIGURATIONS[name]():
            time.sleep(0.1)
            means = benchmark(seconds=1)
        print(json.dumps({"watched_by": name, "map": means.map_ns, "unmap": means.unmap_ns}), flush=True)


if __name__ == "__main__":
    main()
