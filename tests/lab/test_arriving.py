"""Arriving in the middle of the traffic, twenty times over: four CPUs, two disks and a network card go on meanwhile.

The file comes first by its name: it takes longest, and nothing else should wait for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from swiotlb_top.reports.replay import ReplayReport
from swiotlb_top.reports.replay import replay as judged
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Tried, guest_shell, tried

ARRIVALS = 20

ARRIVING = f"""
    mkdir /tmp/arrived
    try arrive $python $workloads/arrive.py /tmp/arrived {ARRIVALS} -- nice -n 19 sh $workloads/steady.sh
    cp /tmp/arrived/* /results
"""


@dataclass(frozen=True)
class Arrived:
    ended: Tried
    reports: list[ReplayReport]


@pytest.fixture(scope="module", params=["dynamic", "debian"])
def arrived(request: pytest.FixtureRequest, lab: Lab) -> Arrived:
    machine = Machine(kernel=request.param, cpus=4, swiotlb="2048,force", in_turn=True)
    ran = lab.run(machine, guest_shell(ARRIVING))
    reports = [judged(trace) for trace in sorted(ran.files.glob("arrived-*.swtrace"))]
    return Arrived(tried(ran.files, "arrive"), reports)


def test_who_arrives_in_the_middle_of_the_traffic_sees_no_fault(arrived: Arrived) -> None:
    assert (arrived.ended.status, arrived.ended.err) == (0, "")
    assert [report.findings.first for report in arrived.reports] == [None] * ARRIVALS
    assert [report.findings.safety_violations for report in arrived.reports] == [0] * ARRIVALS


def test_the_load_goes_on_while_he_does(arrived: Arrived) -> None:
    said = re.findall(r"^(\d+) events, \d+ lost, load (.*)$", arrived.ended.out, re.MULTILINE)
    assert [load for _, load in said] == ["goes on"] * ARRIVALS
    assert all(int(events) for events, _ in said)


def test_and_verifies_what_goes_on(arrived: Arrived) -> None:
    agreed = sum(report.findings.agree for report in arrived.reports)
    doubtful = sum(report.findings.inconclusive for report in arrived.reports)
    assert all(report.findings.agree for report in arrived.reports)
    assert agreed > 20 * doubtful
