"""The workloads do to swiotlb what they say, seen through debugfs and ftrace: not through our own probes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.ftrace import maps_by_cpu, tracing_shell
from tests.lab.support.tool import ran_well

WORKLOADS = "tests/lab/workloads"

COUNTED = {"nvme0n1": (1009, 1009), "vda": (211, 844)}
"""Requests, and maps."""
COUNTING = "".join(
    f"counted {disk} {WORKLOADS}/counted.sh {requests} {disk}\n" for disk, (requests, _) in COUNTED.items()
)


@pytest.fixture(scope="module")
def counting(lab: Lab) -> Path:
    script = f"{COUNTING} counted grow {WORKLOADS}/grow.sh"
    ran = ran_well(lab.run(Machine(kernel="dynamic", swiotlb="512,force"), tracing_shell(script)))
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
