"""The workloads do to swiotlb what they say, seen through debugfs and ftrace: not through our own probes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.lab.ftrace import FAILED, Traced, maps_by_cpu, traced, tracing_shell
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.workloads import unaligned

WORKLOADS = "tests/lab/workloads"

COUNTED = {"nvme0n1": (1009, 1009), "vda": (211, 844)}
"""Requests, and maps."""
COUNTING = "".join(
    f"counted {disk} {WORKLOADS}/counted.sh {requests} {disk}\n" for disk, (requests, _) in COUNTED.items()
)


@pytest.fixture(scope="module")
def counting(lab: Lab) -> Path:
    script = f"{COUNTING} counted grow {WORKLOADS}/grow.sh"
    ran = lab.run(Machine(kernel="dynamic", swiotlb="512,force"), tracing_shell(script))
    assert (ran.status, ran.stderr) == (0, "")
    return ran.files


def test_grow_makes_the_pool_grow_three_times_with_50000_maps(counting: Path) -> None:
    said = (counting / "grow.out").read_text()
    grown = re.fullmatch(r"io_tlb_nslabs 512 -> (\d+)\n", said)
    assert grown, said
    assert int(grown[1]) >= 512 + 3 * 512
    assert sum(maps_by_cpu(counting, "grow")) >= 50_000


@pytest.mark.parametrize("disk", COUNTED)
def test_counted_makes_exactly_as_many_maps_as_it_says(counting: Path, disk: str) -> None:
    _, maps = COUNTED[disk]
    assert (counting / f"{disk}.out").read_text() == f"maps {maps}\n"
    assert maps_by_cpu(counting, disk) == [maps]


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
