"""Grafana's dashboards, made from tables: ``python -m swiotlb_exporter.dashboards exporters/grafana`` writes them.

Three, each a click from the one before: the fleet, a node, a device. All queries are plain PromQL, or names of the
recording rules beside them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_WIDTH: Final = 24
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: pairs of query and legend; ``unit`` is Grafana's word."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    description: str = ""
    link: str = ""
    """uid of the dashboard that a click on a series opens."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard: its variables are name and query, each a choice of label values."""

    uid: str
    title: str
    variables: tuple[tuple[str, str], ...]
    panels: tuple[Panel, ...]


_NODE: Final = '{instance=~"$instance"}'
_ON_NODE: Final = 'instance=~"$instance"'
_ON_DEVICE: Final = 'instance=~"$instance",device=~"$device"'

FLEET: Final = Dashboard(
    "swiotlb-fleet",
    "swiotlb: fleet",
    (),
    (
        Panel("Nodes", (("count(swiotlb_up)", "nodes"),), kind="stat", width=4, height=4),
        Panel("Blind", (("count(swiotlb_up == 0) or vector(0)", "blind"),), kind="stat", width=4, height=4),
        Panel(
            "Nodes whose maps fail",
            (
                (
                    "count(sum by (instance) (instance_device:swiotlb_map_failures:rate5m) > 0) or vector(0)",
                    "failing",
                ),
            ),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Nodes the reference disagrees with",
            (
                (
                    'count(sum by (instance) (swiotlb_verified_operations_total{verdict="disagree"}) > 0) or vector(0)',
                    "disagree",
                ),
            ),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Bounced by the fleet",
            (("sum(instance:swiotlb_mapped_bytes:rate5m)", "bytes"),),
            unit="Bps",
            kind="stat",
            width=8,
            height=4,
        ),
        Panel(
            "Failed maps by device",
            (("topk(20, instance_device:swiotlb_map_failures:rate5m)", "{{instance}} {{device}}"),),
            unit="ops",
            description="Drivers try again at once: a rate means something is stuck.",
            link="swiotlb-device",
        ),
        Panel(
            "Causes",
            (("sum by (cause) (instance_device_cause:swiotlb_map_failures_explained:rate5m)", "{{cause}}"),),
            unit="ops",
            description="In the reference's words. Live, only the failures of bursts are explained.",
        ),
        Panel(
            "Fullest nodes, high water",
            (("topk(20, instance:swiotlb_used_hiwater_slots:ratio)", "{{instance}}"),),
            unit="percentunit",
            link="swiotlb-node",
        ),
        Panel(
            "Fullest nodes, now",
            (("topk(20, instance:swiotlb_used_slots:ratio)", "{{instance}}"),),
            unit="percentunit",
            link="swiotlb-node",
        ),
        Panel(
            "Busiest nodes",
            (("topk(20, instance:swiotlb_mapped_bytes:rate5m)", "{{instance}}"),),
            unit="Bps",
            link="swiotlb-node",
        ),
        Panel(
            "Kernels and sources",
            (("count by (source, kernel, revision) (swiotlb_source_info)", "{{source}} {{kernel}} {{revision}}"),),
            kind="table",
        ),
    ),
)

