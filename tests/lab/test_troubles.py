"""Each trouble that a device can bring swiotlb into, on a distribution's own kernel: `check` finds it, and no other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.accounting.finding import Kind
from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell, ran_well, tried

SLOTS = 1024
"""In one area: the machine has one CPU."""
DEVICE = "swiotlb_trouble.0"


@dataclass(frozen=True)
class Trouble:
    """What the device is told, see workloads/in_trouble.py."""

    name: str
    before: str
    meanwhile: str
    pause_s: float
    kinds: frozenset[Kind]
    """Each of these is found, and no other trouble."""
    cause: str = ""
    """Of its failed maps, as the reference explains them."""
    seconds: int = 6


TROUBLES = (
    Trouble("sound", "map 4096 10", "map 4096 20;unmap 20 1", 0.1, frozenset()),
    Trouble("full", "map 2048 ALL", "map 4096 1", 0.2, frozenset({Kind.FULL, Kind.NEARLY_FULL}), "exhausted"),
    Trouble(
        "fragmented",
        "map 2048 ALL;unmap 400 2",
        "map 131072 1",
        0.2,
        frozenset({Kind.FRAGMENTED, Kind.NEARLY_FULL}),  # at the peak
        "fragmented",
    ),
    Trouble("too large", "", "map 524288 1", 0.2, frozenset({Kind.TOO_LARGE}), "too_large"),
    Trouble(
        "too large with padding",
        "align 4095;offset 1024",
        "map 262144 1",
        0.2,
        frozenset({Kind.TOO_LARGE}),
        "padded",
    ),
    # It has to begin in the second slot of a page, and with the first slot of no slot set 128 lie together.
    Trouble("unaligned", "align 4095;offset 2048", "map 262144 1", 0.2, frozenset({Kind.UNSUITED}), "misaligned"),
    Trouble("boundary", "boundary 4095", "map 8192 1", 0.2, frozenset({Kind.UNSUITED}), "boundary"),
    Trouble("nearly full", "map 2048 MOST", "map 2048 1;unmap 1 1", 0.2, frozenset({Kind.NEARLY_FULL})),
    Trouble("runaway", "", "map 131072 9;unmap 9 1", 2.5, frozenset({Kind.RUNAWAY}), seconds=45),
    Trouble("leak", "", "map 4096 3;map 4096 3;map 4096 3;unmap 1 1", 1.0, frozenset({Kind.LEAK}), seconds=60),
)


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    told = (
        f"try '{each.name}' $python $workloads/in_trouble.py {each.seconds} '{each.before}' '{each.meanwhile}' "
        f"{each.pause_s}; cat /sys/kernel/debug/swiotlb/io_tlb_used >'/results/{each.name}.after'"
        for each in TROUBLES
    )
    script = "\n".join((f"insmod {lab.trouble('debian')}", *told))
    return ran_well(lab.run(Machine(kernel="debian", swiotlb=f"{SLOTS},force"), guest_shell(script))).files


def said(files: Path, trouble: Trouble) -> Any:
    done = tried(files, trouble.name)
    assert done.err == ""
    return json.loads(done.out)


def found(files: Path, trouble: Trouble) -> dict[Kind, Any]:
    return {Kind(finding["kind"]): finding for finding in said(files, trouble)["findings"]}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_the_trouble_is_found_and_no_other(trouble: Trouble, files: Path) -> None:
    # What failed in a trouble before this one stands in the kernel's log.
    assert found(files, trouble).keys() - {Kind.FAILED_BEFORE} == trouble.kinds


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_the_device_that_brings_it_is_named(trouble: Trouble, files: Path) -> None:
    devices = {finding["device"] for kind, finding in found(files, trouble).items() if kind in trouble.kinds}
    assert devices - {None} <= {DEVICE}
    assert DEVICE in devices or trouble.kinds <= {Kind.NEARLY_FULL}


@pytest.mark.parametrize("trouble", [each for each in TROUBLES if each.cause], ids=lambda trouble: trouble.name)
def test_its_failed_maps_have_the_cause_that_was_brought_about(trouble: Trouble, files: Path) -> None:
    (finding,) = (one for kind, one in found(files, trouble).items() if kind in trouble.kinds - {Kind.NEARLY_FULL})
    assert f": {trouble.cause} " in finding["evidence"][0]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_the_status_says_whether_something_has_to_be_done(trouble: Trouble, files: Path) -> None:
    troubled = bool(trouble.kinds) or Kind.FAILED_BEFORE in found(files, trouble)
    assert tried(files, trouble.name).status == (Exit.DISAGREE if troubled else Exit.OK)


def test_with_the_trouble_over_no_slot_is_lost(files: Path) -> None:
    for trouble in TROUBLES:
        assert int((files / f"{trouble.name}.after").read_text()) < SLOTS // 2, trouble.name
