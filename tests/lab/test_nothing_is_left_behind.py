"""However the tool ends, the kernel has nothing of it afterwards; and what was recorded can be read."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.vm import Result
from tests.lab.support.tool import guest_shell, ran_well, replay

NOTHING = {"programs": 0, "links": 0, "maps": 0, "traced": 0}
MAPS = 1009

STATUSES = {
    "end": {"record": 0},
    "SIGINT": {"record": 0, "screen": 128 + signal.SIGINT},
    "SIGTERM": {"record": 0, "screen": -signal.SIGTERM},
    "SIGKILL": {"record": -signal.SIGKILL, "screen": -signal.SIGKILL, "kprobe": -signal.SIGKILL},
}
"""How both commands, and a recorder that was made to use kprobes, end; negative: by that signal."""


@pytest.fixture(scope="module")
def ran(lab: Lab) -> Result:
    script = "$python $workloads/endings.py /results"
    return ran_well(lab.run(Machine(kernel="dynamic", swiotlb="512,force"), guest_shell(script)))


@pytest.fixture(scope="module")
def rounds(ran: Result) -> dict[str, dict[str, Any]]:
    return {one["ending"]: one for one in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("ending", STATUSES)
def test_the_kernel_is_as_it_was_before(rounds: dict[str, dict[str, Any]], ending: str) -> None:
    one = rounds[ending]
    assert set(STATUSES[ending]) <= set(one["attached"])
    assert all(one["attached"].values())
    assert all(count > 0 for count in one["during"].values())
    assert one["after"] == NOTHING


@pytest.mark.parametrize("ending", STATUSES)
def test_the_status_says_how_it_ended(rounds: dict[str, dict[str, Any]], ending: str) -> None:
    assert rounds[ending]["statuses"] == STATUSES[ending]


@pytest.mark.parametrize("ending", ["end", "SIGINT", "SIGTERM"])
def test_a_recorder_that_is_told_to_stop_leaves_a_whole_recording(ran: Result, ending: str) -> None:
    replayed = replay(ran.files / f"record-{ending}")
    assert (replayed.report["maps"], replayed.report["verdict"], replayed.report["damage"]) == (MAPS, "agree", "")
    assert replayed.status == Exit.OK
    assert not (ran.files / f"record-{ending}.partial").exists()


def test_a_recorder_that_is_killed_leaves_what_it_had_and_that_is_said(ran: Result) -> None:
    assert not (ran.files / "record-SIGKILL").exists()
    replayed = replay(ran.files / "record-SIGKILL.partial")
    assert replayed.status == Exit.UNREADABLE
    assert replayed.report["damage"]
    assert 0 < replayed.report["maps"] <= MAPS
    assert replayed.report["disagree"] == 0


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_the_screens_frames_are_whole_lines_up_to_the_end(ran: Result, ending: str) -> None:
    text = Path(ran.files / f"screen-{ending}").read_text()
    assert text.endswith("\n")
    assert all(json.loads(line)["source"] == "live" for line in text.splitlines())
