"""endings.py DIRECTORY: end the tool in every way it can end, and say after each what the kernel still has of it.

Prints a JSON object a round. In each, several of the tool's commands are attached at once and then ended in one way:
the exit statuses (negative: by that signal), and what of BPF and ftrace there was more than before the round, while
they were attached and after they were gone. Recordings and frames stay in DIRECTORY.

The commands are forked off a process that has imported the tool and knows the kernel, which is most of what an emulated
start takes; each ends as the process it is, by its own signal handlers and the interpreter's own end.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

from swiotlb_top.kernel import layout
from tests.lab.workloads.one_process import run as run_module

TOOL: Final = "swiotlb_top"
SHARED: Final = ("swiotlb_top.cli", "swiotlb_top.recorder", "swiotlb_top.sources.live", "swiotlb_top.tui.json_frames")
"""What the commands import; had once."""
RECORD_WITH: Final = "tests.lab.workloads.record_with"
COUNTED: Final = ("sh", "tests/lab/workloads/counted.sh")
TRACING: Final = Path("/sys/kernel/tracing")
KPROBES: Final = Path("/sys/kernel/debug/kprobes/list")
TRACED: Final = ("swiotlb", "bpf_fentry_test1")
"""In the name of every function that the tool has probes or a program for."""
GO: Final = "go"
POLL_S: Final = 0.1
PATIENCE_S: Final = 300.0
"""Emulated, on a busy host, three commands that compile and attach at once take their time."""
DETACH_S: Final = 60.0
"""The kernel frees programs some time after their last reference is gone."""


@dataclass(frozen=True)
class Command:
    """One of a round: a module and its arguments, and the file that is not empty any more as soon as it is attached."""

    name: str
    module: str
    arguments: tuple[str, ...]
    output: Path
    stdout: Path = Path(os.devnull)


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
        traced=frozenset(line for line in traced if any(name in line for name in TRACED)),
    )


def identifiers(next_id: Callable[..., int]) -> frozenset[int]:
    """Walk one of libbpf's `bpf_*_get_next_id()` to its end."""
    found: set[int] = set()
    number = ctypes.c_uint32(0)
    while next_id(number, ctypes.byref(number)) == 0:
        found.add(number.value)
    return frozenset(found)


def commands(directory: Path, ending: signal.Signals | None) -> list[Command]:
    """A recorder that ends with its command; or both commands that run until told to stop.

    Where nothing can tidy up, a recorder with kprobes too: they are other objects to the kernel.
    """
    word = ending.name if ending else "end"
    trace, frames, kprobe = (directory / f"{name}-{word}" for name in ("record", "screen", "kprobe"))
    recorder = ("record", "-o", str(trace))
    if ending is None:
        until_let_go = ("--", "sh", "-c", f"until [ -e {directory / GO} ]; do sleep 0.2; done")
        return [Command("record", TOOL, (*recorder, *until_let_go), unfinished(trace))]
    screen = ("--source", "live", "--json", "-d", "0.5")
    listed = [
        Command("record", TOOL, recorder, unfinished(trace)),
        Command("screen", TOOL, screen, frames, stdout=frames),
    ]
    if ending is signal.SIGKILL:
        arguments = (str(kprobe), "--prefer", "kprobe", "--", "sleep", "1000")
        listed.append(Command("kprobe", RECORD_WITH, arguments, unfinished(kprobe)))
    return listed


def unfinished(path: Path) -> Path:
    """A recording's name until it is whole."""
    return path.with_name(f"{path.name}.partial")


def size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def start(command: Command) -> int:
    """Its process id. In that process this returns never: it ends as `python -m` does."""
    process = os.fork()
    if process == 0:
        with command.stdout.open("wb") as stdout:
            os.dup2(stdout.fileno(), 1)
        sys.exit(run_module(command.module, command.arguments))
    return process


def ended(process: int) -> int:
    """Wait for its status; negative: by that signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def attached(command: Command, process: int) -> bool:
    """Whether it is; SystemExit if it ended instead."""
    if end := os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        raise SystemExit(f"{command.name} ended with status {end.si_status} before it was attached")
    return size_bytes(command.output) > 0


def wait_for(happens: Callable[[], bool], patience_s: float) -> bool:
    give_up_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_s:
        if happens():
            return True
        time.sleep(POLL_S)
    return happens()


def run(directory: Path, ending: signal.Signals | None, libbpf: ctypes.CDLL) -> dict[str, object]:
    """One round."""
    before = belongings(libbpf)
    listed = commands(directory, ending)
    processes = [start(one) for one in listed]
    seen = {
        one.name: wait_for(partial(attached, one, process), PATIENCE_S)
        for one, process in zip(listed, processes, strict=True)
    }
    during = belongings(libbpf).more_than(before)
    at_first_bytes = size_bytes(listed[0].output)
    subprocess.run(COUNTED, stdout=subprocess.DEVNULL, check=True)
    if ending:
        # What a recorder that is killed has written by then is what it leaves.
        seen["written"] = wait_for(lambda: size_bytes(listed[0].output) > at_first_bytes, PATIENCE_S)
        for process in processes:
            os.kill(process, ending)
    else:
        (directory / GO).touch()
    statuses = {one.name: ended(process) for one, process in zip(listed, processes, strict=True)}
    wait_for(lambda: not any(belongings(libbpf).more_than(before).values()), DETACH_S)
    after = belongings(libbpf).more_than(before)
    word = ending.name if ending else "end"
    return {"ending": word, "attached": seen, "statuses": statuses, "during": during, "after": after}


def main() -> None:
    for module in SHARED:
        import_module(module)
    layout.load()
    libbpf = ctypes.CDLL("libbpf.so.1")
    for ending in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        print(json.dumps(run(Path(sys.argv[1]), ending, libbpf)), flush=True)


if __name__ == "__main__":
    main()
