"""A real kernel under load, recorded into one file after the other and into a pipe: each recording stands by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.events import Event, Find
from swiotlb_top.recording.clock import Moment
from swiotlb_top.recording.cut import cut
from swiotlb_top.recording.info import inspect
from swiotlb_top.verify import Doubt
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import events, guest_shell, replay, tried

MAPS = 20_011
PASSES = 4
STATUS = 7
LEAST_FILES = {"counted": 3, "busy": 2}
"""A machine that is busy has few moments at which a file can end: it grows beyond its size until there is one."""
MOST_INCONCLUSIVE = 0.001

SCRIPT = f"""
    busy="nice -n 19 sh $workloads/busy.sh {PASSES}"
    try counted $tool record -o /results/counted.swtrace --max-size 64K -- sh $workloads/counted.sh {MAPS} nvme0n1
    try busy $tool record -o /results/busy.swtrace --max-size 64K -- sh -c "$busy; exit {STATUS}"
    $tool record -o - -- sh -c "$busy; echo of the command" 2>/results/piped.err | cat >/results/piped.swtrace
"""


@pytest.fixture(scope="module")
def results(lab: Lab) -> Path:
    return lab.run(Machine(kernel="dynamic", cpus=2, swiotlb="512,force"), guest_shell(SCRIPT)).files


def files(results: Path, name: str) -> list[Path]:
    return sorted(results.glob(f"{name}.*.swtrace"))


def agrees(path: Path) -> int:
    """On a busy host it takes long to read a state, and more calls overlap it.

    :returns: how many operations were compared.
    """
    replayed = replay(path)
    report = replayed.report
    assert report["first_disagreement"] is None
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert (report["lost"], report["damage"]) == (0, "")
    overlap_the_state = report["inconclusive_because"].get(Doubt.DURING_STATE.value, 0)
    assert report["inconclusive"] - overlap_the_state <= MOST_INCONCLUSIVE * replayed.operations
    return int(report["compared"])


def test_the_status_is_that_of_the_command(results: Path) -> None:
    assert (tried(results, "counted").status, tried(results, "counted").err) == (0, "")
    assert (tried(results, "busy").status, tried(results, "busy").err) == (STATUS, "")
    assert f"the command ended with status {STATUS}" in tried(results, "busy").out.splitlines()


@pytest.mark.parametrize("name", LEAST_FILES)
def test_each_of_several_files_stands_by_itself(name: str, results: Path) -> None:
    assert len(files(results, name)) >= LEAST_FILES[name]
    assert not [*results.glob("*.partial")]
    *but_last, _ = [agrees(path) for path in files(results, name)]  # the last may have begun just before the end
    assert all(but_last)


def test_in_all_files_together_is_every_map_that_was_made(results: Path) -> None:
    made: set[Event] = set()
    for path in files(results, "counted"):
        made |= {event for event in events(path) if isinstance(event, Find) and not event.failed}
    assert len(made) == MAPS


def test_a_recording_through_a_pipe_is_whole(results: Path) -> None:
    assert agrees(results / "piped.swtrace")
    assert "of the command" in (results / "piped.err").read_text().splitlines()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_part_is_agreed_with(share: float, results: Path, tmp_path: Path) -> None:
    whole, part = results / "piped.swtrace", tmp_path / "part.swtrace"
    ended_ns = sorted(event.exit_ns for event in events(whole))
    end_ns = ended_ns[int(len(ended_ns) * share)] - inspect(whole).found.begin_ns
    cut(whole, part, None, Moment(end_ns, on_wall=False))
    assert agrees(part)
