"""Grafana's dashboards, made from tables: ``python -m tools.dashboards exporters/grafana`` writes them.

Three, each a click from the one before: the fleet, a node, a device. All queries are plain PromQL, or names of the
recording rules beside them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_WIDTH: Final = 24
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: queries by their legend; ``unit`` is Grafana's word."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    description: str = ""
    link: str = ""
    """uid of the dashboard that a click on a series opens."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard: the query that a variable takes its choice of label values from, by the variable's name."""

    uid: str
    title: str
    variables: Mapping[str, str]
    panels: tuple[Panel, ...]


_NODE: Final = '{instance=~"$instance"}'
_DEVICE: Final = '{instance=~"$instance",device=~"$device"}'


_BLIND: Final = "swiotlb_up == 0 unless on (job, instance) swiotlb_slots == 0"
"""Nodes whose swiotlb nobody sees; those where it is off have none to see."""


def _stat(title: str, query: str, legend: str, unit: str = "short", width: int = 4) -> Panel:
    """One number."""
    return Panel(title, {legend: query}, unit=unit, kind="stat", width=width, height=4)


def _nodes_with(series: str) -> str:
    """How many nodes have some of it; 0, not nothing, where none has."""
    return f"count(sum by (instance) ({series}) > 0) or vector(0)"


def _rate(series: str) -> str:
    return f"rate({series}[$__rate_interval])"


def _increase(series: str) -> str:
    return f"increase({series}[$__rate_interval])"


def _quantile(quantile: float, buckets: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le) ({_increase(buckets)}))"


FLEET: Final = Dashboard(
    "swiotlb-fleet",
    "swiotlb: fleet",
    {},
    (
        _stat("Nodes", "count(swiotlb_up)", "nodes"),
        _stat("Swiotlb off", "count(swiotlb_slots == 0) or vector(0)", "off", width=2),
        _stat("Blind", f"count({_BLIND}) or vector(0)", "blind", width=2),
        _stat("Nodes whose maps fail", _nodes_with("instance_device:swiotlb_map_failures:rate5m"), "failing"),
        _stat(
            "Nodes the reference disagrees with",
            _nodes_with('swiotlb_verified_operations_total{verdict="disagree"}'),
            "disagree",
        ),
        _stat("Bounced by the fleet", "sum(instance:swiotlb_mapped_bytes:rate5m)", "bytes", unit="Bps", width=8),
        Panel(
            "Failed maps by device",
            {"{{instance}} {{device}}": "topk(20, instance_device:swiotlb_map_failures:rate5m)"},
            unit="ops",
            description="Drivers try again at once: a rate means something is stuck.",
            link="swiotlb-device",
        ),
        Panel(
            "Causes",
            {"{{cause}}": "sum by (cause) (instance_device_cause:swiotlb_map_failures_explained:rate5m)"},
            unit="ops",
            description="In the reference's words. Live, only the failures of bursts are explained.",
        ),
        Panel(
            "Fullest nodes, high water",
            {"{{instance}}": "instance:swiotlb_used_hiwater_slots:ratio_topk20"},
            unit="percentunit",
            link="swiotlb-node",
        ),
        Panel(
            "Fullest nodes, now",
            {"{{instance}}": "instance:swiotlb_used_slots:ratio_topk20"},
            unit="percentunit",
            link="swiotlb-node",
        ),
        Panel(
            "Busiest nodes",
            {"{{instance}}": "instance:swiotlb_mapped_bytes:rate5m_topk20"},
            unit="Bps",
            link="swiotlb-node",
        ),
        Panel(
            "Kernels and sources",
            {"{{source}} {{kernel}} {{revision}}": "count by (source, kernel, revision) (swiotlb_source_info)"},
            kind="table",
        ),
        Panel(
            "Why nodes are blind",
            {"{{reason}}": f"count by (reason) (swiotlb_blind_info and on (job, instance) ({_BLIND})) or vector(0)"},
            kind="table",
            description="Where swiotlb is off there is nothing to see; such nodes are not blind.",
        ),
    ),
)

