"""A device that does not reach swiotlb's memory: its maps find slots, give them back, and fail where it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import swiotlb_top
from swiotlb_top.events import Unmap
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Replayed, Tried, events, guest_shell, replay, tried

FAILURES = 7
REACHES_BITS = 28
"""256 MiB; the pool lies below 1 GiB."""
FAIL = f"$python $workloads/dma_map_benchmark.py --dma-bits {REACHES_BITS} --fail {FAILURES}"


@dataclass(frozen=True)
class Ran:
    recorded: Tried
    replayed: Replayed
    trace: Path

    @property
    def benchmarks(self) -> dict[str, Any]:
        """What is said of the device that fails."""
        (device,) = (one for one in self.replayed.report["devices"] if one["driver"] == "dma_map_benchmark")
        return dict(device)


@pytest.fixture(scope="module", params=["dynamic", "dynamic-7.3"])
def ran(request: pytest.FixtureRequest, lab: Lab) -> Ran:
    script = f"try record $tool record -o /results/reach.swtrace -- {FAIL}"
    done = lab.run(Machine(kernel=request.param), guest_shell(script))
    trace = done.files / "reach.swtrace"
    return Ran(tried(done.files, "record"), replay(trace), trace)


def test_each_is_a_failed_map_of_the_device_by_the_kernels_count_too(ran: Ran) -> None:
    """`replay` compares the events with what the probes counted."""
    assert (ran.recorded.status, ran.replayed.status) == (0, 0), ran.recorded.err
    assert ran.benchmarks["map_failures"] == FAILURES
    assert ran.benchmarks["map_failures_by_cause"] == {"unreachable": FAILURES}
    assert ran.replayed.report["miscounts"] == []


def test_no_other_unmap_is_taken_for_one(ran: Ran) -> None:
    assert sum(event.unreachable for event in events(ran.trace) if isinstance(event, Unmap)) == FAILURES


def test_why_names_the_reach_of_the_device(ran: Ran) -> None:
    sentences = {failure.sentence for failure in swiotlb_top.open(ran.trace).failures()}
    assert all(f"reaches addresses up to {(1 << REACHES_BITS) - 1:#x}" in (said or "") for said in sentences)
