"""What the tool says of a kernel with a bug, recorded under a workload that shows it: which harm, or which slot."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from swiotlb_top.allocator import Hazard
from swiotlb_top.errors import Exit
from tests.lab.kernels import FAULTY
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.test_faulty_kernels import VDA_LARGEST_BYTES
from tests.lab.tool import Replayed, guest_shell, replay

WORKLOADS: Mapping[str, str] = MappingProxyType(
    {
        "vda": f"$python $workloads/unaligned.py vda {VDA_LARGEST_BYTES}",
        "nvme0n1": "$python $workloads/unaligned.py nvme0n1",
        # Three times as many releases of two slots as one is lost of.
        "pages": "dd if=/dev/nvme0n1 bs=4k count=1536 iflag=direct of=/dev/null status=none",
        # Requests that overlap on one CPU, so that there is one order to them all the same.
        "at once": """
            for _ in 1 2 3 4; do dd if=/dev/vda bs=4k count=256 iflag=direct of=/dev/null status=none & done
            wait""",
    }
)


class Reported(NamedTuple):
    """Under which workload a bug is reported, and as what."""

    workload: str
    first_harm: Hazard | None
    """None: other slots than the reference's, which are free and do no harm."""
    slots_lost: bool = False
    """The kernel counts slots as used that it took and gave back."""


REPORTED: Mapping[str, Reported] = MappingProxyType(
    {
        "cve-2023-52790": Reported("nvme0n1", Hazard.OUT_OF_BOUNDS),
        "cve-2024-35814": Reported("vda", None),
        "no-min-alignment": Reported("nvme0n1", Hazard.MISALIGNED_ADDRESS),
        "no-page-alignment": Reported("vda", None),
        "injected-overlap": Reported("at once", Hazard.OVERLAP, slots_lost=True),
        "injected-lost-release": Reported("pages", None, slots_lost=True),
    }
)


def recorded(lab: Lab, kernel: str, *workloads: str) -> dict[str, Replayed]:
    """What replaying says of each workload, all of them recorded in one machine."""
    lines = (f"$tool record -o '/results/{name}.swtrace' -- sh -c '{WORKLOADS[name]}' || exit" for name in workloads)
    shell = guest_shell("\n".join(("export python workloads", *lines)))
    ran = lab.run(Machine(kernel=kernel, swiotlb="512,force"), shell)
    assert ran.status == 0, ran.stderr
    return {name: replay(ran.files / f"{name}.swtrace") for name in workloads}


def test_every_bug_has_a_report() -> None:
    assert set(REPORTED) == set(FAULTY)


@pytest.mark.parametrize("kernel", REPORTED)
def test_a_bug_is_reported_as_what_it_does(lab: Lab, kernel: str) -> None:
    workload, harm, slots_lost = REPORTED[kernel]
    replayed = recorded(lab, kernel, workload)[workload]
    report = replayed.report
    assert (replayed.status, report["verdict"], report["lost"]) == (Exit.DISAGREE, "disagree", 0)
    named = {violation.partition(":")[0] for violation in report["first_disagreement"]["violations"]}
    assert named == ({harm.value} if harm else set())
    assert bool(report["safety_violations"]) == bool(harm)
    assert [counter.split()[0] for counter in report["miscounts"]] == ["total_used"] * slots_lost
    assert report["disagree"] < report["agree"]


def test_the_kernel_without_them_is_said_to_agree_under_each_workload(lab: Lab) -> None:
    reports = {name: each.report for name, each in recorded(lab, "dynamic", *WORKLOADS).items()}
    assert {name: report["verdict"] for name, report in reports.items()} == dict.fromkeys(WORKLOADS, "agree")
    assert all(report["compared"] == report["agree"] > 500 and not report["miscounts"] for report in reports.values())
