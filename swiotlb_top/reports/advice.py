"""What is said before a recording is made: that its file lies on a disk which bounces, and may stall with it."""

from __future__ import annotations

import os
from pathlib import Path

from swiotlb_top.accounting.bounces import Reason, because
from swiotlb_top.accounting.evidence import Evidence
from swiotlb_top.kernel import around, settings
from swiotlb_top.kernel.lies_on import Disk, disks_below


def advice(output: Path, root: Path = settings.ROOT) -> str:
    """One line where a file to be written lies on a disk whose mappings are known to bounce; else empty.

    :param output: the file, or the directory of the files. It need not be there: what counts is what is above it.
    """
    there = next((path for path in (output, *output.absolute().parents) if path.exists()), Path("/"))
    machine = around.of_machine(os.uname().release, os.uname().machine, (), root)
    return in_a_line(output, tuple(disk for disk in disks_below(there, root) if bounces(disk, machine, root)))


def bounces(disk: Disk, machine: around.Around, root: Path = settings.ROOT) -> bool:
    """Whether a reason is known for which mappings of its device bounce."""
    evidence = Evidence(around=around.of_device(machine, disk.device, disk.driver, root))
    return any(reason.reason is not Reason.NEVER for reason in because(evidence))


def in_a_line(output: Path, disks: tuple[Disk, ...]) -> str:
    """The line for these disks; empty if there are none."""
    if not disks:
        return ""
    names, they = ", ".join(disk.known_as for disk in disks), "it stalls" if len(disks) == 1 else "one of them stalls"
    return (
        f"{output} lies on {names}, which swiotlb-top is about to watch: if {they}, so does the recording; "
        "write to /run or /dev/shm"
    )
