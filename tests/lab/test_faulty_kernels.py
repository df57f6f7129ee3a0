"""A kernel with a bug shows it under its workload, and the one without does not: told by ftrace, not by the tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest

from swiotlb_top.allocator import REVISIONS, Limits, Pool, Request
from swiotlb_top.allocator.geometry import MAX_ALLOC_BYTES
from tests.lab.ftrace import FAILED, Map, Traced, Unmap, traced, tracing_shell
from tests.lab.kernels import FAULTY
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import debugfs_counters
from tests.lab.workloads import unaligned

PAGE = 4096
SLOT = 2048
ODD_SLOT = SLOT
"""The bit by which the slots of a page differ."""

VDA_DMA_ALIGNMENT = 511
VDA_LARGEST_BYTES = 65536
"""A segment of a whole slot set has no place where odd slots are kept, and virtio-blk asks for it for ever."""
SCRIPTS: Mapping[str, str] = MappingProxyType(
    {
        "vda": f"traced vda python3 tests/lab/workloads/unaligned.py vda {VDA_LARGEST_BYTES}",
        "nvme0n1": "traced nvme0n1 python3 tests/lab/workloads/unaligned.py nvme0n1",
        # Then the network card loses its driver, which holds slots as long as it is there.
        "busy": """
            traced busy sh tests/lab/workloads/busy.sh
            card=$(basename "$(readlink -f /sys/class/net/eth0/device)")
            echo "$card" >/sys/bus/virtio/drivers/virtio_net/unbind
        """,
    }
)
DEBUGFS = "cd /sys/kernel/debug/swiotlb && grep -H . io_tlb_*"


@dataclass(frozen=True)
class Seen:
    """What a kernel did under one workload."""

    traced: Traced
    used_slots: int
    """Afterwards, when nothing is mapped."""

    def mapped(self) -> Iterator[Map]:
        return (call for call in self.traced.maps if call.tlb_addr != FAILED)

    def pages_on_odd_slots(self) -> list[Map]:
        return [call for call in self.mapped() if call.size_bytes >= PAGE and call.tlb_addr & ODD_SLOT]


def seen(lab: Lab, kernel: str, workload: str) -> Seen:
    machine = Machine(kernel=kernel, cpus=4 if workload == "busy" else 1)
    ran = lab.run(machine, tracing_shell(f"{SCRIPTS[workload]}\n{DEBUGFS}"))
    assert ran.status == 0, ran.stderr
    return Seen(traced(ran.files, workload), debugfs_counters(ran.stdout)["io_tlb_used"])


# ---- what each bug does


def nothing_is_refused(seen: Seen) -> bool:
    """No transient pool has a place for a buffer in the second half of a page that begins at one and is not longer."""
    return all(call.tlb_addr != FAILED for call in seen.traced.maps)


def pages_lie_as_their_buffers_do(seen: Seen) -> bool:
    odd = seen.pages_on_odd_slots()
    return bool(odd) and all(call.orig_addr & ODD_SLOT for call in odd)


def pages_lie_anywhere(seen: Seen) -> bool:
    return not all(call.orig_addr & ODD_SLOT for call in seen.pages_on_odd_slots())


def places_in_pages_are_not_kept(seen: Seen) -> bool:
    return any((call.tlb_addr ^ call.orig_addr) % PAGE for call in seen.mapped())


@dataclass(eq=False)
class Held:
    """A mapping that is there."""

    slots: range
    beside: list[Held] = field(default_factory=list)
    """Others that had one of its slots while it had."""
    released: bool = False


def two_have_one_slot(seen: Seen) -> bool:
    """Both were mapped before either was released, as both releases tell: one that was not told proves nothing."""
    held: dict[int, list[Held]] = {}
    holders: dict[int, list[Held]] = {}
    for call in seen.traced.calls:
        if isinstance(call, Unmap):
            if not held.get(call.tlb_addr):
                continue
            gone = held[call.tlb_addr].pop()
            gone.released = True
            if any(other.released for other in gone.beside):
                return True
            for slot in gone.slots:
                holders[slot].remove(gone)
        elif call.tlb_addr != FAILED:
            new = Held(range(call.tlb_addr // SLOT, (call.tlb_addr + call.size_bytes - 1) // SLOT + 1))
            held.setdefault(call.tlb_addr, []).append(new)
            for slot in new.slots:
                for other in holders.setdefault(slot, []):
                    other.beside.append(new)
                    new.beside.append(other)
                holders[slot].append(new)
    return False


def slots_stay_taken(seen: Seen) -> bool:
    return seen.used_slots > 0


SHOWN_BY: Mapping[str, tuple[str, Callable[[Seen], bool]]] = MappingProxyType(
    {
        "cve-2023-52790": ("nvme0n1", nothing_is_refused),
        "cve-2024-35814": ("vda", pages_lie_as_their_buffers_do),
        "no-min-alignment": ("nvme0n1", places_in_pages_are_not_kept),
        "no-page-alignment": ("vda", pages_lie_anywhere),
        "injected-overlap": ("busy", two_have_one_slot),
        "injected-lost-release": ("busy", slots_stay_taken),
    }
)


def test_every_bug_has_its_workload() -> None:
    assert set(SHOWN_BY) == set(FAULTY)


def test_where_odd_slots_are_kept_every_read_of_vda_has_a_place_and_larger_ones_have_none() -> None:
    pool = Pool(1, 1 << 28, 512, 1, rule=REVISIONS["6.8"].rule)

    def without_place(largest_bytes: int) -> list[tuple[int, int]]:
        reads = unaligned.requests(VDA_DMA_ALIGNMENT, largest_bytes)
        return [read for read in reads if pool.search(0, Request((1 << 20) + read[0], read[1], 0, Limits())) < 0]

    assert without_place(VDA_LARGEST_BYTES) == []
    assert (2048, MAX_ALLOC_BYTES) in without_place(MAX_ALLOC_BYTES)


@pytest.mark.parametrize("kernel", FAULTY)
def test_a_faulty_kernel_shows_its_bug(lab: Lab, kernel: str) -> None:
    workload, shows = SHOWN_BY[kernel]
    assert shows(seen(lab, kernel, workload))


@pytest.mark.parametrize("workload", list(SCRIPTS))
def test_the_kernel_without_them_shows_none(lab: Lab, workload: str) -> None:
    sound = seen(lab, "dynamic", workload)
    assert sound.traced.status == 0, sound.traced.out
    assert len(list(sound.mapped())) > 100
    assert [kernel for kernel, (where, shows) in SHOWN_BY.items() if where == workload and shows(sound)] == []
