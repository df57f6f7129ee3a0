"""Machines on which a sound kernel is easily blamed. On each it is recorded under load, replayed, and watched live."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.events import Device, Event, Find, Map, PoolAlloc
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import Replayed, Tried, events, guest_shell, replay, tried

OPERATIONS = 20_000
FRAMES = 12
RING_BYTES = 64 << 20
PAGE_MASK = 4095

CHURN = "sh $workloads/churn.sh"
PARTS = "sh $workloads/parts_of_pages.sh"
STEADY = "sh $workloads/steady.sh"

SCRIPT = f"""
    try record $python $workloads/record_with.py /results/load.swtrace --ring-bytes {RING_BYTES} -- {{load}}
    if [ '{{steady}}' ]; then
        setsid nice -n 19 {{steady}} >/dev/null 2>&1 &
        try live $tool --source live --json -d 1 -n {FRAMES}
    fi
"""


@dataclass(frozen=True)
class Ran:
    """What came of one machine."""

    recorded: Tried
    replayed: Replayed
    events: list[Event]
    live: Tried | None
    frames: list[dict[str, Any]]

    @property
    def masks(self) -> set[tuple[int, int]]:
        """``alloc_align_mask`` and ``min_align_mask`` of the maps there were."""
        limits = {event.dev: event.min_align_mask for event in self.events if isinstance(event, Device)}
        return {(event.alloc_align_mask, limits[event.dev]) for event in self.events if isinstance(event, Find | Map)}


def an_address_is_that_of_several_pools(ran: Ran) -> None:
    pools = Counter(event.pool for event in ran.events if isinstance(event, PoolAlloc) and event.pool)
    assert max(pools.values()) > 1


def whole_pages_are_wanted_of_buffers_that_begin_anywhere_in_one(ran: Ran) -> None:
    """For nvme, which wants the offset kept, and for vda, which does not."""
    assert ran.masks == {(PAGE_MASK, PAGE_MASK), (PAGE_MASK, 0)}
    assert any(event.orig_addr & 2048 for event in ran.events if isinstance(event, Find | Map))


@dataclass(frozen=True)
class Hard:
    """A machine, what it does while it is recorded and then while it is watched, and what makes it hard."""

    machine: Machine
    load: str
    steady: str
    """Nothing: it is not watched."""
    proof: Callable[[Ran], None]


HARD = {
    "addresses of pools are used again, 6.12": Hard(
        Machine("dynamic-inlined"), CHURN, STEADY, an_address_is_that_of_several_pools
    ),
    "disks behind an IOMMU, not trusted": Hard(
        Machine("debian", cpus=2, swiotlb="8192,force", in_turn=True, behind_iommu=True),
        PARTS,
        "",
        whole_pages_are_wanted_of_buffers_that_begin_anywhere_in_one,
    ),
}


@pytest.fixture(scope="module", params=HARD)
def hard(request: pytest.FixtureRequest) -> Hard:
    return HARD[request.param]


@pytest.fixture(scope="module")
def ran(hard: Hard, lab: Lab) -> Ran:
    files = lab.run(hard.machine, guest_shell(SCRIPT.format(load=hard.load, steady=hard.steady))).files
    live = tried(files, "live") if hard.steady else None
    return Ran(
        recorded=tried(files, "record"),
        replayed=replay(files / "load.swtrace"),
        events=events(files / "load.swtrace"),
        live=live,
        frames=[json.loads(line) for line in live.out.splitlines()] if live else [],
    )


def test_what_makes_the_machine_hard_was_there(hard: Hard, ran: Ran) -> None:
    hard.proof(ran)


def test_of_tens_of_thousands_of_operations_none_is_blamed(ran: Ran) -> None:
    assert (ran.recorded.status, ran.recorded.err) == (Exit.OK, "")
    report = ran.replayed.report
    assert report["first_disagreement"] is None
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert (report["lost"], report["damage"]) == (0, "")
    assert ran.replayed.operations > OPERATIONS
    assert report["agree"] >= ran.replayed.operations * 9 // 10


def test_the_live_screen_blames_none_either(ran: Ran) -> None:
    if ran.live is None:
        return
    # Maps may fail on these machines, and the status tells of that.
    assert ran.live.status in (Exit.OK, Exit.DISAGREE, Exit.INCONCLUSIVE)
    assert ran.live.err == ""
    assert len(ran.frames) == FRAMES
    verdicts = [frame["verdict"] for frame in ran.frames if frame["verdict"]]
    assert [(verdict["disagree"], verdict["safety_violations"]) for verdict in verdicts] == [(0, 0)] * len(verdicts)
    assert verdicts[-1]["agree"] > 0