NODE: Final = Dashboard(
    "swiotlb-node",
    "swiotlb: node",
    (("instance", "label_values(swiotlb_up, instance)"),),
    (
        Panel(
            "Slots",
            (
                (f"swiotlb_slots{_NODE}", "total"),
                (f"swiotlb_used_hiwater_slots{_NODE}", "high water"),
                (f"swiotlb_used_slots{_NODE}", "used"),
                (f"swiotlb_transient_slots{_NODE}", "transient"),
            ),
        ),
        Panel(
            "Failed maps",
            ((f"instance_device:swiotlb_map_failures:rate5m{_NODE}", "{{device}} {{driver}}"),),
            unit="ops",
            link="swiotlb-device",
        ),
        Panel(
            "Causes",
            (
                (
                    f"sum by (device, cause) (instance_device_cause:swiotlb_map_failures_explained:rate5m{_NODE})",
                    "{{device}} {{cause}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Maps",
            ((f"sum by (device) (rate(swiotlb_maps_total{_NODE}[$__rate_interval]))", "{{device}}"),),
            unit="ops",
            link="swiotlb-device",
        ),
        Panel(
            "Mapped",
            ((f"sum by (device) (rate(swiotlb_mapped_bytes_total{_NODE}[$__rate_interval]))", "{{device}}"),),
            unit="Bps",
            link="swiotlb-device",
        ),
        Panel("Longest free run", ((f"swiotlb_pool_longest_free_slots{_NODE}", "{{pool}}"),)),
        Panel("Fragmentation", ((f"swiotlb_pool_fragmentation_ratio{_NODE}", "{{pool}}"),), unit="percentunit"),
        Panel(
            "Pools", ((f"swiotlb_pool_used_slots{_NODE} / swiotlb_pool_slots{_NODE}", "{{pool}}"),), unit="percentunit"
        ),
        Panel(
            "Growth",
            (
                (f"increase(swiotlb_growths_total{_NODE}[$__rate_interval])", "runs of swiotlb_dyn_alloc()"),
                (f"increase(swiotlb_pools_added_total{_NODE}[$__rate_interval])", "pools added"),
                (f"swiotlb_pools{_NODE}", "pools {{kind}}"),
            ),
        ),
        Panel(
            "Verified by the reference",
            (
                (f"sum by (verdict) (rate(swiotlb_verified_operations_total{_NODE}[$__rate_interval]))", "{{verdict}}"),
                (f"rate(swiotlb_safety_violations_total{_NODE}[$__rate_interval])", "safety violations"),
                (f"rate(swiotlb_events_lost_total{_NODE}[$__rate_interval])", "events lost"),
            ),
            unit="ops",
        ),
        Panel(
            "The exporter itself",
            (
                (f"rate(swiotlb_exporter_process_cpu_seconds_total{_NODE}[$__rate_interval])", "CPUs"),
                (f"swiotlb_exporter_scrape_duration_seconds{_NODE}", "seconds a scrape"),
                (f"rate(swiotlb_scrape_errors_total{_NODE}[$__rate_interval])", "errors"),
            ),
        ),
        Panel(
            "The exporter's memory",
            ((f"swiotlb_exporter_process_resident_memory_bytes{_NODE}", "resident"),),
            unit="bytes",
        ),
        Panel("Probes", ((f"swiotlb_hook_attached{_NODE}", "{{hook}}: {{how}}"),), kind="table"),
    ),
)

DEVICE: Final = Dashboard(
    "swiotlb-device",
    "swiotlb: device",
    (
        ("instance", "label_values(swiotlb_up, instance)"),
        ("device", 'label_values(swiotlb_maps_total{instance=~"$instance"}, device)'),
    ),
    (
        Panel(
            "Maps",
            (
                (f"rate(swiotlb_maps_total{{{_ON_DEVICE}}}[$__rate_interval])", "made"),
                (f"rate(swiotlb_unmaps_total{{{_ON_DEVICE}}}[$__rate_interval])", "released"),
                (f"rate(swiotlb_map_failures_total{{{_ON_DEVICE}}}[$__rate_interval])", "refused"),
            ),
            unit="ops",
        ),
        Panel(
            "Causes of refusal",
            (
                (
                    f"rate(swiotlb_map_failures_explained_total{{{_ON_DEVICE}}}[$__rate_interval])",
                    "{{cause}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Bounced by direction",
            ((f"rate(swiotlb_bounced_bytes_total{{{_ON_DEVICE}}}[$__rate_interval])", "{{direction}}"),),
            unit="Bps",
        ),
        Panel(
            "Requests by slots",
            (
                (
                    f"sum by (le) (increase(swiotlb_request_slots_bucket{{{_ON_DEVICE}}}[$__rate_interval]))",
                    "{{le}}",
                ),
            ),
            kind="heatmap",
            description="Nothing over 128 slots (256 KiB) can be mapped.",
        ),
        Panel(
            "Time of a map in the kernel",
            tuple(
                (
                    f"histogram_quantile({quantile}, "
                    f"sum by (le) (increase(swiotlb_map_duration_seconds_bucket{{{_ON_DEVICE}}}[$__rate_interval])))",
                    f"p{quantile * 100:g}",
                )
                for quantile in (0.5, 0.99)
            ),
            unit="s",
        ),
        Panel(
            "Size of a map",
            (
                (
                    f"rate(swiotlb_mapped_bytes_total{{{_ON_DEVICE}}}[$__rate_interval])"
                    f" / rate(swiotlb_maps_total{{{_ON_DEVICE}}}[$__rate_interval])",
                    "mean",
                ),
            ),
            unit="bytes",
        ),
        Panel(
            "Maps held",
            ((f"swiotlb_maps_total{{{_ON_DEVICE}}} - swiotlb_unmaps_total{{{_ON_DEVICE}}}", "held"),),
            description="Since the exporter began; below zero where older maps were released.",
        ),
        Panel(
            "The node's slots",
            (
                (f"swiotlb_slots{{{_ON_NODE}}}", "total"),
                (f"swiotlb_used_slots{{{_ON_NODE}}}", "used"),
            ),
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
        "templating": {"list": [_DATASOURCE_VARIABLE, *(_variable(*variable) for variable in dashboard.variables)]},
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
    queries = enumerate(panel.queries)
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
            for at, (query, legend) in queries
        ],
    }


def main() -> None:
    """Write a file a dashboard into the directory that is named."""
    directory = Path(sys.argv[1])
    for dashboard in DASHBOARDS:
        (directory / f"{dashboard.uid}.json").write_text(render(dashboard))


if __name__ == "__main__":
    main()
