"""`swiotlb-top size` put to the proof: a workload is recorded where it falls short, and booted with what is answered.

Each boot does the same: so many requests, however long they take, of disks that serve no more than a few a second. So
all that may be in a disk at once is in it at once, on every boot and however fast the host is; and as many slots are in
use. What is answered decides what is booted next: nothing else says how large a pool is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import debugfs_counters, guest_shell, ran_well, replay, size

MOST_ROUNDS: Final = 6
"""Boots until an answer is no least any more; with more, something goes round in circles."""
CLOSE: Final = 0.05
"""So much may the high water that was predicted differ from the kernel's own."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done on each boot, and the boot that falls short."""

    name: str
    machine: Machine
    command: str
    """For a guest's shell."""


WORKLOADS: Final = (
    # Four requests of four segments of 256 KiB: 515 slots each, with header, status and table. Of 256 slots none can
    # have that: the disk stands still, and whatever waits behind the first request is never asked for.
    Workload(
        "stalled virtio-blk",
        Machine(kernel="debian", swiotlb="256,force", disk_requests_per_second=4),
        "python3 $workloads/large.py vda 4 4",
    ),
    # 17 requests at once that begin in the second half of a page. Those of 252 KiB take 127 slots from slot 1 of a slot
    # set on, so that no other one has room beside them: of 2048 slots, the last has none.
    Workload(
        "unaligned nvme",
        Machine(kernel="debian", swiotlb="2048,force", disk_requests_per_second=17),
        "python3 $workloads/crowd.py nvme0n1 1 3",
    ),
    # Eight readers of 32 pages each on one disk; on the other eight of 126 pieces of a slot, and four of a page.
    Workload(
        "four CPUs busy",
        Machine(kernel="debian", cpus=4, swiotlb="1024,force", disk_requests_per_second=10),
        "python3 $workloads/readers.py nvme0n1:8:4:32:4096 vda:8:4:126:512 vda:4:4:1:4096",
    ),
    # Up, the card holds some 210 slots. Beside them there is no room for two requests of the stalled disk.
    Workload(
        "card's ring beside a disk",
        Machine(kernel="debian", swiotlb="1024,force", disk_requests_per_second=2),
        "busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up\npython3 $workloads/large.py vda 4 2",
    ),
    # Ten readers of 126 pages each: 2520 slots at once.
    Workload(
        "dynamic growth",
        Machine(kernel="dynamic", swiotlb="512,force", disk_requests_per_second=10),
        "python3 $workloads/readers.py nvme0n1:10:3:126:4096",
    ),
)

_SCRIPT: Final = """
export workloads
cat >/tmp/workload <<'END'
{command}
END
$tool record -o /results/boot.swtrace -- sh $workloads/while_it_runs.sh sh /tmp/workload || exit
debugfs
dmesg | grep -c 'swiotlb buffer is full' >/results/full_lines
true
"""


@dataclass(frozen=True)
class Answer:
    """What `size --json` says of one recording."""

    status: int
    told: Mapping[str, Any]

    @property
    def recommended(self) -> Mapping[str, Any]:
        """Its line of the table."""
        return next(row for row in self.told["configurations"] if row["nslabs"] == self.told["recommended_nslabs"])

    @property
    def too_small(self) -> Mapping[str, Any]:
        """The largest that it says falls short: some fail in it for certain, or it grows."""
        rows = (*self.told["configurations"], self.told["recordings"][0]["today"])
        short = [row for row in rows if row["standing"] == "fails" or row["pools_added"] or row["transient_pools"]]
        return max(
            (row for row in short if row["nslabs"] < self.told["recommended_nslabs"]), key=lambda row: row["nslabs"]
        )

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Slots below which some map fails, and from which on none does, if that is known."""
        recording = self.told["recordings"][0]
        return recording["fails_below_nslabs"], recording["never_fails_from_nslabs"]

    @property
    def how_sure(self) -> str:
        if self.told["at_least"]:
            return "a least"
        return "certain" if self.told["certain"] else "simulated"


@dataclass(frozen=True)
class Boot:
    """What a workload came to on one boot."""

    nslabs: int
    recording: Path
    ended: bool
    """Whether it did all it had to do; else a disk stands still."""
    judged: Mapping[str, Any]
    """What `replay --json` says of the recording."""
    answer: Answer
    high_water_slots: int | None
    """The kernel's own; None where it keeps none."""
    full_lines: int
    """How often the kernel's log says that swiotlb is full."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing in the recording, and the reference allocator did as the kernel."""
        return (self.judged["lost"], self.judged["disagree"], self.judged["safety_violations"]) == (0, 0, 0)

    @property
    def falls_short(self) -> bool:
        """Whether a map failed, or a pool was added for one."""
        return bool(self.judged["map_failures"] or self.judged["pools_added"] or self.judged["transient_pools"])

    @property
    def failures(self) -> str:
        """How many, in words, and what else there was of it."""
        grown = f", {self.judged['pools_added']} pools added, {self.judged['transient_pools']} transient"
        stands = "" if self.ended else ", stands still"
        return f"{self.judged['map_failures']}{grown if self.judged['transient_pools'] else ''}{stands}"


