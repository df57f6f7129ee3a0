"""The workloads do to swiotlb what they say, seen through debugfs, dmesg and ftrace: not through our own probes."""

from __future__ import annotations

import re

import pytest

from tests.lab.lab import Lab
from tests.lab.machine import Machine

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
