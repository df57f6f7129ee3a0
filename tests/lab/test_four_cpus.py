"""Four CPUs, two disks and a network card at once: every operation is judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.ftrace import WORDS, maps_by_cpu
from tests.lab.support.tool import Replayed, Tried, guest_shell, replay, tried

PASSES = 26
"""Of busy.sh: over MAPS maps."""
MAPS = 300_000
MOST_INCONCLUSIVE = 0.001
SWIOTLB = {"dynamic": "512,force", "debian": "8192,force"}
"""The static pool must hold at once what the card and both disks have in flight, or they wait for ever."""

TWO_PASSES = 20_000
"""Maps, at least."""
FRAMES = 10
"""Of the live screen, as JSON, while the load goes on for as long as they take."""
RING_BYTES = 64 << 20
"""Room for all of them. The recorder goes before the load, but not before what else the host does: a CPU of an emulated
machine may stand still for seconds while the three others fill a ring of the usual size."""

BUSY = f"""
    try record $python $workloads/record_with.py /results/busy.swtrace --ring-bytes {RING_BYTES} -- \
        nice -n 19 sh $workloads/busy.sh {PASSES}
    counted two-passes sh $workloads/busy.sh 2
    while [ ! -e /tmp/shown ]; do sh $workloads/busy.sh 1; done &
    try shown $tool -n {FRAMES} --json
    touch /tmp/shown
    wait
"""


@dataclass(frozen=True)
class Busy:
    recorded: Tried
    replayed: Replayed
    maps_by_cpu: list[int]
    """Of two passes, as ftrace counts them."""
    frames: list[dict[str, Any]]
    """What ``swiotlb-top --json`` showed under load."""


@pytest.fixture(scope="module", params=SWIOTLB)
def busy(request: pytest.FixtureRequest, lab: Lab) -> Busy:
    machine = Machine(kernel=request.param, cpus=4, swiotlb=SWIOTLB[request.param])
    files = lab.run(machine, guest_shell(WORDS + BUSY)).files
    frames = [json.loads(line) for line in tried(files, "shown").out.splitlines()]
    return Busy(tried(files, "record"), replay(files / "busy.swtrace"), maps_by_cpu(files, "two-passes"), frames)


def test_of_hundreds_of_thousands_of_overlapping_operations_each_agrees(busy: Busy) -> None:
    assert (busy.recorded.status, busy.recorded.err) == (0, "")
    report = busy.replayed.report
    assert report["first_disagreement"] is None
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert report["maps"] >= MAPS
    assert report["inconclusive"] <= MOST_INCONCLUSIVE * busy.replayed.operations


def test_where_a_probe_is_hit_inside_itself_the_call_is_recorded_all_the_same(busy: Busy) -> None:
    report = busy.replayed.report
    assert report["lost"] == 0
    assert report["compared"] + report["inconclusive"] == busy.replayed.operations


def test_the_load_keeps_all_four_cpus_busy_as_ftrace_tells(busy: Busy) -> None:
    assert sum(busy.maps_by_cpu) > TWO_PASSES
    assert len(busy.maps_by_cpu) == 4
    assert min(busy.maps_by_cpu) >= 1_000


def test_every_frame_is_of_one_moment_its_totals_are_those_of_its_pools(busy: Busy) -> None:
    assert len(busy.frames) == FRAMES
    for frame in busy.frames:
        pools = frame["pools"]
        assert frame["used_slots"] == sum(pool["used_slots"] for pool in pools) + (frame["transient_slots"] or 0)
        assert frame["nslabs"] == sum(pool["nslabs"] for pool in pools)
        assert sum(frame["verdict"][word] for word in ("disagree", "safety_violations")) == 0
    assert busy.frames[-1]["maps"] > busy.frames[0]["maps"]
    assert any(frame["used_slots"] for frame in busy.frames)


def test_a_frame_says_of_when_the_verdict_is(busy: Busy) -> None:
    assert all(0 < frame["sampled_ns"] <= frame["time_ns"] for frame in busy.frames)
