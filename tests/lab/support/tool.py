"""`swiotlb-top` as the lab runs it: words for a guest's shell, and what the host makes of a recording."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from swiotlb_top.events import Event
from swiotlb_top.records import RECORD
from swiotlb_top.trace import Records, TraceReader
from tests.lab.harness.vm import CHECKOUT, Result

PYTHON: Final = sys.executable
"""Seen in the guest at the same place: its root is the host's."""
WORKLOADS: Final = "tests/lab/workloads"
NVME: Final = "0000:00:05.0"
"""The PCI function of the nvme disk in every machine of the lab; vda's is the one before it."""
VIRTIO_BLK: Final = "0000:00:04.0"
DEADLINE_S: Final = 600.0

# Not a function: `$tool ... &` must leave the tool's own process id in $!.
_WORDS: Final = f"""
tool='{PYTHON} -m swiotlb_top'
python='{PYTHON}'
workloads={WORKLOADS}
debugfs() {{ (cd /sys/kernel/debug/swiotlb && grep -H . io_tlb_*) }}
try() {{ name=$1; shift; "$@" >/results/$name.out 2>/results/$name.err; echo $? >/results/$name.status; }}
"""


def guest_shell(script: str) -> list[str]:
    """A command for `Lab.run`: a script with some words of its own.

    $tool, $python and $workloads; `debugfs` prints swiotlb's counters; `try NAME COMMAND...` keeps for :func:`tried`
    how a command ended.
    """
    return ["sh", "-c", _WORDS + script]


def ran_well(ran: Result) -> Result:
    """The result of a run, if its command exited with 0 and printed nothing on stderr; AssertionError otherwise."""
    assert (ran.status, ran.stderr) == (0, ""), f"status {ran.status}: {ran.stderr}"
    return ran


def debugfs_counters(printed: str) -> dict[str, int]:
    """What `debugfs` printed in the guest, by file name."""
    return {name: int(value) for name, value in re.findall(r"^(io_tlb_\w+):(\d+)$", printed, re.MULTILINE)}


class Tried(NamedTuple):
    """How a command in the guest ended."""

    status: int
    out: str
    err: str


def tried(files: Path, name: str) -> Tried:
    """What `try NAME` kept. FileNotFoundError if the guest never came to it."""
    status, out, err = ((files / f"{name}.{part}").read_text() for part in ("status", "out", "err"))
    return Tried(int(status), out, err)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How `swiotlb-top replay` on the host ended."""

    status: int
    report: dict[str, Any]
    """Of --json."""

    @property
    def operations(self) -> int:
        """All that the reference should have been asked about."""
        return int(self.report["maps"]) + int(self.report["map_failures"]) + int(self.report["unmaps"])


def replay(path: Path) -> Replayed:
    """Run `swiotlb-top replay --json`. AssertionError if it ends without a report."""
    return Replayed(*_told("replay", path))


def size(path: Path) -> tuple[int, dict[str, Any]]:
    """Run `swiotlb-top size --json`: its status and what it says. AssertionError if it ends without an answer."""
    return _told("size", path)


def replay_as_text(path: Path) -> tuple[int, str]:
    """Run `swiotlb-top replay`: its status and its page."""
    done = _run("replay", path)
    return done.returncode, done.stdout


def events(path: Path) -> list[Event]:
    """Every event of a recording, in order."""
    return [event for item in TraceReader(path) if isinstance(item, Records) for event in item.events()]


def records(path: Path) -> int:
    """How many records a recording holds."""
    return sum(len(item.data) for item in TraceReader(path) if isinstance(item, Records)) // RECORD.size


def _told(command: str, path: Path) -> tuple[int, dict[str, Any]]:
    done = _run(command, path, "--json")
    assert done.stdout, f"status {done.returncode}: {done.stderr}"
    return done.returncode, json.loads(done.stdout)


def _run(command: str, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-m", "swiotlb_top", command, str(path), *options],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'exporters'}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
