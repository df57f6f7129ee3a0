"""That every task has left the kernel, or slept, is known by a trampoline that comes and goes; nothing stays of it."""

from __future__ import annotations

import json

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell

TIMES = 3


@pytest.mark.parametrize(
    ("kernel", "words", "preemption"),
    [("dynamic", (), "NONE"), ("debian-7.3", (), "PREEMPTED"), ("debian", ("preempt=full",), "PREEMPTED")],
)
def test_waiting_ends_and_leaves_nothing_behind(lab: Lab, kernel: str, words: tuple[str, ...], preemption: str) -> None:
    machine = Machine(kernel=kernel, swiotlb="512,force", extra_cmdline=words)
    ran = lab.run(machine, guest_shell(f"$python -m tests.lab.workloads.wait_for_tasks {TIMES}"))
    assert (ran.status, ran.stderr) == (0, "")
    said = json.loads(ran.stdout)
    assert said["preemption"] == preemption
    assert [known for known, _ in said["waits"]] == [True] * TIMES
    assert not any(said["after"].values())
