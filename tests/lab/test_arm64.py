"""Debian's unmodified arm64 kernel: what is watched there is judged as on any other machine, and a stall is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.trace import TraceReader
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import NVME, VIRTIO_BLK, Replayed, guest_shell, replay, tried

READS = 400
"""Of the nvme disk, each of at least one map."""
SCRIPT = f"""
    $python $workloads/one_process.py /results doctor swiotlb_top doctor , \
        record swiotlb_top record -o /results/calm.swtrace -- \
            dd if=/dev/nvme0n1 of=/dev/null bs=16k count={READS} iflag=direct
    dd if=/dev/vda of=/dev/null bs=1M count=1 iflag=direct &
    $python $workloads/one_process.py /results stalled swiotlb_top record -o /results/stall.swtrace --duration 3 , \
        check swiotlb_top check --seconds 3 --json
"""
"""A megabyte at once is more than the disk ever gets of 512 slots."""


@dataclass(frozen=True)
class Ran:
    files: Path
    calm: Replayed
    stalled: Replayed


@pytest.fixture(scope="module")
def ran(lab: Lab) -> Ran:
    # Two CPUs: who retries a failed map without a pause takes one, and the recorder would starve beside it.
    files = lab.run(Machine(kernel="arm64", cpus=2, swiotlb="512,force"), guest_shell(SCRIPT)).files
    return Ran(files, replay(files / "calm.swtrace"), replay(files / "stall.swtrace"))


def test_the_doctor_is_content(ran: Ran) -> None:
    doctor = tried(ran.files, "doctor")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    assert doctor.out.startswith("swiotlb can be watched live here\n")


def test_every_operation_agrees(ran: Ran) -> None:
    assert (tried(ran.files, "record").status, tried(ran.files, "stalled").status) == (Exit.OK, Exit.OK)
    for replayed in (ran.calm, ran.stalled):
        report = replayed.report
        assert (report["disagree"], report["inconclusive"], report["safety_violations"]) == (0, 0, 0)
        assert (report["lost"], report["miscounts"], report["verdict"]) == (0, [], "agree")
        assert report["compared"] == replayed.operations
    assert TraceReader(ran.files / "calm.swtrace").header.kernel.machine == "aarch64"
    assert ran.calm.report["maps"] >= READS
    assert NVME in json.dumps(ran.calm.report["devices"])


def test_a_disk_that_stalls_is_named_with_the_cause(ran: Ran) -> None:
    assert ran.stalled.report["map_failures"] > 0
    told: dict[str, Any] = json.loads(tried(ran.files, "check").out)
    assert told["answer"] == "trouble"
    assert VIRTIO_BLK in json.dumps(told["findings"])
