"""A ring that overflows: what is missing is told and counted, and what comes after is judged again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.events import Find, Gap, Unmap
from swiotlb_top.reports.replay import replay as judged
from swiotlb_top.verify import Verdict
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Replayed, Tried, events, guest_shell, ran_well, replay, tried
from tests.support import doctoring

RING_BYTES = 4096
"""56 records: the two of each map of counted.sh with 1009 requests do not fit, those of 23 do."""
MAPS = 23 + 1009 + 5 * 23
LEAST_RECORDS_LOST = 2 * 1009 - 56 - 1

# Stopped, the recorder cannot take anything out of the ring, however slow the guest is. $PPID is the recorder.
SCRIPT = f"""
    try record $python $workloads/record_with.py /results/lossy.swtrace --ring-bytes {RING_BYTES} -- sh -c '
        counted=tests/lab/workloads/counted.sh
        sh $counted 23
        sleep 2
        kill -STOP $PPID
        sh $counted 1009
        sleep 2
        kill -CONT $PPID
        sleep 2
        for _ in 1 2 3 4 5; do sh $counted 23; sleep 0.5; done'
"""


@pytest.fixture(scope="module")
def results(lab: Lab) -> Path:
    ran = ran_well(lab.run(Machine(kernel="dynamic", swiotlb="512,force"), guest_shell(SCRIPT)))
    return ran.files


@pytest.fixture(scope="module")
def trace(results: Path) -> Path:
    return results / "lossy.swtrace"


@pytest.fixture(scope="module")
def recorded(results: Path) -> Tried:
    return tried(results, "record")


@pytest.fixture(scope="module")
def replayed(trace: Path) -> Replayed:
    return replay(trace)


def test_the_counters_miss_nothing(recorded: Tried) -> None:
    assert (recorded.status, recorded.err) == (0, "")
    assert re.search(rf"^maps {MAPS}, failed 0, unmaps {MAPS}, lost \d+$", recorded.out, re.MULTILINE), recorded.out


def test_every_operation_is_recorded_or_told_as_lost(trace: Path, replayed: Replayed) -> None:
    recorded = sum(isinstance(event, Find | Unmap) for event in events(trace))
    assert replayed.report["lost"] >= LEAST_RECORDS_LOST
    assert recorded + replayed.report["lost"] == 2 * MAPS


def test_the_verdict_is_inconclusive_and_never_a_disagreement(replayed: Replayed) -> None:
    report = replayed.report
    assert (report["verdict"], replayed.status) == ("inconclusive", Exit.INCONCLUSIVE)
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert report["inconclusive_because"] == {"after a gap": report["inconclusive"]}


def test_what_comes_after_the_gap_agrees_again(trace: Path, replayed: Replayed, tmp_path: Path) -> None:
    entries = doctoring.load(trace)
    gap = next(at for at, entry in enumerate(entries) if isinstance(entry, Gap))
    before = judged(doctoring.save(doctoring.cut(entries, gap), tmp_path / "before.swtrace")).findings
    assert before.verdict is Verdict.AGREE
    assert before.agree == 2 * 23
    assert replayed.report["agree"] > before.agree
