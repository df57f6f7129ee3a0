"""What the recording rules make of the metrics, by promtool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.prometheus import RULES, needs_prometheus, promtool

DEVICE = 'job="swiotlb",instance="node",device="d",driver="v"'
NODE = 'job="swiotlb",instance="node"'
CALLS = {f"swiotlb_maps_total{{{DEVICE}}}": "0+60x10", f"swiotlb_unmaps_total{{{DEVICE}}}": "0+30x10"}
CPU = {f"swiotlb_exporter_process_cpu_seconds_total{{{NODE}}}": "0+3x10"}
FAILURES = f"swiotlb_map_failures_total{{{DEVICE}}}"


def verified(verdict: str) -> str:
    return f'swiotlb_verified_operations_total{{{NODE},verdict="{verdict}"}}'


@needs_prometheus
@pytest.mark.parametrize(
    ("rule", "series", "values"),
    [
        ("instance:swiotlb_operations:rate5m", CALLS | {FAILURES: "0+30x10"}, [2]),
        ("instance:swiotlb_operations:rate5m", {}, []),
        (
            "instance:swiotlb_verified:ratio_rate5m",
            CALLS | {FAILURES: "0+30x10", verified("agree"): "0+29x10", verified("disagree"): "0+1x10"},
            [0.25],
        ),
        (
            "instance:swiotlb_verified:ratio_rate5m",
            CALLS | {FAILURES: "0+0x10", verified("agree"): "0+45x10", verified("inconclusive"): "0+90x10"},
            [0.5],
        ),
        # Of nothing no share is verified, nor is none.
        (
            "instance:swiotlb_verified:ratio_rate5m",
            dict.fromkeys(CALLS, "7+0x10") | {FAILURES: "0+0x10", verified("agree"): "0+0x10"},
            [],
        ),
        ("instance:swiotlb_watching_cpus:rate5m", CPU, [0.05]),
        (
            "instance:swiotlb_watching_cpus:rate5m",
            CPU | {f'swiotlb_bpf_run_seconds_total{{{NODE},program="{name}"}}': "0+6x10" for name in "pq"},
            [0.25],
        ),
        ("instance_device:swiotlb_map_failures:rate5m", {FAILURES: "0+60x10"}, [1]),
        ("instance_device:swiotlb_map_failures:rate5m", {FAILURES: "5+0x10"}, []),
    ],
)
def test_a_rule_says(rule: str, series: dict[str, str], values: list[float], tmp_path: Path) -> None:
    labels = DEVICE if rule.startswith("instance_device:") else NODE
    expected = [{"labels": f"{rule}{{{labels}}}", "value": value} for value in values]
    tests = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": value} for name, value in series.items()],
                "promql_expr_test": [{"expr": rule, "eval_time": "10m", "exp_samples": expected}],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(tests))
    tested = promtool("test", "rules", tmp_path / "test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
