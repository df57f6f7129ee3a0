"""docs/metrics.md, made from the table of metrics: ``python -m tools.metrics_page >docs/metrics.md``."""

from __future__ import annotations

import sys

from prometheus_client import Metric

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.metrics import METRICS
from swiotlb_top.accounting.snapshot import Snapshot

_HEAD = """\
# Metrics

This page is made from the table in `exporters/swiotlb_exporter/metrics.py`. If the screen shows a number too, its help
comes from the screen's table of fields. Metrics that a source cannot know are left out: debugfs has no devices, pools
or verdict. [glossary.md](glossary.md) explains the terms.

- A slot is 2 KiB. Counters begin at 0 when the exporter starts, and go back to 0 when it is started again.
- Devices: at most `--devices` (100) have series of their own; those whose maps fail come first. The others are summed
  up as `device="other"`. When a device is unplugged, its series end. Which devices, and what else can be left out:
  [exporter.md](exporter.md#how-many-series).
- Pools: `default` is the pool made at boot; `grown-1`, `grown-2`... were added later, in that order. At most a hundred
  pools have series of their own, and transient pools never have any.
- No metric holds an address.
- Histograms are classic. A scraper that asks for protobuf gets native ones as well:
  [exporter.md](exporter.md#native-histograms) says how.
- No metric says how long CPUs wait for an area's lock. The kernel reports that only together with every other contended
  lock (`lock:contention_begin`, since 5.19, commit 16edd9b511a1 "locking: Add lock contention tracepoints"). A probe
  there would slow down every CPU that waits for any lock; `perf lock contention` does that while you look. The screen's
  SLOTS show whether one area is fuller than others.

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
