"""A kernel with a bug, on four CPUs under load: ftrace sees what it does, and the tool tells of it at once, by name.

The same load on the kernel without them shows nothing to either. Both watch one load, in one machine a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from swiotlb_top.allocator import REVISIONS, Limits, Pool, Request
from swiotlb_top.constants import MAX_ALLOC_BYTES
from swiotlb_top.errors import Exit
from tests.lab.harness.kernels import FAULTY
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.faults import BUGS, Calls, Seen
from tests.lab.support.ftrace import WORDS, traced
from tests.lab.support.tool import Replayed, debugfs_counters, guest_shell, ran_well, replay
from tests.lab.workloads import unaligned
from tests.support.doctoring import load

SOON = 1000
"""Operations."""
VDA_DMA_ALIGNMENT = 511
VDA_LARGEST_BYTES = 65536
"""A segment of a whole slot set has no place where odd slots are kept, and virtio-blk asks for it for ever."""

# The crowd comes before all others, which would make the pools grow: else it is left to chance whether a transient pool
# is ever asked for what it has no place for. Not busy.sh: where less is in use at once, a search comes sooner to a slot
# that is lost. Where the kernel is faulty, reads may fail. Afterwards the network card loses its driver, which holds
# slots as long as it is there.
LOAD = f"""
    export workloads
    traced load $tool record -o /results/load.swtrace -- sh -c '
        python3 $workloads/crowd.py nvme0n1 4 4 || touch /results/wrong
        (python3 $workloads/unaligned.py nvme0n1 vda:{VDA_LARGEST_BYTES} || touch /results/wrong) >/dev/null &
        nice -n 19 python3 $workloads/transfer.py 1 >/dev/null &
        nice -n 19 python3 $workloads/readers.py nvme0n1:8:16:16:4096 vda:8:4:128:512 vda:4:128:1:4096 &
        for disk in nvme0n1 vda; do
            nice -n 19 dd if=/dev/$disk bs=1M count=4 skip=128 iflag=direct of=/dev/null status=none &
            nice -n 19 dd of=/dev/$disk bs=1M count=4 seek=192 oflag=direct conv=notrunc if=/dev/zero status=none &
        done
        wait'
    card=$(basename "$(readlink -f /sys/class/net/eth0/device)")
    echo "$card" >/sys/bus/virtio/drivers/virtio_net/unbind
    debugfs
"""


@dataclass(frozen=True)
class Watched:
    """What both saw of a kernel under the load."""

    seen: Seen
    replayed: Replayed
    files: Path

    @property
    def trace(self) -> Path:
        return self.files / "load.swtrace"


def watched(lab: Lab, kernel: str, *, in_turn: bool = False) -> Watched:
    ran = ran_well(lab.run(Machine(kernel=kernel, cpus=4, in_turn=in_turn), guest_shell(WORDS + LOAD)))
    trace = ran.files / "load.swtrace"
    released = Calls(load(trace)).released
    seen = Seen(traced(ran.files, "load").calls, debugfs_counters(ran.stdout)["io_tlb_used"], released)
    return Watched(seen, replay(trace), ran.files)


@pytest.fixture(scope="module", params=FAULTY)
def faulty(request: pytest.FixtureRequest, lab: Lab) -> tuple[str, Watched]:
    # A wrong search is wrong whoever else is at it, and CPUs in turn take a third less of the host's time.
    return request.param, watched(lab, request.param, in_turn=not BUGS[request.param].slots_lost)


@pytest.fixture(scope="module")
def sound(lab: Lab) -> Watched:
    return watched(lab, "dynamic")


def test_every_bug_is_known() -> None:
    assert set(BUGS) == set(FAULTY)


def test_where_odd_slots_are_kept_every_read_of_vda_has_a_place_and_larger_ones_have_none() -> None:
    pool = Pool(1, 1 << 28, 512, 1, rule=REVISIONS["6.8"].rule)

    def without_place(largest_bytes: int) -> list[tuple[int, int]]:
        reads = unaligned.requests(VDA_DMA_ALIGNMENT, largest_bytes)
        return [read for read in reads if pool.search(0, Request((1 << 20) + read[0], read[1], 0, Limits())) < 0]

    assert without_place(VDA_LARGEST_BYTES) == []
    assert (2048, MAX_ALLOC_BYTES) in without_place(MAX_ALLOC_BYTES)


def test_ftrace_sees_what_the_bug_does(faulty: tuple[str, Watched]) -> None:
    kernel, came = faulty
    assert BUGS[kernel].shows(came.seen)


def test_the_tool_reports_it_as_what_it_does(faulty: tuple[str, Watched]) -> None:
    kernel, came = faulty
    bug, report = BUGS[kernel], came.replayed.report
    assert (came.replayed.status, report["verdict"], report["lost"]) == (Exit.DISAGREE, "disagree", 0)
    named = {violation.partition(":")[0] for violation in report["first_disagreement"]["violations"]}
    assert named == ({bug.first_harm.value} if bug.first_harm else set())
    assert bool(report["safety_violations"]) == bool(bug.first_harm)
    assert [counter.split()[0] for counter in report["miscounts"]] == ["total_used"] * bug.slots_lost
    assert report["disagree"] < report["agree"]


def test_it_is_told_of_within_a_thousand_operations(faulty: tuple[str, Watched]) -> None:
    kernel, came = faulty
    calls = Calls(load(came.trace))
    happened = BUGS[kernel].happened(calls)
    told = came.replayed.report["first_disagreement"]["operation"]
    print(f"{kernel}: happened by {happened}, told of at {told}")
    assert told <= happened + SOON
    assert sum(1 for _ in calls.numbered()) >= happened + SOON


def test_ftrace_sees_none_of_it_on_the_kernel_without_them(sound: Watched) -> None:
    assert not (sound.files / "wrong").exists()
    assert len(sound.seen.maps) > 10_000
    assert [kernel for kernel, bug in BUGS.items() if bug.shows(sound.seen)] == []


def test_nor_does_the_tool(sound: Watched) -> None:
    report = sound.replayed.report
    assert (report["first_disagreement"], report["safety_violations"], report["miscounts"]) == (None, 0, [])
    assert (report["disagree"], report["lost"]) == (0, 0)
    assert report["agree"] > 20_000
