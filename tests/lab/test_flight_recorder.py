"""The flight recorder on a distribution's own kernel: in a while a disk stalls, and the file has what came before.

While it goes on stalling, this machine is sized, too. On a kernel with a bug, a file has what the reference does not.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.events import Find, Map
from swiotlb_top.state import MemState
from swiotlb_top.trace import TraceReader
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Replayed, events, guest_shell, ran_well, replay, tried

BEFORE_S = 5
"""So much of what came before the first failure has to be in the file."""

SCRIPT = f"""
    until_seen() {{
        tries=0
        until ls $1 >/dev/null 2>&1 || [ $tries -eq 1200 ]; do tries=$((tries + 1)); sleep 0.5; done
    }}
    busy() {{ awk '{{ print $14 + $15 }}' /proc/$flight/stat; }}

    $tool record --flight 10s --rearm 600 >/results/flight.out 2>/results/flight.err &
    flight=$!
    until_seen /run/swiotlb-top/flight.pid
    until grep -q 'are held in memory' /results/flight.out || ! kill -0 $flight; do sleep 0.2; done
    sleep 1
    grep Cap /proc/$flight/status >/results/capabilities
    busy >/results/ticks
    sleep {BEFORE_S + 15}
    busy >>/results/ticks

    sh $workloads/stall.sh 4 >/results/workload    # its readers stay, and the stall with them
    until_seen '/run/swiotlb-top/*-failure.swtrace'
    sleep 5
    try asked $tool snapshot
    kill $flight
    wait $flight
    echo $? >/results/flight.status
    try again $tool snapshot
    export TMPDIR=/run/scratch
    mkdir $TMPDIR
    try sized $tool size --live --duration 5 --json    # the stall still goes on
    ls -A $TMPDIR >/results/scratch
    ls -A /run/swiotlb-top >/results/left
    cp /run/swiotlb-top/*.swtrace /results
"""


FAULTY = f"""
    $tool record --flight 60s --on disagreement >/results/flight.out 2>/results/flight.err &
    flight=$!
    until grep -q 'are held in memory' /results/flight.out || ! kill -0 $flight; do sleep 0.2; done
    sleep {BEFORE_S}
    tries=0
    until ls /run/swiotlb-top/*-disagreement.swtrace >/dev/null 2>&1 || [ $tries -eq 120 ]; do
        dd if=/dev/nvme0n1 bs=16k count=20 iflag=direct of=/dev/null status=none
        tries=$((tries + 1))
        sleep 0.5
    done
    kill $flight
    wait $flight
    echo $? >/results/flight.status
    cp /run/swiotlb-top/*.swtrace /results
"""
"""Few calls a second, so that the judge can judge all of them."""


@pytest.fixture(scope="module")
def faulty(lab: Lab) -> Path:
    """A guest whose kernel forgets to give back the last slot of some mappings."""
    return ran_well(lab.run(Machine(kernel="injected-lost-release"), guest_shell(FAULTY))).files


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    """One guest, whose disk stalls some time after the recorder has begun."""
    return ran_well(lab.run(Machine(kernel="debian", swiotlb="256,force"), guest_shell(SCRIPT))).files


def recording(files: Path, reason: str) -> Path:
    (path,) = files.glob(f"swiotlb-*Z-{reason}.swtrace")
    return path


def agrees(path: Path) -> Replayed:
    """The replay of a recording that is whole, and in which every operation agrees."""
    replayed = replay(path)
    report = replayed.report
    assert report["compared"] == report["agree"] == replayed.operations > 0
    assert (report["disagree"], report["inconclusive"], report["safety_violations"]) == (0, 0, 0)
    assert (report["lost"], report["miscounts"], replayed.status) == (0, [], Exit.OK)
    return replayed


def test_the_first_failure_is_in_the_file_and_seconds_before_it(files: Path) -> None:
    path = recording(files, "failure")
    first = next(event for event in events(path) if isinstance(event, Find | Map) and event.failed)
    state = next(item for item in TraceReader(path).stream())
    assert isinstance(state, MemState)
    assert first.exit_ns - state.begin_ns >= BEFORE_S * 1_000_000_000


def test_the_file_is_complete_and_the_reference_fails_what_the_kernel_failed(files: Path) -> None:
    assert agrees(recording(files, "failure")).report["map_failures"] > 0


def test_a_stall_that_goes_on_makes_one_file_and_who_asks_gets_another(files: Path) -> None:
    asked = tried(files, "asked")
    path = recording(files, "asked")
    assert (asked.status, asked.out, asked.err) == (Exit.OK, f"/run/swiotlb-top/{path.name}\n", "")
    assert (files / "left").read_text().split() == sorted(["flight.pid", path.name, recording(files, "failure").name])
    assert agrees(path).report["map_failures"] > 0


def test_it_holds_no_capability_once_it_records(files: Path) -> None:
    capabilities = dict(line.split() for line in (files / "capabilities").read_text().splitlines())
    assert {int(capabilities[f"Cap{kind}:"], 16) for kind in ("Prm", "Eff", "Inh", "Amb", "Bnd")} == {0}


def test_told_to_end_it_ends_well_and_nobody_can_ask_it_any_more(files: Path) -> None:
    assert (files / "flight.status").read_text() == "0\n"
    assert (files / "flight.err").read_text() == ""
    assert [
        line.partition(": ")[0].rpartition("-")[2] for line in (files / "flight.out").read_text().splitlines()[1:]
    ] == [
        "failure.swtrace",
        "asked.swtrace",
    ]
    again = tried(files, "again")
    assert (again.status, again.out) == (Exit.CANNOT, "")
    assert "no flight recorder writes into /run/swiotlb-top" in again.err


def test_a_machine_that_fails_maps_is_sized_while_it_runs(files: Path) -> None:
    sized = tried(files, "sized")
    assert (sized.status, sized.err) == (Exit.INCONCLUSIVE, "")  # where maps failed, the answer is a least
    told = json.loads(sized.out)
    assert (told["worst"], told["at_least"]) == ("this machine", True)
    assert told["recommended_nslabs"] >= 512
    (member,) = told["recordings"]
    assert member["today"]["nslabs"] == 256 < member["fails_below_nslabs"]
    assert member["map_failures"] > 0
    (disk,) = (device for device in member["devices"] if device["failures"])
    assert disk["known_as"] == "vda"
    assert disk["queue_requests"] > 0
    assert (files / "scratch").read_text() == ""


def test_what_the_reference_does_not_do_writes_a_file_that_shows_it(faulty: Path) -> None:
    path = recording(faulty, "disagreement")
    replayed = replay(path)
    report = replayed.report
    assert (replayed.status, report["verdict"], report["lost"]) == (Exit.DISAGREE, "disagree", 0)
    assert report["agree"] > report["disagree"] > 0


def test_that_file_has_what_came_before_the_disagreement_and_there_is_no_other(faulty: Path) -> None:
    assert replay(recording(faulty, "disagreement")).report["first_disagreement"]["operation"] > 1
    assert len((faulty / "flight.out").read_text().splitlines()) == 2
    assert (faulty / "flight.err").read_text() == ""
    assert (faulty / "flight.status").read_text() == "0\n"
