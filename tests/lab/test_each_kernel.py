"""Every kernel that is not faulty by intent, each in one machine: what the lab promises of it, each way of probing, and
the shapes of requests.

The doctor tells beforehand how it is probed, and what is recorded agrees. The shapes are seen through ftrace: not
through our own probes.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.allocator import Limits, Revision, align_offset, choose
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.cli import main
from swiotlb_top.constants import SIZE_BUCKETS_SLOTS
from swiotlb_top.errors import Exit
from swiotlb_top.events import ENTRY_UNKNOWN, Device, Direction, Find, Map, Unmap
from swiotlb_top.records import decode
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import TraceReader
from tests.lab.harness.kernels import SOUND
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.vm import CHECKOUT, Result
from tests.lab.support.ftrace import FAILED, WORDS, Traced, traced
from tests.lab.support.tool import NVME, VIRTIO_BLK, events, guest_shell, replay, tried
from tests.lab.workloads import unaligned

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

PROBING = f"""
    $python $workloads/one_process.py /results doctor swiotlb_top doctor , doctor_json swiotlb_top doctor --json , \
        check swiotlb_top check --seconds 3 --json , \
        record tests.lab.workloads.record_with /results/kprobe.swtrace --prefer kprobe -- sh -c '
            sh tests/lab/workloads/counted.sh {NVME_REQUESTS} nvme0n1
            sh tests/lab/workloads/counted.sh {VDA_REQUESTS} vda' , \
        totals tests.lab.workloads.count_with /results/records.bin -- $python -c '{UNALIGNED_READS}'
"""


REQUESTS = """
    for disk in vda nvme0n1; do
        traced unaligned-$disk python3 $workloads/unaligned.py $disk
        traced large-$disk python3 $workloads/large.py $disk 16
    done
    traced transfer python3 $workloads/transfer.py 2
"""
PAGE = 4096
DMA_ALIGNMENT = {"vda": 511, "nvme0n1": 3}
LARGEST_BYTES = {"vda": 256 << 10, "nvme0n1": 252 << 10}

LOCKED = """
    lockdown=/sys/kernel/security/lockdown
    mount -t securityfs none /sys/kernel/security 2>/dev/null
    if [ -e $lockdown ]; then
        echo integrity >$lockdown
        cat $lockdown >/results/lockdown
        $python $workloads/one_process.py /results debugfs swiotlb_top --source debugfs -n 1 -d 0 , \
            live swiotlb_top --source live -n 1 -d 0
    fi
"""

ENDING = """
    echo out; echo err >&2; echo more >/dev/stdout
    ls -d /sys/kernel/tracing/events; pwd; ls /dev/vda /dev/nvme0n1
    mkdir /results/deep; seq 100000 >/results/deep/numbers
    sleep 1000 &
    exit 7
"""


class Traits(NamedTuple):
    """What the doctor finds on a kernel, and what else is its own."""

    mappings: str
    """Where it lets one see them being made; Debian's compiler inlined swiotlb_find_slots."""
    unmap: str = "__swiotlb_tbl_unmap_single"
    feature: str = "pad_slots"
    grows: bool = False
    has_hiwater_file: bool = True
    """Whether debugfs has ``io_tlb_used_hiwater``: since 6.4."""
    keeps_hiwater: bool = True
    """Whether the kernel counts it: 7.3 only where it is booted with ``track_hiwater``."""
    of_its_name: bool = True
    """Whether a kernel with its release is known to be so; the seed in 6.12 was never released."""
    counts_misses: bool = True
    """Whether its kprobes tell what they miss; else they are not used."""
    slots: int = 8192
    """Where pools do not grow, 16 MiB are room for all of it."""
    locks_down: bool = True
    remaps_what_it_receives: bool = True
    """Whether the card maps a buffer for each packet that comes; 7.3's virtio-net has pages that stay mapped."""


TRAITS = {
    "dynamic": Traits("swiotlb_find_slots", feature="search_area", grows=True, slots=512, locks_down=False),
    "dynamic-inlined": Traits("swiotlb_tbl_map_single", feature="search_area", grows=True, slots=512, locks_down=False),
    "seed": Traits(
        "swiotlb_find_slots", feature="pool_find_slots", grows=True, slots=512, locks_down=False, of_its_name=False
    ),
    "debian": Traits("swiotlb_tbl_map_single"),
    "debian-6.1": Traits(
        "swiotlb_map",
        "swiotlb_tbl_unmap_single",
        feature="alloc_size",
        has_hiwater_file=False,
        keeps_hiwater=False,
        counts_misses=False,
    ),
    "dynamic-7.3": Traits(
        "swiotlb_tbl_map_single",
        feature="cc_shared",
        grows=True,
        keeps_hiwater=False,
        slots=512,
        locks_down=False,
        remaps_what_it_receives=False,
    ),
    "debian-7.3": Traits(
        "swiotlb_tbl_map_single", feature="cc_shared", keeps_hiwater=False, remaps_what_it_receives=False
    ),
}


