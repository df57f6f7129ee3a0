"""docs/metrics.md, made from the table of metrics: ``python -m tools.metrics_page >docs/metrics.md``."""

from __future__ import annotations

import sys

from prometheus_client import Metric

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.metrics import METRICS
from swiotlb_top.accounting.snapshot import Snapshot

_HEAD = """\
# Metrics

Made from the table in `exporters/swiotlb_exporter/metrics.py`; help that the screen shows too comes from the screen's
table of fields. What a source cannot know is left out: debugfs has no devices, pools or verdict.

- A slot is 2 KiB. Counters begin at 0 with the exporter, and go back to 0 with it.
- Devices: at most `--devices` (100) have series of their own, those whose maps fail first; what the others do is
  summed up as `device="other"`. A device that is unplugged ends its series.
- Pools: `default` is that of boot, `grown-1`, `grown-2`... were added since, in that order; a hundred have series of
  their own, transient ones never.
- No metric holds an address.
- Histograms are classic, and native as well for a scraper that asks for protobuf:
  [exporter.md](exporter.md#native-histograms) says how.
- How hard CPUs wait for an area's lock is not measured. The kernel tells of it with every other contended lock
  (`lock:contention_begin`, 5.19 and later), and a probe there would slow down whoever waits, for whatever lock; `perf
  lock contention` does that for as long as one looks. The screen's AREAS show whether one area is fuller than others.

| metric | type | labels | |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    lines = [_line(spec.name, spec.kind, spec.labels, spec.help) for spec in METRICS]
    listed = {spec.name for spec in METRICS}
    lines += [_of_family(family) for family in SnapshotCollector(_never).describe() if family.name not in listed]
    return _HEAD + "".join(lines) + _OF_THE_PROCESS


_OF_THE_PROCESS = (
    "| `swiotlb_exporter_process_*` | | | The exporter's own CPU, memory and files, as Prometheus's client libraries "
    "tell them. |\n"
)


def _of_family(family: Metric) -> str:
    labels = tuple(dict.fromkeys(label for sample in family.samples for label in sample.labels))
    return _line(family.name, family.type, labels, family.documentation)


def _line(name: str, kind: str, labels: tuple[str, ...], said: str) -> str:
    wire = f"{name}_total" if kind == "counter" else name
    return f"| `{wire}` | {kind} | {', '.join(labels)} | {said} |\n"


def _never() -> Snapshot:
    raise AssertionError("nothing is sampled to describe")


if __name__ == "__main__":
    sys.stdout.write(page())
