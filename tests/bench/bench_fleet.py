"""What a fleet costs Prometheus: a scrape, series, memory, rules; and how long the fleet's panels take at 5,000 nodes.

Run: .venv/bin/python -m tests.bench.bench_fleet [NODES [FLEET]] (0: not that part)

NODES (500) simulated nodes are served by one process, each at a path of its own, with the product's collector and
server; their counters rise, and a node in a hundred fails. Debian's Prometheus scrapes them for four minutes, with the
deployed rules, at the intervals that one would use. Then another one has an hour of what the fleet's panels ask for,
of FLEET (5,000) nodes, in blocks that promtool made; each panel is asked as Grafana asks it: an hour in steps of 15 s.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.run.serve import PATIENCE_S
from swiotlb_exporter.watch import Watch
from swiotlb_exporter.web.conversation import Limits
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.listeners import Tcp, listen
from swiotlb_exporter.web.messages import Answer, Request
from swiotlb_exporter.web.pages import Pages
from swiotlb_exporter.web.server import Server
from swiotlb_top.accounting.snapshot import LATENCY_BUCKETS_NS, PoolView, Snapshot
from swiotlb_top.allocator import Cause
from tests.support.prometheus import DEADLINE_S, Prometheus, promtool, running, values
from tests.support.snapshots import DEFAULT_POOL, DISK, QUIET, SECOND_NS
from tools.dashboards import FLEET as PANELS
from tools.dashboards import Panel

NODES: Final = 500
FLEET: Final = 5_000
DEVICES: Final = 6
SCRAPED_EVERY: Final = "15s"
WATCHED_S: Final = 240
HOUR_S: Final = 3_600
LOOK_BACK_S: Final = 300
STEP_S: Final = 15
RULES_EVERY_S: Final = 60
ASKED: Final = 5
MAPS_PER_SECOND: Final = 1_000
FAILS: Final = 100
"""One node in so many has a device whose maps fail."""
BLIND: Final = 1
"""The node after each of those cannot be watched, in the part about panels."""
POOLS: Final[tuple[PoolView, ...]] = (DEFAULT_POOL,)
TIMES: Final = (1,) * (len(LATENCY_BUCKETS_NS) + 1)


def name_of(number: int) -> str:
    return f"node-{number:04d}"


def snapshots_of(number: int) -> Callable[[], Snapshot]:
    """A node whose devices map at a steady rate."""
    began_s = time.monotonic()

    def sample() -> Snapshot:
        maps = int((time.monotonic() - began_s) * MAPS_PER_SECOND)
        failures = maps // 100 if number % FAILS == 0 else 0
        busy = replace(DISK, maps=maps, unmaps=maps, map_failures=0, causes=(), mapped_bytes=maps * 4096)
        busy = replace(busy, to_device_bytes=maps * 2048, from_device_bytes=maps * 2048, latencies=TIMES)
        devices = [replace(busy, dev=at, name=f"0000:00:{at:02x}.0") for at in range(DEVICES)]
        devices[0] = replace(devices[0], map_failures=failures, causes=((Cause.EXHAUSTED, failures),))
        return replace(QUIET, time_ns=maps * SECOND_NS, maps=maps * DEVICES, devices=tuple(devices), pools=POOLS)

    return sample


def pages_of(number: int) -> Pages:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(snapshots_of(number), is_there=lambda name: True))
    ProcessCollector(namespace="swiotlb_exporter", registry=registry)
    return Pages(registry, Watch(PATIENCE_S), Guard(None))


class Fleet(Pages):
    """The pages of all nodes, each node's below its name."""

    def __init__(self, count: int) -> None:
        super().__init__(CollectorRegistry(), Watch(PATIENCE_S), Guard(None))
        self._nodes = {name_of(number): pages_of(number) for number in range(count)}

    def answer(self, request: Request) -> Answer:
        """The page of a node."""
        _, name, page = request.path.split("/", 2)
        return self._nodes[name].answer(replace(request, path=f"/{page}"))


