"""Each way of probing, on each kernel: the doctor tells it beforehand, and what it records agrees."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from swiotlb_top.allocator import Limits, Revision, align_offset, choose
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.errors import Exit
from swiotlb_top.events import ENTRY_UNKNOWN, Device, Direction, Find, Map, Unmap, decode
from swiotlb_top.probes.program import REQUEST_SLOTS, Totals
from swiotlb_top.state import DeviceName
from swiotlb_top.trace import TraceReader
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import NVME, VIRTIO_BLK, events, guest_shell, replay, tried

NVME_REQUESTS = 1009
VDA_REQUESTS = 211
MAPS = NVME_REQUESTS + 4 * VDA_REQUESTS
KNOWN_ENTRIES_PERCENT = 99

UNALIGNED_READS = """
import mmap, os
room = mmap.mmap(-1, 1 << 18)
room.write(bytes(1 << 18))
for disk, step in (("nvme0n1", 508), ("vda", 512)):
    file = os.open(f"/dev/{disk}", os.O_RDONLY | os.O_DIRECT)
    for size in (512, 2048, 6144, 16384, 131072):
        for offset in range(0, 4096, step):
            os.preadv(file, [memoryview(room)[offset : offset + size]], 0)
"""
"""Few maps of many sizes, of buffers that begin anywhere in their page; written to first, page by page, most pages
lie together and are mapped together."""

SCRIPT = f"""
    $python $workloads/one_process.py /results doctor swiotlb_top doctor , doctor_json swiotlb_top doctor --json , \
        record tests.lab.workloads.record_with /results/kprobe.swtrace --prefer kprobe -- sh -c '
            sh tests/lab/workloads/counted.sh {NVME_REQUESTS} nvme0n1
            sh tests/lab/workloads/counted.sh {VDA_REQUESTS} vda' , \
        totals tests.lab.workloads.count_with /results/records.bin -- $python -c '{UNALIGNED_READS}'
"""


class Shape(NamedTuple):
    """What the doctor finds on a kernel."""

    mappings: str
    """Where it lets one see them being made; Debian's compiler inlined swiotlb_find_slots."""
    unmap: str = "__swiotlb_tbl_unmap_single"
    feature: str = "pad_slots"
    grows: bool = False
    keeps_hiwater: bool = True
    """Whether debugfs has ``io_tlb_used_hiwater``: since 6.4."""
    counts_misses: bool = True
    """Whether its kprobes tell what they miss; else they are not used."""


SHAPES = {
    "dynamic": Shape("swiotlb_find_slots", feature="search_area", grows=True),
    "seed": Shape("swiotlb_find_slots", feature="pool_find_slots", grows=True),
    "debian": Shape("swiotlb_tbl_map_single"),
    "debian-6.1": Shape(
        "swiotlb_map", "swiotlb_tbl_unmap_single", feature="alloc_size", keeps_hiwater=False, counts_misses=False
    ),
}


class Probed(NamedTuple):
    shape: Shape
    files: Path

    @property
    def by_kprobe(self) -> str:
        """How what prefers kprobes is attached, as far as it has them."""
        return "kprobe+kretprobe" if self.shape.counts_misses else "fentry+fexit"


@pytest.fixture(scope="module", params=list(SHAPES))
def probed(request: pytest.FixtureRequest, lab: Lab) -> Probed:
    kernel = str(request.param)
    ran = lab.run(Machine(kernel=kernel, swiotlb="512,force"), guest_shell(SCRIPT))
    assert (ran.status, ran.stderr) == (0, "")
    return Probed(SHAPES[kernel], ran.files)


def test_the_doctor_is_content_and_names_every_hooks_place(probed: Probed) -> None:
    doctor = tried(probed.files, "doctor")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    lines = doctor.out.splitlines()
    assert lines[-1] == "swiotlb can be watched live here"
    hooks = dict(line.split(maxsplit=2)[1:] for line in lines if line.startswith("hook "))
    assert f"fentry+fexit {probed.shape.mappings}" in hooks.values()
    assert hooks["unmap"] == f"fentry+fexit {probed.shape.unmap}"
    assert ("grow" in hooks) == probed.shape.grows
    assert not any("absent" in place for place in hooks.values())
    assert "MISSING" not in doctor.out


def test_the_doctor_names_the_features_by_which_a_reference_is_chosen(probed: Probed) -> None:
    (types,) = (line for line in tried(probed.files, "doctor").out.splitlines() if "swiotlb types" in line)
    assert probed.shape.feature in re.split(r"[, ]+", types)


