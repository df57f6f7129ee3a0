"""The exporter on real kernels: a real Prometheus on the host reads the guest's textfile, and alerts when it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import NVME, VIRTIO_BLK, debugfs_counters, guest_shell, tried
from tests.prometheus import MISSING, WHY_MISSING, Prometheus, eventually, running

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

RESIDENT_BYTES = 60 << 20
SCRAPES_WITHOUT_ALERT = 90

STALL = """
    sh $workloads/stall.sh 2
    $tool export --source live --textfile /results --interval 1 2>/results/export.err &
    exporter=$!
    for _ in $(seq 1200); do [ -e /results/enough ] && break; sleep 1; done
    cp /results/swiotlb.prom /results/last.prom
    kill $exporter
    wait $exporter
    echo $? >/results/export.status
    ls -A /results >/results/left
"""

GROWTH = f"""
    debugfs >/results/before
    $tool export --source live --textfile /results --interval 1 2>/results/export.err &
    exporter=$!
    for _ in $(seq 1200); do grep -qs '^swiotlb_up 1' /results/swiotlb.prom && break; sleep 0.5; done
    sh $workloads/grow.sh >/results/grow.out
    for _ in $(seq 1200); do [ -e /results/enough ] && break; sleep 1; done
    sleep 2
    cp /results/swiotlb.prom /results/last.prom
    debugfs >/results/after
    echo 1 >/sys/bus/pci/devices/{NVME}/remove
    for _ in $(seq 1200); do grep -q 'device="{NVME}"' /results/swiotlb.prom || break; sleep 0.5; done
    cp /results/swiotlb.prom /results/unplugged.prom
    kill $exporter
    wait $exporter

    url=http://127.0.0.1:9788
    to_attach=+bpf,+perfmon,+syslog
    try life $python $workloads/exporter_life.py $url/metrics setpriv --reuid=65534 --regid=65534 --clear-groups \\
        --inh-caps=$to_attach --ambient-caps=$to_attach --bounding-set=-all,$to_attach $tool export --source live

    $tool export --source debugfs --interval 0.2 2>/results/debugfs.err &
    exporter=$!
    try seen $python $workloads/scrape.py $url/metrics --metric swiotlb_up
    umount -l /sys/kernel/debug
    try gone $python $workloads/scrape.py $url/metrics --metric swiotlb_scrape_errors_total
    mount -t debugfs debugfs /sys/kernel/debug
    try back $python $workloads/scrape.py $url/metrics --metric swiotlb_up
    kill $exporter
    wait $exporter
    echo $? >/results/debugfs.status
"""


@dataclass(frozen=True)
class Watched:
    """What came of a guest whose textfile a Prometheus read."""

    files: Path
    firing: list[dict[str, Any]]

    def samples(self, page: str = "last.prom") -> dict[tuple[str, ...], float]:
        """The samples of a page of metrics, by name and the values of their labels."""
        return samples_of((self.files / page).read_text())


def samples_of(page: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(page)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@contextmanager
def served(read: Callable[[], str]) -> Iterator[str]:
    """A page on loopback; yields where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = read().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def watch(lab: Lab, machine: Machine, script: str, scratch: Path, until: Callable[[Prometheus], object]) -> Watched:
    """Run a script in a guest, and Prometheus on what it writes, until that has seen enough."""

    def textfile() -> str:
        found = list(scratch.glob("*/results/swiotlb.prom"))
        return found[0].read_text() if found else ""

    with ThreadPoolExecutor(1) as guests:
        guest = guests.submit(replace(lab, scratch=scratch).run, machine, guest_shell(script))
        eventually(lambda: guest.done() or "\nswiotlb_up 1" in textfile(), deadline_s=1200)
        firing: list[dict[str, Any]] = []
        if not guest.done():
            with served(textfile) as address, running(scratch, {"guest": address}) as prometheus:
                eventually(lambda: guest.done() or until(prometheus), deadline_s=1200)
                firing = prometheus.alerts()
                for results in scratch.glob("*/results"):
                    (results / "enough").touch()
        ran = guest.result()
    assert (ran.status, ran.stderr) == (0, "")
    return Watched(ran.files, firing)


def explained(prometheus: Prometheus) -> bool:
    return any("not told" not in alert["annotations"]["description"] for alert in prometheus.alerts())


@pytest.fixture(scope="module")
def stalled(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    machine = Machine(kernel="debian", swiotlb="256,force")
    return watch(lab, machine, STALL, tmp_path_factory.mktemp("stall"), explained)


@pytest.fixture(scope="module")
def grown(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    machine = Machine(kernel="dynamic", swiotlb="512,force")
    enough = partial(Prometheus.query, expression=f"count_over_time(swiotlb_up[10m]) > {SCRAPES_WITHOUT_ALERT}")
    return watch(lab, machine, GROWTH, tmp_path_factory.mktemp("growth"), enough)


def test_during_the_stall_the_failure_alert_fires_and_names_device_and_cause(stalled: Watched) -> None:
    (alert,) = [alert for alert in stalled.firing if alert["labels"]["alertname"] == "SwiotlbMapsFailing"]
    assert (alert["labels"]["device"], alert["labels"]["driver"]) == (VIRTIO_BLK, "virtio-pci")
    assert "Cause: exhausted." in alert["annotations"]["description"]


def test_nothing_else_fires_during_the_stall(stalled: Watched) -> None:
    assert {alert["labels"]["alertname"] for alert in stalled.firing} == {"SwiotlbMapsFailing"}


def test_what_stays_resident_is_small_because_the_compiler_is_gone(stalled: Watched) -> None:
    assert stalled.samples()[("swiotlb_exporter_process_resident_memory_bytes",)] <= RESIDENT_BYTES


def test_its_privileges_gone_it_still_verifies(stalled: Watched) -> None:
    samples = stalled.samples()
    assert samples["swiotlb_verified_operations_total", "agree"] > 0
    assert samples["swiotlb_verified_operations_total", "disagree"] == 0


def test_the_textfile_goes_with_the_exporter(stalled: Watched) -> None:
    assert (stalled.files / "export.status").read_text() == "0\n"
    assert not [name for name in (stalled.files / "left").read_text().split() if "swiotlb" in name]
    assert (stalled.files / "export.err").read_text().count("\n") == 1


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
