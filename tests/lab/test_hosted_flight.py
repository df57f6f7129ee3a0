"""The exporter as a flight recorder, on a distribution's own kernel whose disk stalls: it answers all the time.

Its recordings are as good as those of a recorder that does nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.events import Find, Map
from swiotlb_top.state import MemState
from swiotlb_top.stream import End
from swiotlb_top.trace import TraceReader
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.scraped import samples_of
from tests.lab.support.tool import events, guest_shell, ran_well, replay, tried

BEFORE_S = 5
"""So much of what came before the first failure has to be in the file."""
SCRAPED = ("swiotlb_up", "swiotlb_map_failures_total", "swiotlb_flight_recording", "swiotlb_flight_files_total")

SCRIPT = f"""
    url=http://127.0.0.1:9788/metrics
    belongings() {{
        $python -c 'import ctypes, dataclasses, json
from tests.lab.workloads.endings import belongings
print(json.dumps(dataclasses.asdict(belongings(ctypes.CDLL("libbpf.so.1"))), default=sorted))'
    }}
    belongings >/results/before
    $tool export --source live --flight 10s --rearm 600 --interval 1 >/results/export.out 2>/results/export.err &
    exporter=$!
    try begun $python $workloads/scrape.py $url --metric swiotlb_flight_recording
    grep Cap /proc/$exporter/status >/results/capabilities
    $python $workloads/scrapes.py $url /results/enough {" ".join(SCRAPED)} >/results/scrapes 2>&1 &
    scrapes=$!
    belongings >/results/during
    sleep {BEFORE_S + 5}

    sh $workloads/stall.sh 4 >/results/workload    # its readers stay, and the stall with them
    try failing $python $workloads/scrape.py $url --metric swiotlb_flight_files_total
    sleep 3
    try asked $tool snapshot
    try written $python $workloads/scrape.py $url --metric swiotlb_flight_files_total --above 1
    touch /results/enough
    wait $scrapes
    kill $exporter
    wait $exporter
    echo $? >/results/export.status
    try again $tool snapshot
    ls -A /run/swiotlb-top >/results/left
    cp /run/swiotlb-top/*.swtrace /results
    for _ in $(seq 60); do
        belongings >/results/after
        cmp -s /results/before /results/after && break
        sleep 1
    done
"""


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    """One guest, whose disk stalls some time after the exporter has begun."""
    return ran_well(lab.run(Machine(kernel="debian", swiotlb="256,force"), guest_shell(SCRIPT))).files


def recording(files: Path, reason: str) -> Path:
    (path,) = files.glob(f"swiotlb-*Z-{reason}.swtrace")
    return path


def scrapes(files: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (files / "scrapes").read_text().splitlines()]


def test_every_scrape_succeeds_while_files_are_written_and_while_the_disk_stalls(files: Path) -> None:
    came = scrapes(files)
    assert all("failed" not in one for one in came)
    assert {(one["swiotlb_up"], one["swiotlb_flight_recording"]) for one in came} == {(1, 1)}
    written = [one["swiotlb_flight_files_total"] for one in came]
    assert (written[0], written[-1]) == (0, 2)
    assert written == sorted(written)


def test_scrapes_show_the_failures_of_which_there_were_none_before(files: Path) -> None:
    failures = [one["swiotlb_map_failures_total"] for one in scrapes(files)]
    assert failures[0] == 0 < failures[-1]
    assert failures == sorted(failures)


@pytest.mark.parametrize("reason", ["failure", "asked"])
def test_a_file_is_complete_and_the_reference_does_what_the_kernel_did(files: Path, reason: str) -> None:
    replayed = replay(recording(files, reason))
    report = replayed.report
    assert report["compared"] == report["agree"] == replayed.operations > 0
    assert (report["disagree"], report["inconclusive"], report["safety_violations"]) == (0, 0, 0)
    assert (report["lost"], report["miscounts"], replayed.status) == (0, [], Exit.OK)
    assert report["map_failures"] > 0


def test_the_first_failure_is_in_the_file_and_seconds_before_it(files: Path) -> None:
    path = recording(files, "failure")
    first = next(event for event in events(path) if isinstance(event, Find | Map) and event.failed)
    state = next(item for item in TraceReader(path).stream())
    assert isinstance(state, MemState)
    assert first.exit_ns - state.begin_ns >= BEFORE_S * 1_000_000_000


def test_a_file_claims_no_counts_of_probes_that_go_on(files: Path) -> None:
    (end,) = (item for item in TraceReader(recording(files, "failure")).stream() if isinstance(item, End))
    assert not {"maps", "map_failures", "unmaps"} & set(end.counters)


def test_who_asks_gets_a_file_and_the_metrics_name_it(files: Path) -> None:
    asked, failure = recording(files, "asked"), recording(files, "failure")
    told = tried(files, "asked")
    assert (told.status, told.out, told.err) == (Exit.OK, f"/run/swiotlb-top/{asked.name}\n", "")
    for page, path, reason in (("failing", failure, "failure"), ("written", asked, "asked")):
        samples = samples_of(tried(files, page).out)
        latest = "swiotlb_flight_last_file_timestamp_seconds"
        assert samples[latest, f"/run/swiotlb-top/{path.name}", reason] > 0
    assert samples["swiotlb_flight_triggers_total", "failure"] == 1
    assert samples["swiotlb_flight_triggers_total", "asked"] == 1
    assert samples["swiotlb_flight_files_failed_total",] == samples["swiotlb_events_lost_total",] == 0
    assert samples["swiotlb_flight_held_bytes",] > 0


def test_its_bursts_go_on_beside_the_recorder(files: Path) -> None:
    samples = samples_of(tried(files, "written").out)
    assert samples["swiotlb_verified_operations_total", "agree"] > 0
    assert samples["swiotlb_verified_operations_total", "disagree"] == 0
    assert samples["swiotlb_burst_age_seconds",] < 60


def test_it_holds_no_capability_once_it_records(files: Path) -> None:
    capabilities = dict(line.split() for line in (files / "capabilities").read_text().splitlines())
    assert {int(capabilities[f"Cap{kind}:"], 16) for kind in ("Prm", "Eff", "Inh", "Amb", "Bnd")} == {0}


def test_told_to_end_it_leaves_its_files_and_nothing_in_the_kernel(files: Path) -> None:
    assert (files / "export.status").read_text() == "0\n"
    lines = (files / "export.err").read_text().splitlines()
    written = [line for line in lines if ".swtrace: " in line]
    assert [line.partition(": ")[2].partition(": ")[0].rpartition("-")[2] for line in written] == [
        "failure.swtrace",
        "asked.swtrace",
    ]
    assert len(lines) == len(written) + 1  # what it watches, and where
    names = sorted(["flight.pid", recording(files, "failure").name, recording(files, "asked").name])
    assert (files / "left").read_text().split() == names
    assert tried(files, "again").status == Exit.CANNOT
    before, during, after = (json.loads((files / name).read_text()) for name in ("before", "during", "after"))
    assert all(set(during[kind]) > set(before[kind]) for kind in before)
    assert after == before
