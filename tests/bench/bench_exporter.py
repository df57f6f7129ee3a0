"""What the exporter costs: milliseconds a scrape, resident memory, CPU while nothing happens.

Run: .venv/bin/python -m tests.bench.bench_exporter
Scrapes are of 50 devices with all their series, over a socket, in each form of the page; beside them text and
OpenMetrics of prometheus_client's own server with the same families, made beforehand. Memory is set against a process
that serves an empty prometheus_client registry, here over a recording, asked for text and then for protobuf; and in the
lab, attached, where CPU is measured too: under -icount, guest seconds are 10^9 instructions each, an upper bound for a
machine that does more. There the exporter is also a flight recorder, and beside it runs one that is nothing else.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.registry import Collector

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.run.serve import PATIENCE_S
from swiotlb_exporter.watch import Watch
from swiotlb_exporter.web.exposition import OPENMETRICS, PROTOBUF, TEXT, Form
from swiotlb_top.accounting.snapshot import LATENCY_BUCKETS_NS
from swiotlb_top.constants import SIZE_BUCKETS_SLOTS
from tests.lab.harness import cache
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell
from tests.support.prometheus import answers, eventually, free_port
from tests.support.served import serving
from tests.support.snapshots import DISK, STALLED, ScriptedSource

ROOT: Final = Path(__file__).parents[2]
DEVICES: Final = 50
SCRAPES: Final = 200
IDLE_S: Final = 120
_AS_PROMETHEUS: Final = {"Accept-Encoding": "gzip"}
TIMES: Final = tuple((bucket, 10) for bucket in range(-150, -90))
"""Fine buckets of a device's latencies: 2 us to 400 us."""
BARE: Final = (
    "import prometheus_client, time; prometheus_client.start_http_server({port}, '127.0.0.1'); time.sleep(1e6)"
)

# Ticks are hundredths of a second.
IDLE: Final = f"""
    page=http://127.0.0.1:9788/metrics
    ticks() {{ awk '{{ print $14 + $15 }}' /proc/$watcher/stat; }}
    idle() {{
        sleep 10
        before=$(ticks)
        sleep {IDLE_S}
        after=$(ticks)
        echo "$1: ticks $((after - before)) $(awk '/VmRSS|RssAnon|RssFile/ {{ print $1, $2 }}' /proc/$watcher/status)"
        kill $watcher
        wait $watcher
    }}
    $tool export --source live 2>/dev/null & watcher=$!
    $python $workloads/scrape.py $page --metric swiotlb_up >/dev/null
    idle export
    $tool export --source live --flight 60s 2>/dev/null & watcher=$!
    $python $workloads/scrape.py $page --metric swiotlb_flight_recording >/dev/null
    idle "export --flight"
    $tool record --flight 60s >/results/said 2>/dev/null & watcher=$!
    until grep -q 'are held in memory' /results/said || ! kill -0 $watcher; do sleep 0.2; done
    idle "record --flight"
"""
_IDLE: Final = re.compile(r"(.+): ticks (\d+) VmRSS: (\d+)\nRssAnon: (\d+)\nRssFile: (\d+)")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


class Made(Collector):
    """Families that were made beforehand: what is left is the client library's own work."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterable[Metric]:
        return self._made


def fifty_devices() -> CollectorRegistry:
    """A registry of devices with all their series."""
    sizes, latencies = (tuple(range(len(bounds) + 1)) for bounds in (SIZE_BUCKETS_SLOTS, LATENCY_BUCKETS_NS))
    busy = replace(DISK, to_device_bytes=1, from_device_bytes=1, sizes=sizes, latencies=latencies, fine_latencies=TIMES)
    devices = tuple(replace(busy, dev=number, name=f"0000:{number:02x}:00.0") for number in range(DEVICES))
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource([replace(STALLED, devices=devices)]).snapshot))
    return registry


def scrape_ms(url: str, accept: str) -> tuple[float, float, int]:
    """Of a scrape the median time, the mean time on a CPU (asking included), and the bytes of a page."""
    asked = urllib.request.Request(f"{url}/metrics", headers=_AS_PROMETHEUS | {"Accept": accept})  # noqa: S310
    took_s, page = [], b""
    before_s = time.process_time()
    for _ in range(SCRAPES):
        began_s = time.perf_counter()
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            page = answer.read()
        took_s.append(time.perf_counter() - began_s)
    on_cpu_s = time.process_time() - before_s
    return statistics.median(took_s) * 1e3, on_cpu_s / SCRAPES * 1e3, len(page)


def bare_ms(made: Made, accept: str) -> float:
    """The time on a CPU of prometheus_client's own server."""
    registry = CollectorRegistry()
    registry.register(made)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        return scrape_ms(f"http://127.0.0.1:{server.server_port}", accept)[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serving_mb(*words: str, port: int, accept: str = "") -> float:
    """Resident memory of a process that serves /metrics, after a few scrapes."""
    url = f"http://127.0.0.1:{port}/metrics"
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'exporters'}"}
    process = subprocess.Popen([sys.executable, *words], env=variables, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(url))
        for _ in range(5):
            asked = urllib.request.Request(url, headers={"Accept": accept})
            with urllib.request.urlopen(asked) as answer:  # noqa: S310
                answer.read()
        return resident_mb(process.pid)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure and print."""
    registry = fifty_devices()
    on_cpu_ms: dict[Form, float] = {}
    for form in (TEXT, OPENMETRICS, PROTOBUF):
        with serving(registry, Watch(PATIENCE_S)) as url:
            took_ms, on_cpu_ms[form], page_bytes = scrape_ms(url, form.content_type)
        cost = f"{took_ms:.1f} ms, {on_cpu_ms[form]:.1f} ms on a CPU, {page_bytes} bytes"
        if form is PROTOBUF:
            beside = f"{on_cpu_ms[form] / on_cpu_ms[TEXT]:.2f} of what text takes"
        else:
            theirs_ms = bare_ms(Made(registry.collect()), form.content_type)
            beside = f"{on_cpu_ms[form] / theirs_ms:.2f} of what prometheus_client's server takes"
        print(f"scrape of {DEVICES} devices as {form.names[0]}: {cost}; that is {beside}")
    bare_port, port = free_port(), free_port()
    bare_mb = serving_mb("-c", BARE.format(port=bare_port), port=bare_port)
    stall = ROOT / "tests" / "traces" / "stall.swtrace"
    address = f"127.0.0.1:{port}"
    replay = ("-m", "swiotlb_top", "export", "--trace", str(stall), "--web.listen-address", address)
    text_mb, protobuf_mb = (serving_mb(*replay, port=port, accept=form.content_type) for form in (TEXT, PROTOBUF))
    print(
        f"resident: {text_mb:.0f} MiB over a recording, {protobuf_mb:.0f} MiB where protobuf is asked for, "
        f"{bare_mb:.0f} MiB prometheus_client alone"
    )
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(cache.default_root(), Path(scratch), may_build=True)
        ran = lab.run(Machine(kernel="dynamic", swiotlb="512,force", icount=True), guest_shell(IDLE))
    if ran.status:
        raise SystemExit(ran.stderr)
    for watcher, ticks, *kib in _IDLE.findall(ran.stdout):
        resident, own, libraries = (int(size) / 1024 for size in kib)
        print(
            f"{watcher}, attached, idle: {int(ticks) / IDLE_S:.2f} % of a CPU of 10^9 instructions a second; "
            f"{resident:.0f} MiB resident, {own:.0f} of its own, {libraries:.0f} of files"
        )


if __name__ == "__main__":
    main()