@contextmanager
def nodes(count: int) -> Iterator[str]:
    """All of them; yields where."""
    one_each = Limits(connections=count)
    with (
        listen(Tcp("127.0.0.1", 0)) as listener,
        Server([listener], Fleet(count), Guard(None), one_each) as server,
    ):
        threading.Thread(target=server.serve, daemon=True).start()
        yield server.urls()[0].removeprefix("http://")
        server.stop()


def own(server: Prometheus) -> dict[str, float]:
    """What Prometheus says of itself, summed up by name."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=DEADLINE_S) as answer:  # noqa: S310
        families = text_string_to_metric_families(answer.read().decode())
    summed: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            summed[sample.name] = summed.get(sample.name, 0.0) + sample.value
    return summed


def scraped(count: int, directory: Path) -> None:
    """Have so many nodes scraped for some minutes, and say what that cost."""
    with nodes(count) as address:
        each = [
            {"targets": [address], "labels": {"instance": name, "__metrics_path__": f"/{name}/metrics"}}
            for name in map(name_of, range(count))
        ]
        with running(directory, {}, every=SCRAPED_EVERY, more={"static_configs": each}) as server:
            time.sleep(60)  # every node once, and every series there
            before, on_cpu_s, began_s = own(server), time.process_time(), time.monotonic()
            time.sleep(WATCHED_S)
            after, passed_s = own(server), time.monotonic() - began_s
            on_cpu_s = time.process_time() - on_cpu_s
            scrapes = sum(values(server.query(f"count_over_time(up[{int(passed_s)}s])")))
            up, samples = values(server.query("up")), values(server.query("scrape_samples_scraped"))
            took_s = values(server.query("scrape_duration_seconds"))
            firing = len(server.alerts())
    cpu_s = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    series, resident = after["prometheus_tsdb_head_series"], after["process_resident_memory_bytes"]
    print(f"{count} nodes of {DEVICES} devices, every {SCRAPED_EVERY}: {sum(up):.0f} up, {firing} alerts fire")
    waited_ms = [one_s * 1e3 for one_s in took_s]
    for said in (
        f"a scrape: {statistics.median(samples):.0f} samples, {on_cpu_s / scrapes * 1e3:.1f} ms of the node's CPU",
        f"Prometheus waits {statistics.median(waited_ms):.0f} ms for it, {max(waited_ms):.0f} ms at most",
        f"Prometheus, rules and all: {cpu_s / passed_s * 100:.0f} % of a CPU, {cpu_s / scrapes * 1e3:.1f} ms a scrape",
        f"head: {series:.0f} series, {series / count:.0f} a node, those of rules among them",
        f"resident: {resident / 2**20:.0f} MiB, {resident / series:.0f} bytes a series",
        f"rules: {after['prometheus_rule_group_last_duration_seconds'] * 1e3:.0f} ms an evaluation of all",
    ):
        print(said)


# ---- panels --------------------------------------------------------------------


class Family(NamedTuple):
    """Series of one name: their labels, how often they have a sample, and its value at a time."""

    name: str
    labels: Sequence[str]
    every_s: int
    value: Callable[[int, int], float]
    """Of the number of the series, and the time in seconds."""

    def lines(self, end_s: int) -> Iterator[str]:
        """An hour of it in OpenMetrics, and what queries at its beginning look back to."""
        yield f"# TYPE {self.name.removesuffix('_total')} {'counter' if self.name.endswith('_total') else 'gauge'}\n"
        for number, labels in enumerate(self.labels):
            for at_s in range(end_s - HOUR_S - LOOK_BACK_S, end_s + 1, self.every_s):
                yield f"{self.name}{{{labels}}} {self.value(number, at_s)} {at_s}\n"


def families(count: int) -> Iterator[Family]:
    """All that the fleet's panels ask for, of so many nodes."""

    def steady(value: int) -> Callable[[int, int], float]:
        return lambda number, at_s: value

    def wave(number: int, at_s: int) -> float:
        return round(0.2 + (at_s // RULES_EVERY_S * 7 + number * 13) % 100 / 250, 4)

    node = [f'job="swiotlb",instance="{name_of(number)}"' for number in range(count)]
    source = [f'{one},source="live",kernel="6.12.1",revision="6.10"' for one in node]
    failing = [f'{one},device="0000:00:00.0",driver="virtio-pci"' for one in node[::FAILS]]
    yield Family("swiotlb_up", node, STEP_S, lambda number, at_s: int(number % FAILS != BLIND))
    yield Family("swiotlb_blind_info", [f'{one},reason="no BTF"' for one in node[BLIND::FAILS]], STEP_S, steady(1))
    yield Family("swiotlb_slots", node, STEP_S, steady(32768))
    yield Family("swiotlb_source_info", source, STEP_S, steady(1))
    disagree = [f'{one},verdict="disagree"' for one in node]
    yield Family("swiotlb_verified_operations_total", disagree, STEP_S, steady(0))
    yield Family("instance:swiotlb_mapped_bytes:rate5m", node, RULES_EVERY_S, wave)
    for name in ("used_slots:ratio", "used_hiwater_slots:ratio", "mapped_bytes:rate5m"):
        # Ten times as many as are the first at any time: they change places.
        yield Family(f"instance:swiotlb_{name}_topk20", node[:200], RULES_EVERY_S, wave)
    yield Family("instance_device:swiotlb_map_failures:rate5m", failing, RULES_EVERY_S, wave)
    causes = [f'{one},cause="exhausted"' for one in failing]
    yield Family("instance_device_cause:swiotlb_map_failures_explained:rate5m", causes, RULES_EVERY_S, wave)


def written(count: int, end_s: int, directory: Path) -> None:
    """Blocks of it, where Prometheus looks for its own."""
    path = directory / "openmetrics"
    with path.open("w") as file:
        for family in families(count):
            file.writelines(family.lines(end_s))
        file.write("# EOF\n")
    made = promtool("tsdb", "create-blocks-from", "openmetrics", path, directory / "tsdb")
    if made.returncode:
        raise SystemExit(made.stderr)
    path.unlink()


def panel_s(server: Prometheus, panel: Panel, end_s: int) -> list[float]:
    """How long each query of a panel takes, each time it is asked, cold at first."""
    instant = panel.kind in ("stat", "table")
    when = {"time": end_s} if instant else {"start": end_s - HOUR_S, "end": end_s, "step": STEP_S}
    took = []
    for _ in range(ASKED):
        began_s = time.perf_counter()
        for query in panel.queries.values():
            asked = urllib.parse.urlencode({"query": query, **when})
            page = f"{server.url}/api/v1/query{'' if instant else '_range'}?{asked}"
            with urllib.request.urlopen(page, timeout=DEADLINE_S) as answer:  # noqa: S310
                if not json.load(answer)["data"]["result"]:
                    raise SystemExit(f"{panel.title}: nothing to show")
        took.append(time.perf_counter() - began_s)
    return took


def asked(count: int, directory: Path) -> None:
    """Say how long each of the fleet's panels takes."""
    end_s = int(time.time()) // 60 * 60 - 60
    written(count, end_s, directory)
    with running(directory, {}, every="1h") as server:
        series = values(server.query(f'count({{job="swiotlb"}} @ {end_s})'))[0]
        print(f"{count} nodes: {series:.0f} series that the fleet's panels ask for")
        for panel in PANELS.panels:
            before_s = own(server)["process_cpu_seconds_total"]
            cold_s, *warm_s = panel_s(server, panel, end_s)
            on_cpu_s = (own(server)["process_cpu_seconds_total"] - before_s) / ASKED
            took = f"{cold_s * 1e3:.0f} ms at first, then {statistics.median(warm_s) * 1e3:.0f} ms"
            print(f"{panel.title}: {took}, of which {on_cpu_s * 1e3:.0f} ms on a CPU")


def main() -> None:
    """Measure and print."""
    counts = [NODES, FLEET]
    counts[: len(sys.argv) - 1] = map(int, sys.argv[1:])
    for measure, count in zip((scraped, asked), counts, strict=True):
        if count:
            with tempfile.TemporaryDirectory() as scratch:
                measure(count, Path(scratch))


if __name__ == "__main__":
    main()