class Ran(NamedTuple):
    traits: Traits
    result: Result

    @property
    def files(self) -> Path:
        return self.result.files

    @property
    def by_kprobe(self) -> str:
        """How what prefers kprobes is attached, as far as it has them."""
        return "kprobe+kretprobe" if self.traits.counts_misses else "fentry+fexit"


@pytest.fixture(scope="module", params=SOUND)
def ran(request: pytest.FixtureRequest, lab: Lab) -> Ran:
    traits = TRAITS[request.param]
    machine = Machine(kernel=request.param, swiotlb=f"{traits.slots},force")
    return Ran(traits, lab.run(machine, guest_shell(WORDS + PROBING + REQUESTS + LOCKED + ENDING)))


def test_output_status_and_files_come_back_and_a_process_left_behind_does_not_hold_them_up(ran: Ran) -> None:
    assert ran.result.status == 7
    assert ran.result.stdout.splitlines() == [
        *("out", "more", "/sys/kernel/tracing/events", str(CHECKOUT), "/dev/nvme0n1", "/dev/vda")
    ]
    assert ran.result.stderr == "err\n"
    assert (ran.files / "deep" / "numbers").read_text() == "".join(f"{n}\n" for n in range(1, 100001))


def test_the_doctor_is_content_and_names_every_hooks_place(ran: Ran) -> None:
    doctor = tried(ran.files, "doctor")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    lines = doctor.out.splitlines()
    assert lines[0] == "swiotlb can be watched live here"
    hooks = dict(line.split(maxsplit=2)[1:] for line in lines if line.startswith("hook "))
    assert f"fentry+fexit {ran.traits.mappings}" in hooks.values()
    assert hooks["unmap"] == f"fentry+fexit {ran.traits.unmap}"
    assert ("grow" in hooks) == ran.traits.grows
    assert not any("absent" in place for place in hooks.values())
    assert "MISSING" not in doctor.out


def test_the_doctor_names_the_features_by_which_a_reference_is_chosen(ran: Ran) -> None:
    (types,) = (line for line in tried(ran.files, "doctor").out.splitlines() if "swiotlb types" in line)
    assert ran.traits.feature in re.split(r"[, ]+", types)


def test_the_doctors_json_says_the_same(ran: Ran) -> None:
    doctor = tried(ran.files, "doctor_json")
    assert (doctor.status, doctor.err) == (Exit.OK, "")
    report = json.loads(doctor.out)
    assert report["ok"] is True
    lacks = {name for name, check in report["checks"].items() if not check["ok"]}
    traits = ran.traits
    assert ("high_water" in lacks, "kernel" in lacks) == (not traits.keeps_hiwater, not traits.of_its_name)
    assert ("revision" in lacks) == ("kernel" in lacks)
    assert lacks <= {"high_water", "kernel", "revision"}
    assert report["checks"]["swiotlb"]["found"].startswith(
        f"swiotlb={ran.traits.slots},force, every mapping bounces, {ran.traits.slots} slots ("
    )
    text = tried(ran.files, "doctor").out
    for name, place in report["hooks"].items():
        assert re.search(rf"^hook +{name} +{re.escape(place)}$", text, re.MULTILINE), text


def test_check_finds_nothing_wrong_with_a_machine_that_idles(ran: Ran) -> None:
    """But that its pools were nearly full while it booted, if they were."""
    checked = tried(ran.files, "check")
    told = json.loads(checked.out)
    kinds = {finding["kind"] for finding in told["findings"]}
    assert kinds <= {"nearly_full"}
    assert (told["unknown"], told["watched"]["map_failures"]) == ([], 0)
    assert (told["answer"], checked.status) == (("trouble", Exit.DISAGREE) if kinds else ("well", Exit.OK))


def test_kprobes_may_miss_a_call_but_say_so_and_are_never_wrong(ran: Ran) -> None:
    """The kernel runs no BPF program on a kprobe that hits, in an interrupt, while another one runs on that CPU
    (trace_call_bpf()): what it skipped there is counted, and what is lost is never a disagreement."""
    recorded = tried(ran.files, "record")
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    replayed = replay(ran.files / "kprobe.swtrace")
    report = replayed.report
    for counted in ("maps", "unmaps"):
        assert MAPS - report["lost"] <= report[counted] <= MAPS
    assert report["lost"] <= MAPS // 10
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    due = ("inconclusive", Exit.INCONCLUSIVE) if report["lost"] else ("agree", Exit.OK)
    assert (report["verdict"], replayed.status) == due


