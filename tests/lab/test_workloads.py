"""The workloads do to swiotlb what they say, seen through debugfs, dmesg and ftrace: not through our own probes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.lab.ftrace import FAILED, Traced, traced, tracing_shell
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.workloads import unaligned

WORKLOADS = "tests/lab/workloads"

# Runs "$@" with an ftrace event on every map; "events N" are those that came, "lost N" those the buffer had to drop.
COUNT_MAPS = """
    cd /sys/kernel/tracing
    echo 'p:lab/map swiotlb_tbl_map_single' >kprobe_events
    echo 65536 >buffer_size_kb
    echo 1 >events/lab/map/enable
    (cd "$OLDPWD" && "$@") || exit
    echo 0 >events/lab/map/enable
    echo events $(grep -c 'map: (swiotlb_tbl_map_single' trace)
    echo lost $(cat per_cpu/cpu0/stats | sed -n 's/^overrun: //p')
"""


def counting_maps(*command: str) -> list[str]:
    return ["sh", "-c", COUNT_MAPS, "sh", *command]


def test_grow_makes_the_pool_grow_three_times_with_50000_maps(lab: Lab) -> None:
    machine = Machine(kernel="dynamic", swiotlb="512,force")
    result = lab.run(machine, counting_maps(f"{WORKLOADS}/grow.sh"))
    assert result.status == 0, result.stderr
    grown = re.fullmatch(r"io_tlb_nslabs 512 -> (\d+)\nevents (\d+)\nlost (\d+)\n", result.stdout)
    assert grown, result.stdout
    nslabs, maps, lost = map(int, grown.groups())
    assert nslabs >= 512 + 3 * 512
    assert maps + lost >= 50_000


@pytest.mark.parametrize(("disk", "requests", "maps"), [("nvme0n1", 1009, 1009), ("vda", 211, 844)])
def test_counted_makes_exactly_as_many_maps_as_it_says(lab: Lab, disk: str, requests: int, maps: int) -> None:
    command = counting_maps(f"{WORKLOADS}/counted.sh", str(requests), disk)
    result = lab.run(Machine(kernel="dynamic"), command)
    assert result.stdout == f"maps {maps}\nevents {maps}\nlost 0\n", result.stderr


def test_stall_stops_a_disk_for_good_and_only_dmesg_names_swiotlb(lab: Lab) -> None:
    machine = Machine(kernel="debian", swiotlb="256,force")
    result = lab.run(machine, [f"{WORKLOADS}/stall.sh", "10"])
    assert result.status == 0, result.stderr
    read, full = result.stdout.splitlines()
    sectors = re.fullmatch(r"sectors read: (\d+) after half the time, (\d+) at its end", read)
    assert sectors, result.stdout
    assert sectors[1] == sectors[2]
    assert "swiotlb buffer is full (sz: 262144 bytes), total 256 (slots)" in full


def test_dma_map_benchmark_repeats_to_the_last_digit_when_instructions_are_counted(lab: Lab) -> None:
    machine = Machine(kernel="dynamic", swiotlb="4096,force", icount=True)
    benchmark = f"python3 {WORKLOADS}/dma_map_benchmark.py"
    result = lab.run(machine, ["sh", "-c", f"{benchmark}; {benchmark}"])
    assert result.status == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == lines[2:]
    map_ns = re.match(r"map_ns (\d+) ", lines[0])
    assert map_ns, result.stdout
    assert 1_000 <= int(map_ns[1]) <= 20_000


# ---- shapes of requests, on every kernel that is not faulty by intent

SHAPES = f"""
    for disk in vda nvme0n1; do
        traced unaligned-$disk python3 {WORKLOADS}/unaligned.py $disk
        traced large-$disk python3 {WORKLOADS}/large.py $disk 16
    done
    traced transfer python3 {WORKLOADS}/transfer.py 2
"""
PAGE = 4096
DMA_ALIGNMENT = {"vda": 511, "nvme0n1": 3}
LARGEST_BYTES = {"vda": 256 << 10, "nvme0n1": 252 << 10}


@pytest.fixture(scope="module", params=["dynamic", "debian", "debian-6.1"])
def shapes(request: pytest.FixtureRequest, lab: Lab) -> Path:
    # Debian's pools do not grow: 16 MiB are room for all of it.
    slots = 512 if request.param == "dynamic" else 8192
    ran = lab.run(Machine(kernel=request.param, swiotlb=f"{slots},force"), tracing_shell(SHAPES))
    assert (ran.status, ran.stderr) == (0, "")
    return ran.files


def done(files: Path, name: str) -> Traced:
    came = traced(files, name)
    assert came.status == 0, came.out
    return came


@pytest.mark.parametrize("disk", list(DMA_ALIGNMENT))
def test_unaligned_reads_begin_wherever_in_a_page_the_device_lets_them(shapes: Path, disk: str) -> None:
    maps = done(shapes, f"unaligned-{disk}").maps
    begun_at = Counter(call.orig_addr % PAGE for call in maps if call.size_bytes >= 512)
    assert {offset for offset, _ in unaligned.requests(DMA_ALIGNMENT[disk])} <= set(begun_at)
    assert any(call.orig_addr % PAGE and call.size_bytes > PAGE for call in maps)


def test_only_nvme_wants_offsets_in_pages_kept(shapes: Path) -> None:
    kept = {
        disk: all(
            (call.orig_addr ^ call.tlb_addr) % PAGE == 0
            for call in done(shapes, f"unaligned-{disk}").maps
            if call.tlb_addr != FAILED
        )
        for disk in DMA_ALIGNMENT
    }
    assert kept == {"vda": False, "nvme0n1": True}


@pytest.mark.parametrize("disk", list(LARGEST_BYTES))
def test_large_reads_have_segments_as_large_as_there_can_be(shapes: Path, disk: str) -> None:
    sizes = Counter(call.size_bytes for call in done(shapes, f"large-{disk}").maps if call.tlb_addr != FAILED)
    assert max(sizes) == LARGEST_BYTES[disk]
    assert sizes[LARGEST_BYTES[disk]] >= 4 * 16


def test_a_transfer_comes_back_whole_and_bounces(shapes: Path) -> None:
    transfer = done(shapes, "transfer")
    assert transfer.out == f"echoed {2 << 20} of {2 << 20} bytes\n"
    assert sum(call.size_bytes for call in transfer.maps) > 4 << 20


@pytest.mark.parametrize(("kernel", "slots"), [("dynamic", 512), ("debian", 8192)])
def test_busy_keeps_four_cpus_at_more_than_32000_maps(lab: Lab, kernel: str, slots: int) -> None:
    machine = Machine(kernel=kernel, cpus=4, swiotlb=f"{slots},force")
    ran = lab.run(machine, tracing_shell(f"traced busy sh {WORKLOADS}/busy.sh"))
    by_cpu = Counter(call.cpu for call in done(ran.files, "busy").maps)
    assert by_cpu.total() > 32_000
    assert len(by_cpu) == 4
    assert min(by_cpu.values()) >= 1_000
