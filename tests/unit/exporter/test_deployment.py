"""What one deploys: valid to the tools that read it, each alert firing when it should and only then, all documented."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.findings import KNOWABLE, Recent
from swiotlb_exporter.metrics import METRICS
from swiotlb_top.accounting.finding import ADVICE, MEANINGS, Kind
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import FlightView, Snapshot
from swiotlb_top.cli.group import swiotlb_top
from swiotlb_top.errors import Exit
from swiotlb_top.flight.shelf import DIRECTORY
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import ReplaySource
from tests.support.prometheus import DEPLOYED, MISSING, ROOT, RULES, WHY_MISSING, promtool
from tests.support.snapshots import STALLED, ScriptedSource
from tools import dashboards, metrics_page

RECORDINGS = {"stall": ROOT / "tests/traces/stall.swtrace", "growing": ROOT / "swiotlb_top/recordings/growing.swtrace"}
STEP_S = 15
STEPS = 20
SLOWLY = 1 / 64
"""A recording of some seconds then lasts longer than the rules look back."""

needs_prometheus = pytest.mark.skipif(MISSING, reason=WHY_MISSING)


def registry_of(source: Any) -> CollectorRegistry:
    """The exporter's, whose source is looked at when it is scraped."""
    registry, recent = CollectorRegistry(), Recent()

    def sample() -> Snapshot:
        return recent(Frame(source.snapshot())).now

    registry.register(SnapshotCollector(sample, is_there=lambda name: True, findings=lambda: recent.found))
    return registry


@needs_prometheus
def test_prometheus_finds_nothing_to_lint_in_the_metrics() -> None:
    flying = replace(STALLED, flight=FlightView("/run/s", fired=(("failure", 1),), last_file="/run/s/a.swtrace"))
    checked = promtool("check", "metrics", given=generate_latest(registry_of(ScriptedSource([flying]))).decode())
    assert (checked.returncode, checked.stderr) == (0, "")


@needs_prometheus
def test_rules_and_scrape_configuration_are_valid() -> None:
    for kind, files in (("rules", RULES), ("config", (DEPLOYED / "prometheus" / "scrape.yml",))):
        checked = promtool("check", kind, *files)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def alerts() -> dict[str, dict[str, Any]]:
    rules = yaml.safe_load(RULES[1].read_text())["groups"][0]["rules"]
    return {rule["alert"]: rule for rule in rules}


SERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # alert: series on which it fires within half an hour, and series like them on which it does not; a value a minute
    "SwiotlbMapsFailing": (
        {'swiotlb_map_failures_total{device="d",driver="v"}': "0+10x30"},
        {'swiotlb_map_failures_total{device="d",driver="v"}': "0 5 9 9+0x30"},
    ),
    "SwiotlbNearlyFull": (
        {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "470+0x30", "swiotlb_used_hiwater_slots": "470+0x30"},
        {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "0+0x30", "swiotlb_used_hiwater_slots": "470+0x30"},
    ),
    "SwiotlbGrowthFailing": (
        {"swiotlb_growths_total": "0 0 1+1x30", "swiotlb_pools_added_total": "0+0x30"},
        {"swiotlb_growths_total": "0 0 1+1x30", "swiotlb_pools_added_total": "3 3 4+1x30"},
    ),
    "SwiotlbFragmented": (
        {
            "swiotlb_slots": "512+0x30",
            "swiotlb_used_slots": "384+0x30",
            'swiotlb_pool_longest_free_slots{pool="a"}': "31+0x30",
            'swiotlb_pool_longest_free_slots{pool="b"}': "3+0x30",
        },
        {
            "swiotlb_slots": "512+0x30",
            "swiotlb_used_slots": "384+0x30",
            'swiotlb_pool_longest_free_slots{pool="a"}': "32+0x30",
            'swiotlb_pool_longest_free_slots{pool="b"}': "3+0x30",
        },
    ),
    "SwiotlbReferenceDisagrees": (
        {'swiotlb_verified_operations_total{verdict="disagree"}': "0+0x25 1+0x5"},
        {
            'swiotlb_verified_operations_total{verdict="agree"}': "0+100x30",
            'swiotlb_verified_operations_total{verdict="disagree"}': "7+0x30",
            "swiotlb_safety_violations_total": "0+0x30",
        },
    ),
    "SwiotlbLeak": (
        {'swiotlb_finding{finding="leak"}': "0+0x10 1+0x20", 'swiotlb_finding{finding="runaway"}': "0+0x30"},
        {'swiotlb_finding{finding="leak"}': "0+0x15 1+0x10 0+0x5", 'swiotlb_finding{finding="transient"}': "1+0x30"},
    ),
    "SwiotlbExporterBlind": (
        {"swiotlb_up": "1 1 0+0x30"},
        {"swiotlb_up": "1 0 1 0 1+0x30", 'up{job="swiotlb"}': "1+0x30"},
    ),
}
SWIOTLB_IS_OFF = {
    "swiotlb_up": "0+0x30",
    "swiotlb_slots": "0+0x30",
    'swiotlb_blind_info{reason="swiotlb is off"}': "1+0x30",
    'up{job="swiotlb"}': "1+0x30",
}
MORE_THAT_FIRE: list[tuple[str, dict[str, str]]] = [
    (
        "SwiotlbNearlyFull",
        {"swiotlb_slots": "256+0x30", "swiotlb_used_slots": "0+0x30", "swiotlb_used_hiwater_slots": "9+0x22 250+0x8"},
    ),
    ("SwiotlbReferenceDisagrees", {"swiotlb_safety_violations_total": "0+0x25 2+0x5"}),
    ("SwiotlbExporterBlind", {'up{job="swiotlb"}': "1 1 0+0x30"}),
    ("SwiotlbExporterBlind", {'node_textfile_mtime_seconds{file="/d/swiotlb.prom"}': "1+0x30"}),
]