def test_a_recording_says_how_it_was_probed(ran: Ran) -> None:
    places = TraceReader(ran.files / "kprobe.swtrace").header.kernel.hooks
    hooks = {place.name: str(place) for place in places}
    assert hooks["unmap"] == f"{ran.by_kprobe} {ran.traits.unmap}"
    assert f"{ran.by_kprobe} {ran.traits.mappings}" in hooks.values()


def test_nearly_every_operation_has_the_time_it_was_entered(ran: Ran) -> None:
    calls = [e for e in events(ran.files / "kprobe.swtrace") if isinstance(e, Find | Map | Unmap)]
    known = [call for call in calls if call.entry_ns != ENTRY_UNKNOWN]
    assert len(known) * 100 >= len(calls) * KNOWN_ENTRIES_PERCENT
    assert all(0 <= call.exit_ns - call.entry_ns < 10**9 for call in known)


def test_the_kernels_totals_are_what_its_records_add_up_to(ran: Ran) -> None:
    counted = tried(ran.files, "totals")
    assert (counted.status, counted.err) == (Exit.OK, "")
    totals = {int(dev): device for dev, device in json.loads(counted.out).items()}
    calls = list(decode((ran.files / "records.bin").read_bytes()))
    kernel = TraceReader(ran.files / "kprobe.swtrace").header.kernel
    revision = choose(kernel.features, kernel.release).revision
    masks = {event.dev: event.min_align_mask for event in calls if isinstance(event, Device)}
    expected: dict[int, DeviceTotals] = {}
    for call in calls:
        if isinstance(call, Find | Map | Unmap):
            before = expected.get(call.dev, DeviceTotals())
            limits = Limits(min_align_mask=masks[call.dev])
            expected[call.dev] = (
                with_unmap(before, call) if isinstance(call, Unmap) else with_map(before, call, revision, limits)
            )
    assert all(device.pop("since_ns") > 0 for device in totals.values())
    wanted = {dev: json.loads(json.dumps(asdict(device))) for dev, device in expected.items()}
    assert totals == {
        dev: {name: of for name, of in device.items() if name != "since_ns"} for dev, device in wanted.items()
    }
    assert set(masks.values()) == {4095, 0}
    for device in expected.values():
        assert device.mapped_bytes == device.unmapped_bytes
        assert sum(map(bool, device.requests)) > 1
        assert device.unmapped_bytes_by_direction[Direction.FROM_DEVICE] > 0


def with_map(before: DeviceTotals, call: Find | Map, revision: Revision, limits: Limits) -> DeviceTotals:
    if isinstance(call, Find):
        size = call.alloc_size_bytes
        mapped_bytes = size - align_offset(call.alloc_align_mask, call.orig_addr, limits.min_align_mask)
    else:
        mapped_bytes = call.mapping_size_bytes
        asked = revision.request(
            mapped_bytes, call.orig_addr, call.alloc_align_mask, limits, call.alloc_size_bytes or None
        )
        size = asked.alloc_size_bytes
    bucket = bisect_left(SIZE_BUCKETS_SLOTS, nr_slots(size))
    assert not call.failed
    return replace(
        before,
        maps=before.maps + 1,
        mapped_bytes=before.mapped_bytes + mapped_bytes,
        requests=tuple(count + (at == bucket) for at, count in enumerate(before.requests)),
        requested_slots=before.requested_slots + nr_slots(size),
    )


def with_unmap(before: DeviceTotals, call: Unmap) -> DeviceTotals:
    by_direction = list(before.unmapped_bytes_by_direction)
    by_direction[call.direction] += call.mapping_size_bytes
    return replace(before, unmaps=before.unmaps + 1, unmapped_bytes_by_direction=tuple(by_direction))


def test_the_doctor_names_the_disks_as_people_do_and_why_they_bounce(ran: Ran) -> None:
    devices = {device["known_as"]: device for device in json.loads(tried(ran.files, "doctor_json").out)["devices"]}
    for known_as, name in (("vda", VIRTIO_BLK), ("nvme0n1", NVME)):
        assert devices[known_as]["name"] == name
        assert [why["reason"] for why in devices[known_as]["bounces"]] == ["asked_for"]
    assert re.search(
        rf"^device +{VIRTIO_BLK} +vda \(virtio-pci\): every mapping bounces", tried(ran.files, "doctor").out, re.M
    )


