"""A disk that stalls because swiotlb is full, on a distribution's own kernel: every view names it while it does.

Recording, screens, a page of metrics and a real Prometheus's alert, all of one stall; and what is left without rights.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_top.accounting.finding import ADVICE, MEANINGS, Kind
from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.scraped import Watched, watch
from tests.lab.support.tool import VIRTIO_BLK, Replayed, replay, tried
from tests.support.prometheus import MISSING, WHY_MISSING, Prometheus

needs_prometheus = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

RESIDENT_BYTES = 60 << 20

# Emulated, a screen takes its time to come up; the count only ends what hangs.
SCRIPT = """
    scrape='tests.lab.workloads.scrape http://127.0.0.1:9788/metrics'
    failures=swiotlb_map_failures_total
    sh $workloads/stall.sh 4 >/results/workload    # its readers stay, and the stall with them

    $tool export --source live --textfile /results --interval 2 2>/results/textfile.err &
    watched=$!

    together="$python $workloads/one_process.py /results"
    $together record swiotlb_top record -o /results/stall.swtrace --duration 3 , screen swiotlb_top -n 1 -d 2 , \
        check swiotlb_top check --seconds 5 --json

    $tool export --interval 1 --web.listen-address 127.0.0.1:9788 --web.listen-address vsock://:9788 \
        2>/results/export.err &
    exporter=$!
    $together first $scrape --metric $failures , second $scrape --metric $failures --above /results/first.out , \
        by_vsock tests.lab.workloads.scrape vsock://1:9788/metrics --metric $failures
    kill $exporter
    wait $exporter
    echo $? >/results/export.status

    for _ in 1 2 3 4 5 6 7 8 9 10; do cat /sys/kernel/debug/swiotlb/io_tlb_used; done >/results/io_tlb_used

    without='setpriv --bounding-set=-all --inh-caps=-all'
    $without $together no_capabilities swiotlb_top -n 1 -d 0 , no_capabilities_live swiotlb_top --source live -n 1 -d 0
    try nobody setpriv --reuid 65534 --regid 65534 --clear-groups $tool --source debugfs -n 1 -d 0

    pane() { tmux -u -L lab capture-pane -p; }
    until_seen() {
        tries=0
        until pane | grep -q -e "$1" -e 'ended with' || [ $tries -eq 300 ]; do tries=$((tries + 1)); sleep 1; done
        pane >/results/$2.pane
    }
    press() { tmux -L lab send-keys "$@"; }
    tmux -u -L lab -f /dev/null new-session -d -x 120 -y 40 "$tool; echo ended with \\$?; sleep 1000"
    until_seen '^FAILING.*failed maps/s' headline
    until_seen '^why' reason
    press Enter
    until_seen 'causes of its failed maps' device
    press Escape p    # at once, as whoever types fast on a machine that is slow
    until_seen PAUSED paused
    press w
    until_seen 'written' unwritten
    press q
    until_seen 'ended with' ended
    tmux -L lab kill-server

    for _ in $(seq 1200); do [ -e /results/enough ] && break; sleep 2; done
    cat /results/swiotlb.prom >/results/last.prom
    awk '{ print $3 }' /sys/block/vda/stat >/results/sectors
    dmesg | grep 'swiotlb buffer is full' | tail -n 1 >/results/full
    kill $watched
    wait $watched
    echo $? >/results/textfile.status
    ls -A /results >/results/left