def fired(series: dict[str, str], directory: Path, *, step_s: int = 60, at_s: int = 1800) -> set[str]:
    """Which alerts fire at a time."""
    return set(re.findall(r"alertname:\s*(\w+)", said_of(series, directory, {}, step_s, at_s)))


def said_of(
    series: dict[str, str], directory: Path, external_labels: dict[str, str], step_s: int = 60, at_s: int = 1800
) -> str:
    """What promtool says of the alerts that fire at a time, when it is told that none does."""
    given = [{"series": labelled(name), "values": values} for name, values in series.items()]
    expected = [{"eval_time": f"{at_s}s", "alertname": name, "exp_alerts": []} for name in alerts()]
    tests = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": f"{step_s}s",
        "tests": [
            {
                "interval": f"{step_s}s",
                "external_labels": external_labels,
                "input_series": given,
                "alert_rule_test": expected,
            }
        ],
    }
    path = directory / "test.yml"
    path.write_text(json.dumps(tests))
    tested = promtool("test", "rules", path)
    said = tested.stdout + tested.stderr
    assert (tested.returncode != 0) == ("alertname:" in said), said
    return said


def labelled(series: str) -> str:
    """With the labels that every series of a target has, unless it has them."""
    name, _, labels = series.partition("{")
    known = labels.rstrip("}").split(",") if labels else []
    more = [label for label in ('instance="node"', 'job="swiotlb"') if label.split("=")[0] not in labels]
    return f"{name}{{{','.join((*known, *more))}}}"


@needs_prometheus
@pytest.mark.parametrize(
    ("alert", "series"),
    [*((alert, fires) for alert, (fires, _) in SERIES.items()), *MORE_THAT_FIRE],
)
def test_an_alert_fires_on_what_it_is_for_and_no_other_does(alert: str, series: dict[str, str], tmp_path: Path) -> None:
    assert fired(series, tmp_path) == {alert}


@needs_prometheus
@pytest.mark.parametrize("alert", SERIES)
def test_it_stays_silent_on_what_only_looks_like_it(alert: str, tmp_path: Path) -> None:
    assert fired(SERIES[alert][1], tmp_path) == set()


@needs_prometheus
def test_a_node_whose_swiotlb_is_off_alerts_nobody(tmp_path: Path) -> None:
    assert fired(SWIOTLB_IS_OFF, tmp_path) == set()


@needs_prometheus
def test_the_alert_of_a_blind_node_says_why_it_is_blind(tmp_path: Path) -> None:
    series = {"swiotlb_up": "0+0x30", 'swiotlb_blind_info{reason="no BTF"}': "1+0x30"}
    assert 'description="no BTF."' in said_of(series, tmp_path, {})


QUOTED = {
    "SwiotlbMapsFailing": Kind.TOO_LARGE,
    "SwiotlbNearlyFull": Kind.NEARLY_FULL,
    "SwiotlbGrowthFailing": Kind.GROWTH_FAILS,
    "SwiotlbFragmented": Kind.FRAGMENTED,
    "SwiotlbReferenceDisagrees": Kind.HARM,
    "SwiotlbLeak": Kind.LEAK,
}
"""A finding that each alert may quote."""