def test_a_recording_tells_what_its_devices_are_known_by_and_that_bouncing_is_forced(ran: Ran) -> None:
    items = [*TraceReader(ran.files / "kprobe.swtrace")]
    names = {item.name: item.known_as for item in items if isinstance(item, DeviceName)}
    assert names == {NVME: "nvme0n1", VIRTIO_BLK: "vda"}
    assert {item.force_bounce for item in items if isinstance(item, MemState)} == {1}


def test_check_tells_why_each_device_bounces_and_what_its_driver_keeps_to(
    ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", "--trace", str(ran.files / "kprobe.swtrace"), "--json"])
    devices = {device["known_as"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert {name: [why["reason"] for why in device["bounces"]] for name, device in devices.items()} == {
        "vda": ["forced"],
        "nvme0n1": ["forced"],
    }
    assert {name: device["limits"]["told_bytes"] for name, device in devices.items()} == LARGEST_BYTES


def test_the_devices_limits_are_recorded(ran: Ran) -> None:
    """NVMe wants the offset in its 4 KiB pages kept (nvme_pci_alloc_dev()); virtio wants nothing."""
    trace = ran.files / "kprobe.swtrace"
    names = {item.dev: item.name for item in TraceReader(trace) if isinstance(item, DeviceName)}
    masks = {names[e.dev]: e.min_align_mask for e in events(trace) if isinstance(e, Device)}
    assert masks == {NVME: 4095, VIRTIO_BLK: 0}


def test_a_locked_down_kernel_shows_all_but_the_high_water_to_debugfs_and_that_too_to_the_probes(ran: Ran) -> None:
    locked = (ran.files / "lockdown").exists()
    assert locked == ran.traits.locks_down
    if not locked:
        return
    assert "[integrity]" in (ran.files / "lockdown").read_text()
    by_debugfs, by_probes = tried(ran.files, "debugfs"), tried(ran.files, "live")
    # Nothing bad is seen, but debugfs tells of no failure, and the probes have judged nothing yet: that is not `well`.
    assert (by_debugfs.status, by_debugfs.err) == (by_probes.status, by_probes.err) == (Exit.INCONCLUSIVE, "")
    assert f" of {ran.traits.slots:,} used" in by_debugfs.out
    assert "high water - " in by_debugfs.out
    assert ("note     the high water is locked away" in by_debugfs.out) == ran.traits.has_hiwater_file
    assert re.search(r"high water [\d,]+ \(", by_probes.out) or not ran.traits.keeps_hiwater, by_probes.out


def done(files: Path, name: str) -> Traced:
    came = traced(files, name)
    assert came.status == 0, came.out
    return came


@pytest.mark.parametrize("disk", list(DMA_ALIGNMENT))
def test_unaligned_reads_begin_wherever_in_a_page_the_device_lets_them(ran: Ran, disk: str) -> None:
    maps = done(ran.files, f"unaligned-{disk}").maps
    begun_at = Counter(call.orig_addr % PAGE for call in maps if call.size_bytes >= 512)
    assert {offset for offset, _ in unaligned.requests(DMA_ALIGNMENT[disk])} <= set(begun_at)
    assert any(call.orig_addr % PAGE and call.size_bytes > PAGE for call in maps)


def test_only_nvme_wants_offsets_in_pages_kept(ran: Ran) -> None:
    kept = {
        disk: all(
            (call.orig_addr ^ call.tlb_addr) % PAGE == 0
            for call in done(ran.files, f"unaligned-{disk}").maps
            if call.tlb_addr != FAILED
        )
        for disk in DMA_ALIGNMENT
    }
    assert kept == {"vda": False, "nvme0n1": True}


@pytest.mark.parametrize("disk", list(LARGEST_BYTES))
def test_large_reads_have_segments_as_large_as_there_can_be(ran: Ran, disk: str) -> None:
    sizes = Counter(call.size_bytes for call in done(ran.files, f"large-{disk}").maps if call.tlb_addr != FAILED)
    assert max(sizes) == LARGEST_BYTES[disk]
    assert sizes[LARGEST_BYTES[disk]] >= 4 * 16


def test_a_transfer_comes_back_whole_and_bounces(ran: Ran) -> None:
    transfer = done(ran.files, "transfer")
    assert transfer.out == f"echoed {2 << 20} of {2 << 20} bytes\n"
    # But for what kprobes miss in interrupts, all that is sent, and all that comes back where it is mapped.
    ways = 2 if ran.traits.remaps_what_it_receives else 1
    assert sum(call.size_bytes for call in transfer.maps) > ways * 1.5 * (1 << 20)
