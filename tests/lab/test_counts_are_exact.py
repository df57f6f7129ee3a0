"""Three attachments at once, and a number of maps known beforehand: each view says just that number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import NVME, guest_shell, ran_well, replay, tried

MAPS = 1009
"""What counted.sh makes; prime, so that no product of a mistake comes out the same."""

SCRIPT = f"""
    url=http://127.0.0.1:9788/metrics
    $tool --source live --json -d 1 >/results/frames.json &
    screen=$!
    $tool export --source live --interval 1 2>/results/export.err &
    exporter=$!
    try attached $python $workloads/scrape.py $url --metric swiotlb_up
    for _ in $(seq 100); do [ -s /results/frames.json ] && break; sleep 0.5; done

    try record $tool record -o /results/counted.swtrace -- sh $workloads/counted.sh {MAPS} nvme0n1

    # An interval and a half after the right number, a wrong one would be seen too.
    try metrics $python $workloads/scrape.py $url --metric swiotlb_unmaps_total --above {MAPS - 1} --later-s 3
    kill $screen $exporter
"""


@pytest.fixture(scope="module")
def watched(lab: Lab) -> Path:
    ran = ran_well(lab.run(Machine(kernel="dynamic", swiotlb="512,force"), guest_shell(SCRIPT)))
    return ran.files


def test_the_screen_counts_every_map_and_unmap(watched: Path) -> None:
    frames: list[dict[str, Any]] = [json.loads(line) for line in (watched / "frames.json").read_text().splitlines()]
    assert frames[0]["devices"] == []
    last = {device["name"]: device for device in frames[-1]["devices"]}
    assert list(last) == [NVME]
    assert (last[NVME]["maps"], last[NVME]["unmaps"], last[NVME]["map_failures"]) == (MAPS, MAPS, 0)
    assert last[NVME]["driver"] == "nvme"


def test_the_exporter_counts_every_map_and_unmap(watched: Path) -> None:
    page = tried(watched, "metrics")
    assert page.status == 0, page.err
    counted = {
        (sample.name, sample.labels["device"]): sample.value
        for family in text_string_to_metric_families(page.out)
        for sample in family.samples
        if "device" in sample.labels
    }
    assert counted["swiotlb_maps_total", NVME] == MAPS
    assert counted["swiotlb_unmaps_total", NVME] == MAPS
    assert counted["swiotlb_map_failures_total", NVME] == 0


def test_nothing_was_there_before_the_workload(watched: Path) -> None:
    assert "swiotlb_maps_total{" not in tried(watched, "attached").out


def test_the_recorder_counts_and_records_every_map_and_unmap(watched: Path) -> None:
    recorded = tried(watched, "record")
    assert (recorded.status, recorded.err) == (0, "")
    assert f"maps {MAPS}, failed 0, unmaps {MAPS}, lost 0" in recorded.out.splitlines()
    report = replay(watched / "counted.swtrace").report
    assert (report["maps"], report["unmaps"], report["verdict"]) == (MAPS, MAPS, "agree")