NODE: Final = Dashboard(
    "swiotlb-node",
    "swiotlb: node",
    {"instance": "label_values(swiotlb_up, instance)"},
    (
        Panel(
            "Slots",
            {
                "total": f"swiotlb_slots{_NODE}",
                "high water": f"swiotlb_used_hiwater_slots{_NODE}",
                "used": f"swiotlb_used_slots{_NODE}",
                "transient": f"swiotlb_transient_slots{_NODE}",
            },
        ),
        Panel(
            "Failed maps",
            {"{{device}} {{driver}}": f"sum by (device, driver) ({_rate(f'swiotlb_map_failures_total{_NODE}')})"},
            unit="ops",
            link="swiotlb-device",
        ),
        Panel(
            "Findings",
            {"{{finding}}: {{advice}}": f"swiotlb_finding_info{_NODE}"},
            kind="table",
            description="What swiotlb-top check would find, had it watched the last 10 to 20 minutes, and what helps.",
        ),
        Panel(
            "Causes",
            {
                "{{device}} {{cause}}": "sum by (device, cause) "
                f"(instance_device_cause:swiotlb_map_failures_explained:rate5m{_NODE})"
            },
            unit="ops",
        ),
        Panel(
            "Maps",
            {"{{device}}": f"sum by (device) ({_rate(f'swiotlb_maps_total{_NODE}')})"},
            unit="ops",
            link="swiotlb-device",
        ),
        Panel(
            "Mapped",
            {"{{device}}": f"sum by (device) ({_rate(f'swiotlb_mapped_bytes_total{_NODE}')})"},
            unit="Bps",
            link="swiotlb-device",
        ),
        Panel("Longest free run", {"{{pool}}": f"swiotlb_pool_longest_free_slots{_NODE}"}),
        Panel("Fragmentation", {"{{pool}}": f"swiotlb_pool_fragmentation_ratio{_NODE}"}, unit="percentunit"),
        Panel("Pools", {"{{pool}}": f"swiotlb_pool_used_slots{_NODE} / swiotlb_pool_slots{_NODE}"}, unit="percentunit"),
        Panel(
            "Growth",
            {
                "runs of swiotlb_dyn_alloc()": _increase(f"swiotlb_growths_total{_NODE}"),
                "pools added": _increase(f"swiotlb_pools_added_total{_NODE}"),
                "pools {{kind}}": f"swiotlb_pools{_NODE}",
            },
        ),
        Panel(
            "Verified by the reference",
            {
                "{{verdict}}": f"sum by (verdict) ({_rate(f'swiotlb_verified_operations_total{_NODE}')})",
                "safety violations": _rate(f"swiotlb_safety_violations_total{_NODE}"),
                "events lost": _rate(f"swiotlb_events_lost_total{_NODE}"),
            },
            unit="ops",
        ),
        Panel(
            "Calls that are verified",
            {"share": f"instance:swiotlb_verified:ratio_rate5m{_NODE}"},
            unit="percentunit",
            description="Live, those of bursts; how many that are is set by what judging costs.",
        ),
        Panel("Calls", {"maps and unmaps": f"instance:swiotlb_operations:rate5m{_NODE}"}, unit="ops"),
        Panel(
            "A run of each BPF program",
            {
                "{{program}}": f"{_rate(f'swiotlb_bpf_run_seconds_total{_NODE}')} / "
                f"{_rate(f'swiotlb_bpf_runs_total{_NODE}')}"
            },
            unit="s",
            description="Only while the kernel counts it: sysctl kernel.bpf_stats_enabled=1.",
        ),
        Panel(
            "The exporter itself",
            {
                "CPUs": _rate(f"swiotlb_exporter_process_cpu_seconds_total{_NODE}"),
                "CPUs, with its BPF programs": f"instance:swiotlb_watching_cpus:rate5m{_NODE}",
                "seconds a scrape": f"swiotlb_exporter_scrape_duration_seconds{_NODE}",
                "errors": _rate(f"swiotlb_scrape_errors_total{_NODE}"),
            },
        ),
        Panel(
            "The exporter's memory",
            {"resident": f"swiotlb_exporter_process_resident_memory_bytes{_NODE}"},
            unit="bytes",
        ),
        Panel("Probes", {"{{hook}}: {{how}}": f"swiotlb_hook_attached{_NODE}"}, kind="table"),
    ),
)