@needs_prometheus
@pytest.mark.parametrize("alert", QUOTED)
def test_an_alert_says_what_is_found_and_what_helps(alert: str, tmp_path: Path) -> None:
    kind, other = QUOTED[alert], Kind.TRANSIENT
    told = ((one.value, MEANINGS[one], " ".join(ADVICE[one])) for one in (kind, other))
    infos = {
        f'swiotlb_finding_info{{finding="{one}",meaning="{meaning}",advice="{helps}"}}' for one, meaning, helps in told
    }
    said = said_of(SERIES[alert][0] | dict.fromkeys(infos, "1+0x30"), tmp_path, {})
    assert f'advice="{MEANINGS[kind]} {" ".join(ADVICE[kind])}"' in said, said
    assert MEANINGS[other] not in said
    assert 'advice="Run swiotlb-top check on the node."' in said_of(SERIES[alert][0], tmp_path, {})


@needs_prometheus
@pytest.mark.parametrize("alert", ["SwiotlbMapsFailing", "SwiotlbReferenceDisagrees"])
def test_an_alert_says_where_the_recording_is(alert: str, tmp_path: Path) -> None:
    latest = 'swiotlb_flight_last_file_timestamp_seconds{{trigger="{}",file="/run/s/{}.swtrace"}}'
    files = {latest.format("asked", "older"): "5+0x30", latest.format("failure", "newer"): "7+0x30"}
    said = said_of(SERIES[alert][0] | files, tmp_path, {})
    assert 'recording="/run/s/newer.swtrace on node"' in said, said
    said = said_of(SERIES[alert][0], tmp_path, {})
    assert 'recording="None by the exporter: its option --flight, or swiotlb-flight.service, makes them."' in said, said


def test_every_kind_of_trouble_that_is_exported_is_quoted_by_some_alert() -> None:
    """A device that takes most slots at once wakes somebody if maps fail for it: it may have got on well."""
    text = RULES[1].read_text()
    trouble = {kind.value for kind in KNOWABLE if kind.is_trouble and kind is not Kind.RUNAWAY}
    quoted = set(chain.from_iterable(group.split("|") for group in re.findall(r'finding=~?\\"([a-z_|]+)\\"', text)))
    assert quoted == trouble


def test_every_alert_is_tested() -> None:
    assert set(SERIES) == set(alerts())


def replayed(path: Path) -> dict[str, str]:
    """Every series of the exporter while it shows a recording in slow motion, a value a step."""
    source = ReplaySource(path, speed=SLOWLY)
    registry = registry_of(source)
    seen: dict[str, list[str]] = {}
    for step in range(STEPS):
        for line in generate_latest(registry).decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                seen.setdefault(name, ["_"] * step).append(value)
        source.play(PlayOrder(passed_ns=STEP_S * 1_000_000_000))
    return {name: " ".join(values) for name, values in seen.items()}


@needs_prometheus
@pytest.mark.parametrize(("recording", "firing"), [("stall", {"SwiotlbMapsFailing"}), ("growing", set())])
def test_of_the_recordings_the_stall_fires_and_the_growth_does_not(
    recording: str, firing: set[str], tmp_path: Path
) -> None:
    series = replayed(RECORDINGS[recording])
    assert fired(series, tmp_path, step_s=STEP_S, at_s=STEP_S * (STEPS - 1)) == firing


def test_every_alert_has_a_section() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sections == list(alerts())


@needs_prometheus
@pytest.mark.parametrize("alert", SERIES)
def test_its_runbook_is_that_section_where_the_docs_are_served(alert: str, tmp_path: Path) -> None:
    for labels, base in (({"swiotlb_docs": "https://wiki.example.org/s"}, "https://wiki.example.org/s"), ({}, "docs")):
        said = said_of(SERIES[alert][0], tmp_path, labels)
        assert f'runbook_url="{base}/alerts.md#{alert.lower()}"' in said, said


def test_the_page_of_metrics_is_what_the_table_says() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page.page()
    for spec in METRICS:
        assert f"`{spec.name}" in metrics_page.page()


