"""A kernel without BTF: its types come from a file, and kprobes see what fentry does, or tell how much they missed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Replayed, Tried, guest_shell, replay, tried

REQUESTS = 211
SCRIPT = f"""
    cp /sys/kernel/btf/vmlinux /tmp/types
    mount -t tmpfs none /sys/kernel/btf
    try without $tool record -o /results/without.swtrace --duration 1
    export SWIOTLB_TOP_BTF=/tmp/types
    try record $tool record -o /results/types.swtrace -- sh $workloads/counted.sh {REQUESTS} vda
    try doctor $tool doctor
"""


@dataclass(frozen=True)
class Ran:
    without: Tried
    recorded: Tried
    doctor: Tried
    trace: Path
    replayed: Replayed


@pytest.fixture(scope="module", params=["debian", "debian-7.3"])
def ran(request: pytest.FixtureRequest, lab: Lab) -> Ran:
    files = lab.run(Machine(kernel=request.param, swiotlb="512,force"), guest_shell(SCRIPT)).files
    trace = files / "types.swtrace"
    without, recorded, doctor = (tried(files, name) for name in ("without", "record", "doctor"))
    return Ran(without, recorded, doctor, trace, replay(trace))


def test_without_the_file_it_is_refused(ran: Ran) -> None:
    assert (ran.without.status, ran.without.err.count("\n")) == (3, 1)
    assert "does not describe its types (BTF" in ran.without.err


def test_with_it_every_call_is_recorded_and_agrees_or_is_told_as_lost(ran: Ran) -> None:
    report = ran.replayed.report
    assert ran.recorded.status == 0, ran.recorded.err
    assert report["maps"] + report["lost"] >= REQUESTS
    assert report["agree"] > REQUESTS
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert ran.replayed.status == (Exit.INCONCLUSIVE if report["lost"] else Exit.OK)


def test_by_kprobes_alone(ran: Ran) -> None:
    hooks = [line for line in ran.doctor.out.splitlines() if line.startswith("hook")]
    assert hooks
    assert not any("fentry" in line for line in hooks)


def test_before_kprobes_count_what_they_miss_that_is_no_help(lab: Lab) -> None:
    files = lab.run(Machine(kernel="debian-6.1", swiotlb="512,force"), guest_shell(SCRIPT)).files
    recorded, doctor = tried(files, "record"), tried(files, "doctor")
    assert (recorded.status, recorded.err.count("\n")) == (Exit.CANNOT, 1)
    assert "counts the calls that kprobes miss (since 6.7)" in recorded.err
    assert not (files / "types.swtrace").exists()
    assert doctor.status == Exit.CANNOT
