"""One CPU of a machine that stands still while the others go on: on a busy host, every virtual CPU does now and then.

Chance would rarely have it in the middle of a call of swiotlb's. So the machine is stopped until one of its CPUs is
there; then all go on but that one, whose thread is held for a while.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.harness.monitor import Monitor

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_DETACH = 17
ALL_THREADS = 0x40000000
"""__WALL: wait for a thread that is no process."""
BETWEEN_LOOKS_S = 0.01

SYMBOLS = "symbols"
"""File among the results. Once the guest has written it, its CPUs are held."""
KEEP_SYMBOLS = f"grep -i ' t ' /proc/kallsyms >/results/.{SYMBOLS}; mv /results/.{SYMBOLS} /results/{SYMBOLS}"
"""For a guest's shell."""


@dataclass
class Holding:
    """For `Lab.run`: holds a CPU that is in a function of swiotlb's, again and again."""

    for_s: float
    pause_s: float
    """At least so long nobody is held between two."""
    held: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often, by function and CPU."""

    def __call__(self, monitor: Monitor, results: Path, over: threading.Event) -> None:
        while not (results / SYMBOLS).exists():
            if over.wait(BETWEEN_LOOKS_S):
                return
        functions = Functions((results / SYMBOLS).read_text())
        threads = monitor.threads()
        while not over.wait(BETWEEN_LOOKS_S):
            monitor.execute("stop")
            names = [functions.at(address) for address in monitor.instruction_pointers()]
            inside = next((cpu for cpu, name in enumerate(names) if "swiotlb" in name), None)
            if inside is None:
                monitor.execute("cont")
                continue
            with stopped(threads[inside]):
                monitor.execute("cont")
                self.held[names[inside], inside] += 1
                over.wait(self.for_s)
            over.wait(self.pause_s)


class Functions:
    """Which function of the kernel an address is in, by the lines of /proc/kallsyms."""

    def __init__(self, symbols: str) -> None:
        found = sorted(re.findall(r"^([0-9a-f]{16}) [tT] (\S+)$", symbols, re.MULTILINE))
        self._starts = [int(address, 16) for address, _ in found]
        self._names = [name for _, name in found]

    def at(self, address: int) -> str:
        """Its name; empty below the first. Behind the end of a function the next one begins."""
        place = bisect_right(self._starts, address)
        return self._names[place - 1] if place else ""


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """`thread`, of a child of this process, does nothing; the other threads of its process do not notice."""
    _ptrace(PTRACE_SEIZE, thread)
    signal = 0
    try:
        _ptrace(PTRACE_INTERRUPT, thread)
        _, status = os.waitpid(thread, ALL_THREADS)
        if not status >> 16:  # not what was asked for, but a signal that was on its way to it
            signal = os.WSTOPSIG(status)
        yield
    finally:
        _ptrace(PTRACE_DETACH, thread, signal)


def _ptrace(request: int, thread: int, data: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_long(request), ctypes.c_long(thread), ctypes.c_void_p(0), ctypes.c_void_p(data))
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(*arguments) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace of thread {thread}: {os.strerror(error)}")
