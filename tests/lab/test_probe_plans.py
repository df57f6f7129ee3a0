"""Each way of probing, on each kernel: the doctor tells it beforehand, and what it records agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.events import ENTRY_UNKNOWN, Device, Find, Map, Unmap
from swiotlb_top.state import DeviceName
from swiotlb_top.trace import TraceReader
from tests.lab.kernels import KERNELS
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import NVME, VIRTIO_BLK, events, guest_shell, replay, tried

NVME_REQUESTS = 1009
VDA_REQUESTS = 211
MAPS = NVME_REQUESTS + 4 * VDA_REQUESTS
KNOWN_ENTRIES_PERCENT = 99

SCRIPT = f"""
    try doctor $tool doctor
    try doctor_json $tool doctor --json
    try record $python $workloads/record_with.py /results/kprobe.swtrace --prefer kprobe -- sh -c '
        sh tests/lab/workloads/counted.sh {NVME_REQUESTS} nvme0n1
        sh tests/lab/workloads/counted.sh {VDA_REQUESTS} vda'
"""

SEEN_BY = {"dynamic": "swiotlb_find_slots", "debian": "swiotlb_tbl_map_single"}
"""Where each kernel lets one see mappings being made; Debian's compiler inlined the other."""


class Probed(NamedTuple):
    kernel: str
    files: Path


@pytest.fixture(scope="module", params=list(KERNELS))
def probed(request: pytest.FixtureRequest, lab: Lab) -> Probed:
    kernel = str(request.param)
    ran = lab.run(Machine(kernel=kernel, swiotlb="512,force"), guest_shell(SCRIPT))
    assert (ran.status, ran.stderr) == (0, "")
    return Probed(kernel, ran.files)


def test_the_doctor_is_content_and_names_every_hooks_place(probed: Probed) -> None:
    doctor = tried(probed.files, "doctor")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    lines = doctor.out.splitlines()
    assert lines[-1] == "swiotlb can be watched live here"
    hooks = dict(line.split(maxsplit=2)[1:] for line in lines if line.startswith("hook "))
    assert f"fentry+fexit {SEEN_BY[probed.kernel]}" in hooks.values()
    assert hooks["unmap"] == "fentry+fexit __swiotlb_tbl_unmap_single"
    assert ("grow" in hooks) == (probed.kernel == "dynamic")
    assert "MISSING" not in doctor.out


def test_the_doctors_json_says_the_same(probed: Probed) -> None:
    doctor = tried(probed.files, "doctor_json")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    report = json.loads(doctor.out)
    assert report["ok"] is True
    assert all(check["ok"] for check in report["checks"].values())
    text = tried(probed.files, "doctor").out
    for name, place in report["hooks"].items():
        assert re.search(rf"^hook +{name} +{re.escape(place)}$", text, re.MULTILINE), text


def test_kprobes_may_miss_a_call_but_say_so_and_are_never_wrong(probed: Probed) -> None:
    """The kernel runs no BPF program on a kprobe that hits, in an interrupt, while another one runs on that CPU
    (trace_call_bpf()): what it skipped there is counted, and what is lost is never a disagreement."""
    recorded = tried(probed.files, "record")
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    replayed = replay(probed.files / "kprobe.swtrace")
    report = replayed.report
    for counted in ("maps", "unmaps"):
        assert MAPS - report["lost"] <= report[counted] <= MAPS
    assert report["lost"] <= MAPS // 10
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    due = ("inconclusive", Exit.INCONCLUSIVE) if report["lost"] else ("agree", Exit.OK)
    assert (report["verdict"], replayed.status) == due


def test_a_recording_says_how_it_was_probed(probed: Probed) -> None:
    hooks = dict(TraceReader(probed.files / "kprobe.swtrace").header.kernel.hooks)
    assert hooks["unmap"] == "kprobe+kretprobe __swiotlb_tbl_unmap_single"
    assert f"kprobe+kretprobe {SEEN_BY[probed.kernel]}" in hooks.values()


def test_nearly_every_operation_has_the_time_it_was_entered(probed: Probed) -> None:
    calls = [e for e in events(probed.files / "kprobe.swtrace") if isinstance(e, Find | Map | Unmap)]
    known = [call for call in calls if call.entry_ns != ENTRY_UNKNOWN]
    assert len(known) * 100 >= len(calls) * KNOWN_ENTRIES_PERCENT
    assert all(0 <= call.exit_ns - call.entry_ns < 10**9 for call in known)


def test_the_devices_limits_are_recorded(probed: Probed) -> None:
    """NVMe wants the offset in its 4 KiB pages kept (nvme_pci_alloc_dev()); virtio wants nothing."""
    trace = probed.files / "kprobe.swtrace"
    names = {item.dev: item.name for item in TraceReader(trace) if isinstance(item, DeviceName)}
    masks = {names[e.dev]: e.min_align_mask for e in events(trace) if isinstance(e, Device)}
    assert masks == {NVME: 4095, VIRTIO_BLK: 0}
