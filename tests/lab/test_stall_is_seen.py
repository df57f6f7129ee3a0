"""A disk that stalls because swiotlb is full, on a distribution's own kernel: every view names it while it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_top.errors import Exit
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import VIRTIO_BLK, Replayed, guest_shell, replay, tried

SCRIPT = """
    url=http://127.0.0.1:9788/metrics
    failures=swiotlb_map_failures_total
    sh $workloads/stall.sh 2    # its readers stay, and the stall with them

    try record $tool record -o /results/stall.swtrace --duration 5
    try screen $tool -n 1 -d 2

    $tool export 2>/results/export.err &
    exporter=$!
    try first $python $workloads/scrape.py $url --metric $failures
    above=$(sed -n "s/^$failures{.*} //p" /results/first.out)
    try second $python $workloads/scrape.py $url --metric $failures --above $above
    kill $exporter
    wait $exporter
    echo $? >/results/export.status

    for _ in 1 2 3 4 5 6 7 8 9 10; do cat /sys/kernel/debug/swiotlb/io_tlb_used; done >/results/io_tlb_used
"""


@pytest.fixture(scope="module")
def stalled(lab: Lab) -> Path:
    """The results of one guest whose disk stalls from its first second on."""
    ran = lab.run(Machine(kernel="debian", swiotlb="256,force"), guest_shell(SCRIPT))
    assert (ran.status, ran.stderr) == (0, "")
    return ran.files


@pytest.fixture(scope="module")
def replayed(stalled: Path) -> Replayed:
    recorded = tried(stalled, "record")
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    return replay(stalled / "stall.swtrace")


def test_the_reference_fails_every_mapping_that_the_kernel_failed(replayed: Replayed) -> None:
    report = replayed.report
    assert report["map_failures"] >= 100
    assert report["compared"] == report["agree"] == replayed.operations
    assert (report["disagree"], report["inconclusive"], report["safety_violations"]) == (0, 0, 0)
    assert (report["lost"], report["miscounts"], replayed.status) == (0, [], Exit.OK)


def test_every_failure_has_a_cause(replayed: Replayed) -> None:
    causes = replayed.report["map_failures_by_cause"]
    assert sum(causes.values()) == replayed.report["map_failures"]
    assert "unexplained" not in causes


def test_one_frame_of_the_screen_names_the_device_and_the_rate(stalled: Path) -> None:
    screen = tried(stalled, "screen")
    assert (screen.status, screen.err) == (Exit.OK, "")
    failing = re.search(rf"^FAILING +{VIRTIO_BLK} \(virtio-pci\): (\S+) failed maps/s$", screen.out, re.MULTILINE)
    assert failing, screen.out
    assert failing[1] not in ("0", "0.0")
    assert re.search(r"^why +needs 128 slots", screen.out, re.MULTILINE), screen.out
    assert "\x1b" not in screen.out


def failures_in(page: str) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["device"], sample.labels["driver"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "swiotlb_map_failures_total"
    }


def test_the_exporters_failures_rise_for_that_device_alone(stalled: Path) -> None:
    pages = [tried(stalled, name) for name in ("first", "second")]
    assert [page.status for page in pages] == [0, 0], pages[0].err + pages[1].err
    first, second = (failures_in(page.out) for page in pages)
    assert list(first) == list(second) == [(VIRTIO_BLK, "virtio-pci")]
    assert 0 < first[VIRTIO_BLK, "virtio-pci"] < second[VIRTIO_BLK, "virtio-pci"]


def test_the_exporter_ends_well_when_told_to(stalled: Path) -> None:
    assert (stalled / "export.status").read_text() == "0\n"
    assert (stalled / "export.err").read_text().count("\n") == 1


def test_debugfs_meanwhile_says_that_nothing_is_used(stalled: Path) -> None:
    used_slots = [int(line) for line in (stalled / "io_tlb_used").read_text().splitlines()]
    assert len(used_slots) == 10
    assert min(used_slots) == 0
