"""endings.py DIRECTORY: end the tool in every way it can end, and say after each what the kernel still has of it.

Prints a JSON object a case: its name, the exit status (negative: by that signal), and what of BPF and ftrace was
there more than at the start, while the tool was attached and after it was gone. Recordings stay in DIRECTORY.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOOL: Final = (sys.executable, "-m", "swiotlb_top")
RECORD_WITH: Final = (sys.executable, "tests/lab/workloads/record_with.py")
COUNTED: Final = ("sh", "tests/lab/workloads/counted.sh")
TRACING: Final = Path("/sys/kernel/tracing")
KPROBES: Final = Path("/sys/kernel/debug/kprobes/list")
POLL_S: Final = 0.1
ATTACH_S: Final = 60.0
DETACH_S: Final = 15.0
"""The kernel frees programs some time after their last reference is gone."""


@dataclass(frozen=True)
class Case:
    """A command, how to see that it is attached and busy, and the signal that ends it (None: it ends itself)."""

    name: str
    command: tuple[str, ...]
    is_busy: Callable[[], bool]
    ending: signal.Signals | None


@dataclass(frozen=True)
class Belongings:
    """What there is of BPF and ftrace in the kernel."""

    programs: frozenset[int]
    links: frozenset[int]
    maps: frozenset[int]
    traced: frozenset[str]
    """Functions with a trampoline or an ftrace handler, and kprobes."""

    def more_than(self, before: Belongings) -> dict[str, int]:
        return {
            name: len(getattr(self, name) - getattr(before, name)) for name in ("programs", "links", "maps", "traced")
        }


def belongings(libbpf: ctypes.CDLL) -> Belongings:
    traced = (TRACING / "enabled_functions").read_text().splitlines() + KPROBES.read_text().splitlines()
    return Belongings(
        programs=identifiers(libbpf.bpf_prog_get_next_id),
        links=identifiers(libbpf.bpf_link_get_next_id),
        maps=identifiers(libbpf.bpf_map_get_next_id),
        traced=frozenset(line for line in traced if "swiotlb" in line),
    )


def identifiers(next_id: Callable[..., int]) -> frozenset[int]:
    """Walk one of libbpf's `bpf_*_get_next_id()` to its end."""
    found: set[int] = set()
    number = ctypes.c_uint32(0)
    while next_id(number, ctypes.byref(number)) == 0:
        found.add(number.value)
    return frozenset(found)


def cases(directory: Path) -> list[Case]:
    """Both commands, ended by themselves and by the three signals; kprobes, which are other objects, killed."""
    endings: tuple[signal.Signals | None, ...] = (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    listed: list[Case] = []
    for ending in endings:
        word = ending.name if ending else "end"
        trace = directory / f"record-{word}.swtrace"
        command = (*TOOL, "record", "-o", str(trace), *(() if ending else ("--", *COUNTED)))
        listed.append(Case(f"record {word}", command, partial(trace), ending))
        frames = directory / f"screen-{word}.json"
        count = () if ending else ("-n", "3")
        script = f'exec "$@" >{frames}'
        command = ("sh", "-c", script, "sh", *TOOL, "--source", "live", "--json", "-d", "0.3", *count)
        listed.append(Case(f"screen {word}", command, partial(frames, suffix=""), ending))
    trace = directory / "kprobe-SIGKILL.swtrace"
    command = (*RECORD_WITH, str(trace), "--prefer", "kprobe", "--", "sleep", "1000")
    return [*listed, Case("kprobe SIGKILL", command, partial(trace), signal.SIGKILL)]


def partial(path: Path, suffix: str = ".partial") -> Callable[[], bool]:
    """Whether something stands in a file that is being written."""
    growing = path.with_name(path.name + suffix)
    return lambda: growing.exists() and growing.stat().st_size > 0


def wait_for(happens: Callable[[], bool], patience_s: float) -> bool:
    give_up_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_s:
        if happens():
            return True
        time.sleep(POLL_S)
    return happens()


def run(case: Case, libbpf: ctypes.CDLL) -> dict[str, object]:
    before = belongings(libbpf)
    with subprocess.Popen(case.command, stdout=subprocess.DEVNULL, stderr=sys.stderr) as process:
        busy = wait_for(case.is_busy, ATTACH_S)
        during = belongings(libbpf).more_than(before)
        if case.ending:
            subprocess.run(COUNTED, stdout=subprocess.DEVNULL, check=True)
            time.sleep(1)  # a recorder writes what it took twenty times a second
            process.send_signal(case.ending)
        status = process.wait(ATTACH_S)
    wait_for(lambda: not any(belongings(libbpf).more_than(before).values()), DETACH_S)
    after = belongings(libbpf).more_than(before)
    return {"case": case.name, "busy": busy, "status": status, "during": during, "after": after}


def main() -> None:
    libbpf = ctypes.CDLL("libbpf.so.1")
    for case in cases(Path(sys.argv[1])):
        print(json.dumps(run(case, libbpf)), flush=True)


if __name__ == "__main__":
    main()
