"""What the kernels of many trees answered, as data, and the reference that is asked the same.

vectors.jsonl.gz has a scenario a line: kernel, release, the features it shows, static or dynamic, and steps, each a
command and the kernel's own answer. The answers come from `kernel/dma/swiotlb.c` of each, compiled in userspace.
Commands are those of tests/oracle/driver.c, as far as they are used.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from swiotlb_top.allocator import Revision
from tests.oracle.reference import Reference

VECTORS = Path(__file__).parent / "vectors.jsonl.gz"


class Scenario(NamedTuple):
    """A kernel's answers to some commands."""

    kernel: str
    release: str
    """As `uname -r` says."""
    features: tuple[str, ...]
    """Words of `swiotlb_top.kernel.layout` that it shows."""
    dynamic: bool
    kind: str
    steps: tuple[tuple[str, str], ...]
    """Commands, and what the kernel answered."""

    @property
    def build(self) -> tuple[str, bool]:
        """Kernel and mode."""
        return self.kernel, self.dynamic


class Difference(NamedTuple):
    """Where the reference first answers something else than the kernel."""

    step: int
    command: str
    kernel: str
    reference: str


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All there are."""
    with gzip.open(VECTORS, "rt") as lines:
        return tuple(_scenario(line) for line in lines)


def _scenario(line: str) -> Scenario:
    known = json.loads(line)
    steps = tuple((command, answer) for command, answer in known["steps"])
    features = tuple(known["features"])
    return Scenario(known["kernel"], known["release"], features, known["mode"] == "dynamic", known["kind"], steps)


class Played(Reference):
    """The reference, which says of each run of the growth worker whether that run found no memory."""

    def work(self) -> str:
        self.allocator.growth_failures = 0
        return super().work()


def difference(played: Reference, scenario: Scenario) -> Difference | None:
    """Play a scenario: the first answer that is not the kernel's, None where all are."""
    for number, (command, answer) in enumerate(scenario.steps):
        own = played.perform(command)
        if own != answer:
            return Difference(number, command, answer, own)
    return None


def differs(scenario: Scenario, revision: Revision) -> Difference | None:
    """The same for a revision."""
    return difference(Played(revision, dynamic=scenario.dynamic), scenario)
