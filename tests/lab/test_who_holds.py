"""A network card that held its ring before anybody attached is named by it within seconds, on each kind of kernel; and
the most that was held at once is what the kernel counts, where it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import VIRTIO_BLK, debugfs_counters, guest_shell, ran_well, tried

RING_SLOTS = 150
"""The card's buffers take at least so many slots, from before the screen is there."""
NAMED_NS = 10_000_000_000

SCRIPT = """
    try peak $python -m tests.lab.workloads.peak $python $workloads/large.py vda 16
    $python $workloads/transfer.py 1 >/results/first
    $tool --source live --json -d 1 -n 15 >/results/frames.json &
    screen=$!
    for _ in $(seq 200); do [ -s /results/frames.json ] && break; sleep 0.2; done
    $python $workloads/transfer.py 4 0.1 >/results/second
    wait $screen
    debugfs >/results/after
"""


class Ran(NamedTuple):
    kernel: str
    files: Path
    frames: list[dict[str, Any]]

    @property
    def peak(self) -> Any:
        peak = tried(self.files, "peak")
        assert (peak.status, peak.err) == (0, "")
        return json.loads(peak.out)


MACHINES = {"debian": "1024,force", "dynamic": "1024,force", "dynamic-7.3": "1024,force,track_hiwater"}


@pytest.fixture(scope="module", params=MACHINES)
def ran(request: pytest.FixtureRequest, lab: Lab) -> Ran:
    machine = Machine(kernel=request.param, swiotlb=MACHINES[request.param])
    result = ran_well(lab.run(machine, guest_shell(SCRIPT)))
    frames = [json.loads(line) for line in (result.files / "frames.json").read_text().splitlines()]
    return Ran(request.param, result.files, frames)


def held(frame: dict[str, Any]) -> dict[str, int]:
    return {device["driver"]: device["held_slots"] for device in frame["devices"] if device["held_slots"]}


def test_what_was_there_before_is_nobody_s_at_first(ran: Ran) -> None:
    assert ran.frames[0]["unowned_slots"] > RING_SLOTS
    assert sum(held(ran.frames[0]).values()) < RING_SLOTS


def test_the_card_is_named_within_ten_seconds(ran: Ran) -> None:
    began_ns = ran.frames[0]["time_ns"]
    named = [
        frame for frame in ran.frames if held(frame).get("virtio_net", held(frame).get("virtio-pci", 0)) > RING_SLOTS
    ]
    assert named, [held(frame) for frame in ran.frames]
    assert named[0]["time_ns"] - began_ns <= NAMED_NS


def test_in_the_end_every_slot_in_use_has_its_holder(ran: Ran) -> None:
    last = ran.frames[-1]
    assert last["used_slots"] == debugfs_counters((ran.files / "after").read_text())["io_tlb_used"]
    assert sum(held(last).values()) + last["unowned_slots"] == last["used_slots"]
    assert last["unowned_slots"] == 0


def test_the_most_that_was_held_is_what_the_kernel_counts(ran: Ran) -> None:
    assert ran.peak["devices"] == {VIRTIO_BLK: [ran.peak["kernel"], 0]}
    assert ran.peak["kernel"] > 128
    assert ran.peak["of_all"] == (ran.peak["kernel"] if ran.kernel == "dynamic-7.3" else -1)


@pytest.mark.parametrize("kernel", ["debian", "debian-6.1", "debian-7.3"])
def test_who_asked_for_a_map_that_failed_is_named(kernel: str, lab: Lab) -> None:
    script = "sh $workloads/stall.sh 4 >/results/workload; try check $tool check --seconds 5 --json"
    files = ran_well(lab.run(Machine(kernel=kernel, swiotlb="256,force"), guest_shell(script))).files
    (found, *_) = json.loads(tried(files, "check").out)["findings"]
    (sentence,) = (sentence for sentence in found["evidence"] if "asked for by" in sentence)
    assert "virtqueue_add" in sentence
    assert re.search(r"< virt(blk|io)_\w+", sentence)
    assert "swiotlb" not in sentence
    assert "?" not in sentence


def test_where_the_kernel_keeps_no_high_water_it_is_that_since_the_probes_came(lab: Lab) -> None:
    script = "try frame $tool --source live --json -n 1 -d 2"
    files = ran_well(lab.run(Machine(kernel="dynamic-7.3", swiotlb="512,force"), guest_shell(script))).files
    frame = json.loads(tried(files, "frame").out)
    assert frame["hiwater_is_own"]
    assert frame["used_hiwater_slots"] >= frame["used_slots"] >= 0