@pytest.mark.parametrize("dashboard", dashboards.DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_the_dashboards_are_what_the_tables_say(dashboard: dashboards.Dashboard) -> None:
    assert (DEPLOYED / "grafana" / f"{dashboard.uid}.json").read_text() == dashboards.render(dashboard)


def metrics_in(text: str) -> Iterator[str]:
    """Names of our metrics in PromQL, without what histograms and counters add."""
    for name in re.findall(r"(?<![\w:])swiotlb_\w+", text):
        yield re.sub(r"_(total|bucket|sum|count)$", "", name)


def test_dashboards_and_rules_ask_for_metrics_that_there_are() -> None:
    there = {family.name for family in registry_of(ScriptedSource([STALLED])).collect()}
    there |= {f"swiotlb_exporter_process_{rest}" for rest in ("cpu_seconds", "resident_memory_bytes")}
    rules = [rule for path in RULES for rule in yaml.safe_load(path.read_text())["groups"][0]["rules"]]
    queries = [query for board in dashboards.DASHBOARDS for panel in board.panels for query in panel.queries.values()]
    asked = set(chain.from_iterable(metrics_in(text) for text in [*queries, *(rule["expr"] for rule in rules)]))
    assert asked <= there
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert set(chain.from_iterable(re.findall(r"\w+:\w+:\w+", text) for text in queries)) <= recorded


UNITS = ("swiotlb-exporter.service", "swiotlb-flight.service")


def service(name: str) -> configparser.SectionProxy:
    """What a unit says of its service."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOYED / "systemd" / name)
    return unit["Service"]


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_a_unit_is_well_hardened(name: str) -> None:
    analysed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", DEPLOYED / "systemd" / name],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert analysed.returncode == 0, analysed.stdout + analysed.stderr
    assert "Unknown" not in analysed.stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_hides_nothing_that_the_probes_read(name: str) -> None:
    """ProtectKernelTunables makes /proc/kallsyms inaccessible, and ProtectKernelLogs /dev/kmsg (systemd.exec(5))."""
    assert not {"ProtectKernelTunables", "ProtectKernelLogs"} & set(service(name))


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_a_command_that_there_is(name: str) -> None:
    program, command, *arguments = service(name)["ExecStart"].replace("%t", "/run").split()
    assert program == "/usr/bin/swiotlb-top"
    swiotlb_top.commands[command].make_context(command, arguments)


def test_the_flight_recorder_writes_where_systemd_makes_room_for_it_and_leaves_its_files() -> None:
    unit = service("swiotlb-flight.service")
    assert f"-o %t/{unit['RuntimeDirectory']}" in unit["ExecStart"]
    assert Path("/run", unit["RuntimeDirectory"]) == DIRECTORY
    assert unit["RuntimeDirectoryPreserve"] == "yes"


def test_the_exporter_s_unit_has_room_for_the_files_of_a_flight_recorder_and_says_how() -> None:
    unit = service("swiotlb-exporter.service")
    assert unit["RuntimeDirectoryPreserve"] == "yes"
    words = f"--flight 60s -o %t/{unit['RuntimeDirectory']}"
    for place in (DEPLOYED / "systemd" / "swiotlb-exporter.service", ROOT / "docs" / "exporter.md"):
        assert words in place.read_text()
    _, command, *arguments = f"{unit['ExecStart']} {words}".replace("%t", "/run").split()
    swiotlb_top.commands[command].make_context(command, arguments)


def test_the_two_units_do_not_share_a_directory_whose_owner_systemd_would_change() -> None:
    directories = [service(name)["RuntimeDirectory"] for name in UNITS]
    assert len(set(directories)) == len(UNITS)


def test_units_and_daemonset_have_the_same_capabilities_and_no_more() -> None:
    bounds = [service(name)["CapabilityBoundingSet"] for name in UNITS]
    assert bounds == [service(name)["AmbientCapabilities"] for name in UNITS]
    assert len(set(bounds)) == 1
    of_unit = {name.removeprefix("CAP_") for name in bounds[0].split()}
    daemonset = yaml.safe_load((DEPLOYED / "kubernetes" / "daemonset.yaml").read_text())
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    capabilities = container["securityContext"]["capabilities"]
    assert capabilities == {"drop": ["ALL"], "add": sorted(of_unit)}
    assert of_unit == {"BPF", "PERFMON", "SYSLOG"}
    assert container["command"][1:3] == ["export", "--source"]


def test_no_node_is_restarted_over_and_over_because_it_cannot_be_watched() -> None:
    for name in UNITS:
        never = set(map(int, service(name)["RestartPreventExitStatus"].split()))
        assert {int(Exit.USAGE), int(Exit.CANNOT)} == never
    daemonset = yaml.safe_load((DEPLOYED / "kubernetes" / "daemonset.yaml").read_text())
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert "startupProbe" not in container
    assert daemonset["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "100%"
