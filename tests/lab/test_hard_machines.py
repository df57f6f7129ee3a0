"""Machines on which a sound kernel is easily blamed. On each it is recorded under load, replayed, and watched live."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from swiotlb_top.accounting.bounces import Reason, because
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.errors import Exit
from swiotlb_top.events import ENTRY_UNKNOWN, Device, Event, Find, Map, PoolAlloc, Unmap
from swiotlb_top.kernel.around import of_recording
from tests.lab.harness.holding import KEEP_SYMBOLS, Holding
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Replayed, Tried, events, guest_shell, replay, tried

OPERATIONS = 10_000
FRAMES = 12
RING_BYTES = 64 << 20
HELD_S = 0.3
PAGE_MASK = 4095

CHURN = "sh $workloads/churn.sh"
BUSY = "nice -n 19 sh $workloads/busy.sh 4"
BUSY_FOR_LONG = "nice -n 19 sh $workloads/busy.sh 8"
"""Long enough for a CPU to be caught in a call several times, however slow the host is."""
PARTS = "sh $workloads/parts_of_pages.sh"
CPUS_CHANGE = "sh $workloads/hotplug.sh nice -n 19 sh $workloads/busy.sh 1"
STEADY = "sh $workloads/steady.sh"
STEADY_PARTS = "python3 $workloads/readers.py nvme0n1:2:1000000:32:1536:2304 vda:2:1000000:126:512:2560"

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
    holding: Holding

    @property
    def cpus(self) -> set[int]:
        """Those that mapped anything."""
        return {event.cpu for event in self.events if isinstance(event, Find | Map)}

    @property
    def masks(self) -> set[tuple[int, int]]:
        """``alloc_align_mask`` and ``min_align_mask`` of the maps there were."""
        limits = {event.dev: event.min_align_mask for event in self.events if isinstance(event, Device)}
        return {(event.alloc_align_mask, limits[event.dev]) for event in self.events if isinstance(event, Find | Map)}

    @property
    def longest_call_ns(self) -> int:
        calls = [event for event in self.events if isinstance(event, Find | Map | Unmap)]
        return max(call.exit_ns - call.entry_ns for call in calls if call.entry_ns != ENTRY_UNKNOWN)


def an_address_is_that_of_several_pools(ran: Ran) -> None:
    pools = Counter(event.pool for event in ran.events if isinstance(event, PoolAlloc) and event.pool)
    assert max(pools.values()) > 1


def all_four_cpus_map(ran: Ran) -> None:
    assert ran.cpus == {0, 1, 2, 3}


def whole_pages_are_wanted_of_buffers_that_begin_anywhere_in_one(ran: Ran) -> None:
    """For nvme, which wants the offset kept, and for vda, which does not."""
    assert ran.masks == {(PAGE_MASK, PAGE_MASK), (PAGE_MASK, 0)}
    assert any(event.orig_addr & 2048 for event in ran.events if isinstance(event, Find | Map))
    devices = Devices(look=lambda _: of_recording("x86_64", ()))
    devices.feed(ran.events)
    reasons = [[told.reason for told in because(device.evidence())] for device in devices.values()]
    assert reasons == [[Reason.UNTRUSTED]] * len(devices)


def a_call_takes_as_long_as_its_cpu_is_held(ran: Ran) -> None:
    assert ran.longest_call_ns > HELD_S * 1e9
    assert sum(ran.holding.held.values()) >= 3


@dataclass(frozen=True)
class Hard:
    """A machine, what it does while it is recorded and then while it is watched, and what makes it hard."""

    machine: Machine
    load: str
    steady: str
    """Nothing: it is not watched. With each burst probes come and go, which CPUs that are emulated bear only in turn;
    and one that is held would hold them all then."""
    proof: Callable[[Ran], None]
    held_s: float = 0
    may_lose: bool = False
    """Since 6.15 a ring buffer's lock is given up after 250 ms (rqspinlock), and CPUs that run in turn stand still for
    longer: what is lost then is told, and what is known is judged."""


HARD = {
    "addresses of pools are used again, 6.12": Hard(
        Machine("dynamic-inlined", memory_mb=2048), CHURN, STEADY, an_address_is_that_of_several_pools
    ),
    "addresses of pools are used again, 7.3": Hard(
        Machine("dynamic-7.3", memory_mb=2048), CHURN, STEADY, an_address_is_that_of_several_pools
    ),
    "7.3 as Debian ships it, on four CPUs": Hard(
        Machine("debian-7.3", cpus=4, swiotlb="8192,force", in_turn=True),
        BUSY,
        STEADY,
        all_four_cpus_map,
        may_lose=True,
    ),
    "disks behind an IOMMU, not trusted": Hard(
        Machine("debian", cpus=2, swiotlb="8192,force", in_turn=True, behind_iommu=True),
        PARTS,
        STEADY_PARTS,
        whole_pages_are_wanted_of_buffers_that_begin_anywhere_in_one,
    ),
    "CPUs come and go": Hard(
        Machine("dynamic", cpus=4, in_turn=True, extra_cmdline=("maxcpus=2",)), CPUS_CHANGE, STEADY, all_four_cpus_map
    ),
    "a CPU stands still in the middle of a call": Hard(
        Machine("dynamic-inlined", cpus=4), BUSY_FOR_LONG, "", a_call_takes_as_long_as_its_cpu_is_held, HELD_S
    ),
}


@pytest.fixture(scope="module", params=HARD)
def hard(request: pytest.FixtureRequest) -> Hard:
    return HARD[request.param]


@pytest.fixture(scope="module")
def ran(hard: Hard, lab: Lab) -> Ran:
    holding = Holding(hard.held_s, pause_s=0.1)
    script = SCRIPT.format(load=hard.load, steady=hard.steady)
    if hard.held_s:
        script = KEEP_SYMBOLS + script
    files = lab.run(hard.machine, guest_shell(script), meanwhile=holding if hard.held_s else None).files
    live = tried(files, "live") if hard.steady else None
    return Ran(
        recorded=tried(files, "record"),
        replayed=replay(files / "load.swtrace"),
        events=events(files / "load.swtrace"),
        live=live,
        frames=[json.loads(line) for line in live.out.splitlines()] if live else [],
        holding=holding,
    )


def test_what_makes_the_machine_hard_was_there(hard: Hard, ran: Ran) -> None:
    hard.proof(ran)


def test_of_tens_of_thousands_of_operations_none_is_blamed(hard: Hard, ran: Ran) -> None:
    assert (ran.recorded.status, ran.recorded.err) == (Exit.OK, "")
    report = ran.replayed.report
    assert report["first_disagreement"] is None
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert report["lost"] == 0 or hard.may_lose
    assert report["damage"] == ""
    assert report["agree"] + report["inconclusive"] > OPERATIONS
    assert report["agree"] > OPERATIONS or report["lost"], "what is inconclusive where nothing was lost?"


def test_the_live_screen_blames_none_either(hard: Hard, ran: Ran) -> None:
    if ran.live is None:
        return
    # Maps may fail on these machines, and the status tells of that.
    assert ran.live.status in (Exit.OK, Exit.DISAGREE, Exit.INCONCLUSIVE)
    assert ran.live.err == ""
    assert len(ran.frames) == FRAMES
    verdicts = [frame["verdict"] for frame in ran.frames if frame["verdict"]]
    assert [(verdict["disagree"], verdict["safety_violations"]) for verdict in verdicts] == [(0, 0)] * len(verdicts)
    lost = ran.frames[-1]["lost"]
    assert verdicts[-1]["agree"] > 0 or (lost and hard.may_lose), "a burst that lost a call says nothing"