DEVICE: Final = Dashboard(
    "swiotlb-device",
    "swiotlb: device",
    {
        "instance": "label_values(swiotlb_up, instance)",
        "device": f"label_values(swiotlb_maps_total{_NODE}, device)",
    },
    (
        Panel(
            "Maps",
            {
                "made": _rate(f"swiotlb_maps_total{_DEVICE}"),
                "released": _rate(f"swiotlb_unmaps_total{_DEVICE}"),
                "refused": _rate(f"swiotlb_map_failures_total{_DEVICE}"),
            },
            unit="ops",
        ),
        Panel(
            "Causes of refusal",
            {"{{cause}}": _rate(f"swiotlb_map_failures_explained_total{_DEVICE}")},
            unit="ops",
        ),
        Panel(
            "Bounced by direction",
            {"{{direction}}": _rate(f"swiotlb_bounced_bytes_total{_DEVICE}")},
            unit="Bps",
        ),
        Panel(
            "Requests by slots",
            {"{{le}}": f"sum by (le) ({_increase(f'swiotlb_request_slots_bucket{_DEVICE}')})"},
            kind="heatmap",
            description="Nothing over 128 slots (256 KiB) can be mapped.",
        ),
        Panel(
            "Time of a map in the kernel",
            {
                "p50": _quantile(0.5, f"swiotlb_map_duration_seconds_bucket{_DEVICE}"),
                "p99": _quantile(0.99, f"swiotlb_map_duration_seconds_bucket{_DEVICE}"),
            },
            unit="s",
        ),
        Panel(
            "Size of a map",
            {
                "mean": f"{_rate(f'swiotlb_mapped_bytes_total{_DEVICE}')} / {_rate(f'swiotlb_maps_total{_DEVICE}')}",
            },
            unit="bytes",
        ),
        Panel(
            "Maps held",
            {"held": f"swiotlb_maps_total{_DEVICE} - swiotlb_unmaps_total{_DEVICE}"},
            description="Since the exporter began; below zero where older maps were released.",
        ),
        Panel(
            "The node's slots",
            {"total": f"swiotlb_slots{_NODE}", "used": f"swiotlb_used_slots{_NODE}"},
            link="swiotlb-node",
        ),
    ),
)

DASHBOARDS: Final = (FLEET, NODE, DEVICE)


def render(dashboard: Dashboard) -> str:
    """A dashboard's JSON as Grafana imports it."""
    model = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["swiotlb"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["swiotlb"], "title": "swiotlb", "keepTime": True}],
        "templating": {"list": [_DATASOURCE_VARIABLE, *(_variable(*one) for one in dashboard.variables.items())]},
        "panels": _placed(dashboard.panels),
    }
    return json.dumps(model, indent=1) + "\n"


_DATASOURCE_VARIABLE: Final = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Panels in rows of Grafana's 24 columns."""
    placed = []
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _WIDTH:
            x = 0
        placed.append(_panel(number, panel, x, y))
        x += panel.width
        if x >= _WIDTH:
            x, y = 0, y + panel.height
    return placed


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.link:
        what = "var-instance=${__field.labels.instance}&var-device=${__field.labels.device}&${__url_time_range}"
        defaults["links"] = [{"title": "closer", "url": f"/d/{panel.link}?{what}"}]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "expr": query,
                "legendFormat": legend,
                "datasource": _DATASOURCE,
                "instant": panel.kind in ("stat", "table"),
                "format": {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series"),
            }
            for at, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    """Write a file a dashboard into the directory that is named."""
    directory = Path(sys.argv[1])
    for dashboard in DASHBOARDS:
        (directory / f"{dashboard.uid}.json").write_text(render(dashboard))


if __name__ == "__main__":
    main()
