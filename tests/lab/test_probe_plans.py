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

DEADLINE_S = 300.0
NVME_REQUESTS = 1009
VDA_REQUESTS = 211
MAPS = NVME_REQUESTS + 4 * VDA_REQUESTS
KNOWN_ENTRIES_PERCENT = 99

SCRIPT = f"""
    try doctor $tool doctor
    try doctor_json $tool doctor --json
    try screen $tool --source live -n 1 -d 0
    for how in fentry kprobe; do
        try $how $python $workloads/record_with.py /results/$how.swtrace --prefer $how -- sh -c '
            sh tests/lab/workloads/counted.sh {NVME_REQUESTS} nvme0n1
            sh tests/lab/workloads/counted.sh {VDA_REQUESTS} vda'
    done
"""

SEEN_BY = {"dynamic": "swiotlb_find_slots", "debian": "swiotlb_tbl_map_single"}
"""Where each kernel lets one see mappings being made; Debian's compiler inlined the other."""


class Probed(NamedTuple):
    kernel: str
    files: Path


@pytest.fixture(scope="module", params=list(KERNELS))
def probed(request: pytest.FixtureRequest, lab: Lab) -> Probed:
    kernel = str(request.param)
    ran = lab.run(Machine(kernel=kernel, swiotlb="512,force"), guest_shell(SCRIPT), deadline_s=DEADLINE_S)
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


def test_the_live_screen_starts(probed: Probed) -> None:
    screen = tried(probed.files, "screen")
    assert (screen.status, screen.err) == (Exit.OK, "")
    source = f"source   live: probed by fentry+fexit {SEEN_BY[probed.kernel]}"
    assert source in screen.out.splitlines()


@pytest.mark.parametrize("how", ["fentry", "kprobe"])
def test_what_is_recorded_is_all_there_and_agrees(probed: Probed, how: str) -> None:
    recorded = tried(probed.files, how)
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    assert f"maps {MAPS}, failed 0, unmaps {MAPS}, lost 0" in recorded.out.splitlines()
    replayed = replay(probed.files / f"{how}.swtrace")
    report = replayed.report
    assert (report["maps"], report["unmaps"], report["lost"]) == (MAPS, MAPS, 0)
    assert report["compared"] == report["agree"] == 2 * MAPS
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert (report["verdict"], replayed.status) == ("agree", Exit.OK)


@pytest.mark.parametrize("how", ["fentry", "kprobe"])
def test_a_recording_says_how_it_was_probed(probed: Probed, how: str) -> None:
    hooks = dict(TraceReader(probed.files / f"{how}.swtrace").header.kernel.hooks)
    both = {"fentry": "fentry+fexit", "kprobe": "kprobe+kretprobe"}[how]
    assert hooks["unmap"] == f"{both} __swiotlb_tbl_unmap_single"
    assert f"{both} {SEEN_BY[probed.kernel]}" in hooks.values()


@pytest.mark.parametrize("how", ["fentry", "kprobe"])
def test_nearly_every_operation_has_the_time_it_was_entered(probed: Probed, how: str) -> None:
    calls = [e for e in events(probed.files / f"{how}.swtrace") if isinstance(e, Find | Map | Unmap)]
    known = [call for call in calls if call.entry_ns != ENTRY_UNKNOWN]
    assert len(known) * 100 >= len(calls) * KNOWN_ENTRIES_PERCENT
    assert all(0 <= call.exit_ns - call.entry_ns < 10**9 for call in known)


def test_the_devices_limits_are_recorded(probed: Probed) -> None:
    """NVMe wants the offset in its 4 KiB pages kept (nvme_pci_alloc_dev()); virtio wants nothing."""
    trace = probed.files / "fentry.swtrace"
    names = {item.dev: item.name for item in TraceReader(trace) if isinstance(item, DeviceName)}
    masks = {names[e.dev]: e.min_align_mask for e in events(trace) if isinstance(e, Device)}
    assert masks == {NVME: 4095, VIRTIO_BLK: 0}