"""


def explained(prometheus: Prometheus) -> bool:
    return any(alert["labels"].get("cause", "unexplained") != "unexplained" for alert in prometheus.alerts())


@pytest.fixture(scope="module")
def stalled(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """One guest whose disk stalls from its first second on."""
    return watch(
        lab, Machine(kernel="debian", swiotlb="256,force"), SCRIPT, tmp_path_factory.mktemp("stall"), explained
    )


@pytest.fixture(scope="module")
def files(stalled: Watched) -> Path:
    return stalled.files


@pytest.fixture(scope="module")
def replayed(files: Path) -> Replayed:
    recorded = tried(files, "record")
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    return replay(files / "stall.swtrace")


def test_the_disk_has_stopped_for_good_and_only_dmesg_names_swiotlb(files: Path) -> None:
    said = (files / "workload").read_text()
    sectors = re.match(r"sectors read: (\d+) after half the time, (\d+) at its end\n", said)
    assert sectors, said
    assert sectors[1] == sectors[2] == (files / "sectors").read_text().strip()
    assert "swiotlb buffer is full (sz: 262144 bytes), total 256 (slots)" in (files / "full").read_text()


# ---- recording, one frame, a page of metrics


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


def test_one_frame_of_the_screen_names_the_device_and_the_rate(files: Path) -> None:
    screen = tried(files, "screen")
    assert (screen.status, screen.err) == (Exit.DISAGREE, "")
    failing = re.search(rf"^FAILING +{VIRTIO_BLK} \(virtio-pci, vda\): (\S+) failed maps/s$", screen.out, re.MULTILINE)
    assert failing, screen.out
    assert failing[1] not in ("0", "0.0")
    assert re.search(r"^why +needs 128 slots", screen.out, re.MULTILINE), screen.out
    assert "\x1b" not in screen.out


def test_check_names_the_device_what_is_wrong_and_what_helps(files: Path) -> None:
    checked = tried(files, "check")
    assert (checked.status, checked.err) == (Exit.DISAGREE, "")
    told = json.loads(checked.out)
    assert told["sentence"].startswith(f"virtio-pci {VIRTIO_BLK} (vda): ")
    full = next(finding for finding in told["findings"] if finding["kind"] == "full")
    assert (full["device"], full["driver"], full["known_as"]) == (VIRTIO_BLK, "virtio-pci", "vda")
    assert full["evidence"][1].startswith("the latest needs 128 slots, ")
    assert "failed_before" in {finding["kind"] for finding in told["findings"]}
    assert told["watched"]["map_failures"] > 0


def failures_in(page: str) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["device"], sample.labels["driver"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "swiotlb_map_failures_total"
    }


def test_the_exporters_failures_rise_for_that_device_alone(files: Path) -> None:
    pages = [tried(files, name) for name in ("first", "second")]
    assert [page.status for page in pages] == [0, 0], pages[0].err + pages[1].err
    first, second = (failures_in(page.out) for page in pages)
    assert list(first) == list(second) == [(VIRTIO_BLK, "virtio-pci")]
    assert 0 < first[VIRTIO_BLK, "virtio-pci"] < second[VIRTIO_BLK, "virtio-pci"]


def test_they_are_read_by_vsock_too_where_there_is_no_network(files: Path) -> None:
    """By the guest itself, as its host would: that takes the same way through the exporter."""
    page, second = tried(files, "by_vsock"), tried(files, "second")
    assert (page.status, page.err) == (0, "")
    assert failures_in(page.out)[VIRTIO_BLK, "virtio-pci"] >= failures_in(second.out)[VIRTIO_BLK, "virtio-pci"]


def test_the_exporter_ends_well_when_told_to(files: Path) -> None:
    assert (files / "export.status").read_text() == "0\n"
    assert (files / "export.err").read_text().count("\n") == 1


def test_debugfs_meanwhile_says_that_nothing_is_used(files: Path) -> None:
    used_slots = [int(line) for line in (files / "io_tlb_used").read_text().splitlines()]
    assert len(used_slots) == 10
    assert min(used_slots) == 0


# ---- Prometheus


@needs_prometheus
def test_during_the_stall_the_failure_alert_fires_and_names_device_and_cause(stalled: Watched) -> None:
    failing = [alert for alert in stalled.firing if alert["labels"]["alertname"] == "SwiotlbMapsFailing"]
    (alert,) = [alert for alert in failing if alert["labels"]["cause"] == "exhausted"]
    assert (alert["labels"]["device"], alert["labels"]["driver"]) == (VIRTIO_BLK, "virtio-pci")
    assert "Cause: exhausted." in alert["annotations"]["description"]
    assert alert["annotations"]["advice"] == f"{MEANINGS[Kind.FULL]} {' '.join(ADVICE[Kind.FULL])}"


@needs_prometheus
def test_nothing_else_fires_during_the_stall(stalled: Watched) -> None:
    assert {alert["labels"]["alertname"] for alert in stalled.firing} == {"SwiotlbMapsFailing"}


def test_what_stays_resident_is_small_because_the_compiler_is_gone(stalled: Watched) -> None:
    assert stalled.samples()[("swiotlb_exporter_process_resident_memory_bytes",)] <= RESIDENT_BYTES


def test_its_privileges_gone_it_still_verifies(stalled: Watched) -> None:
    samples = stalled.samples()
    assert samples["swiotlb_verified_operations_total", "agree"] > 0
    assert samples["swiotlb_verified_operations_total", "disagree"] == 0


def test_the_textfile_goes_with_the_exporter(stalled: Watched) -> None:
    assert (stalled.files / "textfile.status").read_text() == "0\n"
    assert not [name for name in (stalled.files / "left").read_text().split() if "swiotlb" in name]
    assert (stalled.files / "textfile.err").read_text().count("\n") == 1


# ---- the live screen on a terminal


def pane(files: Path, name: str) -> str:
    return (files / f"{name}.pane").read_text()


def test_the_headline_names_the_device_and_its_rate(files: Path) -> None:
    screen = pane(files, "headline")
    failing = re.search(rf"^FAILING +{VIRTIO_BLK} \(virtio-pci, vda\): (\S+) failed maps/s$", screen, re.MULTILINE)
    assert failing, screen
    assert failing[1] not in ("0", "0.0")
    assert screen.splitlines()[0].startswith("swiotlb-top · kernel 6.")


def test_the_reason_is_given_beneath_it_once_a_burst_was_judged(files: Path) -> None:
    screen = pane(files, "reason")
    assert re.search(r"^why +needs 128 slots", screen, re.MULTILINE), screen
    assert re.search(r"^verdict +agree .* in bursts, the latest \S+s ago$", screen, re.MULTILINE), screen


def test_what_is_found_stands_beneath_the_headline_with_what_helps(files: Path) -> None:
    screen = pane(files, "reason")
    assert re.search(r"^found +full: ", screen, re.MULTILINE), screen
    assert re.search(r"^advice +If it is load, a larger pool helps", screen, re.MULTILINE), screen


def test_pools_slots_failures_and_sizes_are_seen_live(files: Path) -> None:
    screen = pane(files, "reason")
    assert re.search(r"^0x[0-9a-f]+ +default +256 ", screen, re.MULTILINE), screen
    assert re.search(r"^. SLOTS of pool 0x[0-9a-f]+ ", screen, re.MULTILINE), screen
    assert re.search(rf"{VIRTIO_BLK} +262144 +128 +\d+ +exhausted +agrees", screen), screen


def test_the_moment_of_a_failure_is_seen_live(files: Path) -> None:
    screen = pane(files, "reason")
    assert re.search(rf"^. MOMENT of a failed map, \S+ ago: {VIRTIO_BLK} needs 128 slots", screen, re.MULTILINE), screen


def test_the_device_has_a_page_of_its_own(files: Path) -> None:
    screen = pane(files, "device")
    assert f"DEVICE {VIRTIO_BLK} (virtio-pci, vda)" in screen
    assert re.search(r"^exhausted +\d+", screen, re.MULTILINE), screen
    assert re.search(r"\bP99 +[0-9.]+(us|ms)", screen), screen


def test_esc_and_p_at_once_go_back_and_hold_it_and_q_leaves_it(files: Path) -> None:
    paused = pane(files, "paused")
    assert "PAUSED" in paused.splitlines()[0]
    assert "DEVICES" in paused, "Esc was lost"
    assert "ended with 0" in pane(files, "ended")
    assert "swiotlb-top" not in pane(files, "ended")


def test_without_a_flight_recorder_w_says_that_nothing_is_written(files: Path) -> None:
    last = pane(files, "unwritten").rstrip().splitlines()[-1]
    assert last == "not written: no flight recorder runs (swiotlb-top record --flight 2m starts one)"


def test_without_capabilities_debugfs_is_shown_and_what_it_cannot_see_is_said(files: Path) -> None:
    shown = tried(files, "no_capabilities")
    assert (shown.status, shown.err) == (Exit.INCONCLUSIVE, "")
    assert re.search(r"^unclear +failed maps are not seen", shown.out, re.MULTILINE), shown.out
    assert re.search(r"^source +debugfs: live: .*CAP_BPF", shown.out, re.MULTILINE), shown.out


@pytest.mark.parametrize("name", ["no_capabilities_live", "nobody"])
def test_a_source_that_cannot_be_had_is_refused_in_one_line(files: Path, name: str) -> None:
    refused = tried(files, name)
    assert (refused.status, refused.out) == (Exit.CANNOT, "")
    assert refused.err.startswith("swiotlb-top: ")
    assert refused.err.count("\n") == 1
    assert "root" in refused.err
