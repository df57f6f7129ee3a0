"""Four CPUs, two disks and a network card at once: every operation is judged, from the middle of the traffic too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from swiotlb_top.report import ReplayReport
from swiotlb_top.report import replay as judged
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import Replayed, Tried, guest_shell, replay, tried

PASSES = 5
"""Of busy.sh: over MAPS maps."""
MAPS = 300_000
MOST_INCONCLUSIVE = 0.001
ARRIVALS = 20
SWIOTLB = {"dynamic": "512,force", "debian": "4096,force"}
"""The static pool must hold at once what the card and both disks have in flight, or they wait for ever."""

BUSY = f"""
    export PYTHON=$python
    try record $tool record -o /results/busy.swtrace -- sh $workloads/busy.sh {PASSES}
"""
ARRIVING = f"""
    export PYTHON=$python
    setsid sh $workloads/busy.sh 1000 >/dev/null 2>&1 &
    try arrive $python $workloads/arrive.py /results {ARRIVALS}
"""


@dataclass(frozen=True)
class Arrived:
    ended: Tried
    reports: list[ReplayReport]


@pytest.fixture(scope="module", params=SWIOTLB)
def busy(request: pytest.FixtureRequest, lab: Lab) -> tuple[Tried, Replayed]:
    ran = lab.run(Machine(kernel=request.param, cpus=4, swiotlb=SWIOTLB[request.param]), guest_shell(BUSY))
    return tried(ran.files, "record"), replay(ran.files / "busy.swtrace")


@pytest.fixture(scope="module", params=SWIOTLB)
def arrived(request: pytest.FixtureRequest, lab: Lab) -> Arrived:
    machine = Machine(kernel=request.param, cpus=4, swiotlb="4096,force", in_turn=True)
    ran = lab.run(machine, guest_shell(ARRIVING))
    reports = [judged(trace) for trace in sorted(ran.files.glob("arrived-*.swtrace"))]
    return Arrived(tried(ran.files, "arrive"), reports)


def test_of_hundreds_of_thousands_of_overlapping_operations_each_agrees(busy: tuple[Tried, Replayed]) -> None:
    recorded, replayed = busy
    assert (recorded.status, recorded.err) == (0, "")
    report = replayed.report
    assert report["first_disagreement"] is None
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert report["maps"] >= MAPS
    assert report["inconclusive"] <= MOST_INCONCLUSIVE * replayed.operations


def test_where_a_probe_is_hit_inside_itself_the_call_is_recorded_all_the_same(busy: tuple[Tried, Replayed]) -> None:
    _, replayed = busy
    assert replayed.report["lost"] == 0
    assert replayed.report["compared"] + replayed.report["inconclusive"] == replayed.operations


def test_who_arrives_in_the_middle_of_the_traffic_sees_no_fault(arrived: Arrived) -> None:
    assert (arrived.ended.status, arrived.ended.err) == (0, "")
    assert [report.findings.first for report in arrived.reports] == [None] * ARRIVALS
    assert [report.findings.safety_violations for report in arrived.reports] == [0] * ARRIVALS


def test_and_verifies_what_goes_on(arrived: Arrived) -> None:
    agreed = sum(report.findings.agree for report in arrived.reports)
    doubtful = sum(report.findings.inconclusive for report in arrived.reports)
    assert all(report.findings.agree for report in arrived.reports)
    assert agreed > 20 * doubtful