def test_the_doctors_json_says_the_same(probed: Probed) -> None:
    doctor = tried(probed.files, "doctor_json")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    report = json.loads(doctor.out)
    assert report["ok"] is True
    lacks = {name for name, check in report["checks"].items() if not check["ok"]}
    assert lacks == (set() if probed.shape.keeps_hiwater else {"high water"})
    assert report["checks"]["swiotlb"]["found"].startswith(
        "swiotlb=512,force, every mapping bounces, 512 slots (1 MiB), "
    )
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
    assert hooks["unmap"] == f"{probed.by_kprobe} {probed.shape.unmap}"
    assert f"{probed.by_kprobe} {probed.shape.mappings}" in hooks.values()


def test_nearly_every_operation_has_the_time_it_was_entered(probed: Probed) -> None:
    calls = [e for e in events(probed.files / "kprobe.swtrace") if isinstance(e, Find | Map | Unmap)]
    known = [call for call in calls if call.entry_ns != ENTRY_UNKNOWN]
    assert len(known) * 100 >= len(calls) * KNOWN_ENTRIES_PERCENT
    assert all(0 <= call.exit_ns - call.entry_ns < 10**9 for call in known)


def test_the_kernels_totals_are_what_its_records_add_up_to(probed: Probed) -> None:
    counted = tried(probed.files, "totals")
    assert (counted.status, counted.err) == (Exit.OK, "")
    totals = {int(dev): device for dev, device in json.loads(counted.out).items()}
    calls = list(decode((probed.files / "records.bin").read_bytes()))
    kernel = TraceReader(probed.files / "kprobe.swtrace").header.kernel
    revision = choose(kernel.features, kernel.release).revision
    masks = {event.dev: event.min_align_mask for event in calls if isinstance(event, Device)}
    expected: dict[int, Totals] = {}
    for call in calls:
        if isinstance(call, Find | Map | Unmap):
            before = expected.get(call.dev, Totals())
            limits = Limits(min_align_mask=masks[call.dev])
            expected[call.dev] = (
                with_unmap(before, call) if isinstance(call, Unmap) else with_map(before, call, revision, limits)
            )
    assert totals == {dev: json.loads(json.dumps(asdict(device))) for dev, device in expected.items()}
    assert set(masks.values()) == {4095, 0}
    for device in expected.values():
        assert device.mapped_bytes == device.unmapped_bytes
        assert sum(map(bool, device.requests)) > 1
        assert device.unmapped_bytes_by_direction[Direction.FROM_DEVICE] > 0


def with_map(before: Totals, call: Find | Map, revision: Revision, limits: Limits) -> Totals:
    if isinstance(call, Find):
        size = call.alloc_size_bytes
        mapped_bytes = size - align_offset(call.alloc_align_mask, call.orig_addr, limits.min_align_mask)
    else:
        mapped_bytes = call.mapping_size_bytes
        asked = revision.request(
            mapped_bytes, call.orig_addr, call.alloc_align_mask, limits, call.alloc_size_bytes or None
        )
        size = asked.alloc_size_bytes
    bucket = bisect_left(REQUEST_SLOTS, nr_slots(size))
    assert not call.failed
    return replace(
        before,
        maps=before.maps + 1,
        mapped_bytes=before.mapped_bytes + mapped_bytes,
        requests=tuple(count + (at == bucket) for at, count in enumerate(before.requests)),
        requested_slots=before.requested_slots + nr_slots(size),
    )


def with_unmap(before: Totals, call: Unmap) -> Totals:
    by_direction = list(before.unmapped_bytes_by_direction)
    by_direction[call.direction] += call.mapping_size_bytes
    return replace(before, unmaps=before.unmaps + 1, unmapped_bytes_by_direction=tuple(by_direction))


def test_the_devices_limits_are_recorded(probed: Probed) -> None:
    """NVMe wants the offset in its 4 KiB pages kept (nvme_pci_alloc_dev()); virtio wants nothing."""
    trace = probed.files / "kprobe.swtrace"
    names = {item.dev: item.name for item in TraceReader(trace) if isinstance(item, DeviceName)}
    masks = {names[e.dev]: e.min_align_mask for e in events(trace) if isinstance(e, Device)}
    assert masks == {NVME: 4095, VIRTIO_BLK: 0}