@dataclass(frozen=True)
class Proof:
    """A workload from the boot that falls short to the one that does not, and to the one that is called too small."""

    workload: Workload
    rounds: tuple[Boot, ...]
    """The boot that falls short, and those that an answer sent to that was a least. The last answer is none."""
    rebooted: Boot
    """With what the last answer recommends."""
    smaller: Boot
    """With the largest of what it says falls short."""

    @property
    def boots(self) -> tuple[Boot, ...]:
        """All of them."""
        return (*self.rounds, self.rebooted, self.smaller)

    @property
    def answer(self) -> Answer:
        """The last."""
        return self.rounds[-1].answer

    @property
    def predicted_slots(self) -> int:
        """High water at the recommended size."""
        return int(self.answer.recommended["high_water_slots"])

    @property
    def is_close(self) -> bool:
        """Whether the kernel's own high water is as predicted, where the kernel keeps one."""
        own = self.rebooted.high_water_slots
        return own is None or abs(self.predicted_slots - own) <= CLOSE * own

    @property
    def is_bracketed(self) -> bool:
        """Whether all that fell short was below what never fails, and all that did not was above what surely fails.

        What is surely too little is so by every answer; what never fails is only said by one that is no least.
        """
        fails_below = max(boot.answer.bounds[0] for boot in self.boots)
        never_fails_from = self.answer.bounds[1]
        return all(
            (never_fails_from is None or boot.nslabs < never_fails_from)
            if boot.falls_short
            else boot.nslabs >= fails_below
            for boot in self.boots
        )


def boot(lab: Lab, workload: Workload, swiotlb: str) -> Boot:
    """Boot a machine with `swiotlb=` and do a workload in it. AssertionError if the guest's tool does not do well."""
    ran = ran_well(
        lab.run(replace(workload.machine, swiotlb=swiotlb), guest_shell(_SCRIPT.format(command=workload.command)))
    )
    recording = ran.files / "boot.swtrace"
    return Boot(
        int(swiotlb.partition(",")[0]),
        recording,
        "ended\n" in ran.stdout,
        replay(recording).report,
        Answer(*size(recording)),
        debugfs_counters(ran.stdout).get("io_tlb_used_hiwater") or None,
        int((ran.files / "full_lines").read_text()),
    )


def prove(lab: Lab, workload: Workload) -> Proof:
    """Follow the answers, as the tool tells its users to. AssertionError where they lead nowhere."""
    rounds = [boot(lab, workload, workload.machine.swiotlb)]
    while rounds[-1].answer.told["at_least"]:
        assert len(rounds) < MOST_ROUNDS, [one.nslabs for one in rounds]
        rounds.append(boot(lab, workload, _swiotlb(rounds[-1].answer.recommended)))
    answer = rounds[-1].answer
    reboots = (boot(lab, workload, _swiotlb(row)) for row in (answer.recommended, answer.too_small))
    return Proof(workload, tuple(rounds), *reboots)


def _swiotlb(row: Mapping[str, Any]) -> str:
    return f"{row['nslabs']},{row['areas']},force"
