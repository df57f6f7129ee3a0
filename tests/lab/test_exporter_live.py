"""The exporter on a kernel whose pools grow: a real Prometheus on the host reads its textfile and alerts nobody."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.scraped import Watched, samples_of, watch
from tests.lab.support.tool import NVME, VIRTIO_BLK, debugfs_counters, tried
from tests.support.prometheus import MISSING, WHY_MISSING, Prometheus

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

SCRAPES_WITHOUT_ALERT = 90

GROWTH = f"""
    echo 1 >/proc/sys/kernel/bpf_stats_enabled
    debugfs >/results/before
    $tool export --source live --textfile /results --interval 2 2>/results/export.err &
    exporter=$!
    for _ in $(seq 1200); do grep -qs '^swiotlb_up 1' /results/swiotlb.prom && break; sleep 1; done
    sh $workloads/grow.sh >/results/grow.out

    # Meanwhile, others: Prometheus has to look for a while.
    url=http://127.0.0.1:9788
    to_attach=+bpf,+perfmon,+syslog
    try life python3 $workloads/exporter_life.py $url/metrics setpriv --reuid=65534 --regid=65534 --clear-groups \\
        --inh-caps=$to_attach --ambient-caps=$to_attach --bounding-set=-all,$to_attach $tool export --source live

    $tool export --source debugfs --interval 0.2 2>/results/debugfs.err &
    another=$!
    try seen python3 $workloads/scrape.py $url/metrics --metric swiotlb_up
    umount -l /sys/kernel/debug
    try gone python3 $workloads/scrape.py $url/metrics --metric swiotlb_scrape_errors_total
    mount -t debugfs debugfs /sys/kernel/debug
    try back python3 $workloads/scrape.py $url/metrics --metric swiotlb_up
    kill $another
    wait $another
    echo $? >/results/debugfs.status

    for _ in $(seq 1200); do [ -e /results/enough ] && break; sleep 2; done
    sleep 4
    cat /results/swiotlb.prom >/results/last.prom
    debugfs >/results/after
    echo 0 >/proc/sys/kernel/bpf_stats_enabled
    sleep 4
    echo 1 >/sys/bus/pci/devices/{NVME}/remove
    for _ in $(seq 1200); do grep -q 'device="{NVME}"' /results/swiotlb.prom || break; sleep 1; done
    cat /results/swiotlb.prom >/results/unplugged.prom
    kill $exporter
    wait $exporter
"""


@pytest.fixture(scope="module")
def grown(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    machine = Machine(kernel="dynamic", swiotlb="512,force")
    enough = partial(Prometheus.query, expression=f"count_over_time(swiotlb_up[10m]) > {SCRAPES_WITHOUT_ALERT}")
    return watch(lab, machine, GROWTH, tmp_path_factory.mktemp("growth"), enough)


def test_while_pools_grow_no_alert_fires(grown: Watched) -> None:
    assert grown.firing == []


def test_pools_and_slots_rise_as_debugfs_says(grown: Watched) -> None:
    before, after = (debugfs_counters((grown.files / name).read_text()) for name in ("before", "after"))
    assert before["io_tlb_nslabs"] == 512 < after["io_tlb_nslabs"]
    samples = grown.samples()
    assert samples[("swiotlb_slots",)] == after["io_tlb_nslabs"]
    slots = [value for name, value in samples.items() if name[0] == "swiotlb_pool_slots"]
    assert sum(slots) == after["io_tlb_nslabs"]
    assert samples["swiotlb_pools", "default"] + samples["swiotlb_pools", "grown"] == len(slots) > 1


def test_what_each_program_cost_is_told_while_the_kernel_counts_it(grown: Watched) -> None:
    samples = grown.samples()
    runs = {labels[0]: value for (name, *labels), value in samples.items() if name == "swiotlb_bpf_runs_total"}
    seconds = {
        labels[0]: value for (name, *labels), value in samples.items() if name == "swiotlb_bpf_run_seconds_total"
    }
    assert runs.keys() == seconds.keys()
    maps = sum(value for name, value in samples.items() if name[0] == "swiotlb_maps_total")
    most = max(runs, key=runs.__getitem__)
    assert runs[most] >= maps > 0
    assert 0 < seconds[most] / runs[most] < 1e-3
    assert not {name for name in grown.samples("unplugged.prom") if name[0].startswith("swiotlb_bpf_")}


def test_a_device_that_is_unplugged_ends_its_series_and_no_other(grown: Watched) -> None:
    there, left = (grown.samples(page) for page in ("last.prom", "unplugged.prom"))
    assert there["swiotlb_maps_total", NVME, "nvme"] > 0
    assert not {name for name in left if NVME in name}
    assert left["swiotlb_maps_total", VIRTIO_BLK, "virtio-pci"] >= there["swiotlb_maps_total", VIRTIO_BLK, "virtio-pci"]


def test_scrapes_while_it_attaches_and_detaches_say_down_up_and_refused(grown: Watched) -> None:
    life = json.loads(tried(grown.files, "life").out)
    assert life["said"] == ["refused", "up 0", "up 1", "refused"]
    assert life["status"] == 0


def test_a_user_with_three_capabilities_attaches_and_has_none_then(grown: Watched) -> None:
    allowed = json.loads(tried(grown.files, "life").out)["allowed"]
    assert allowed["Uid"].split()[0] == "65534"
    assert {allowed[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    assert allowed["NoNewPrivs"] == "1"


def test_once_the_kernel_side_is_gone_scrapes_succeed_and_say_so_and_it_recovers(grown: Watched) -> None:
    seen, gone, back = (tried(grown.files, name) for name in ("seen", "gone", "back"))
    assert [seen.status, gone.status, back.status] == [0, 0, 0]
    assert samples_of(seen.out)[("swiotlb_up",)] == 1
    broken = samples_of(gone.out)
    assert broken[("swiotlb_up",)] == 0
    assert broken[("swiotlb_scrape_errors_total",)] > 0
    assert ("swiotlb_slots",) not in broken
    assert samples_of(back.out)[("swiotlb_slots",)] > 512
    assert (grown.files / "debugfs.status").read_text() == "0\n"
