"""What one deploys: valid to the tools that read it, each alert firing when it should and only then, all documented."""

from __future__ import annotations

import configparser
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
from swiotlb_exporter.findings import Recent
from swiotlb_exporter.metrics import METRICS
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import FlightView, ProgramCost, Snapshot
from swiotlb_top.cli.group import swiotlb_top
from swiotlb_top.errors import Exit
from swiotlb_top.flight.shelf import DIRECTORY
from tests.support.prometheus import DEPLOYED, ROOT, RULES, needs_prometheus, promtool
from tests.support.snapshots import STALLED, ScriptedSource
from tools import dashboards, metrics_page

RECORDINGS = {"stall": ROOT / "tests/traces/stall.swtrace", "growing": ROOT / "swiotlb_top/recordings/growing.swtrace"}


def registry_of(source: Any) -> CollectorRegistry:
    """The exporter's, whose source is looked at when it is scraped."""
    registry, recent = CollectorRegistry(), Recent()

    def sample() -> Snapshot:
        return recent(Frame(source.snapshot())).now

    registry.register(SnapshotCollector(sample, is_there=lambda name: True, findings=lambda: recent.told))
    return registry


@needs_prometheus
def test_prometheus_finds_nothing_to_lint_in_the_metrics() -> None:
    flight = FlightView("/run/s", fired=(("failure", 1),), last_file="/run/s/a.swtrace")
    flying = replace(STALLED, flight=flight, programs=(ProgramCost("p", 1, 1),))
    checked = promtool("check", "metrics", given=generate_latest(registry_of(ScriptedSource([flying]))).decode())
    assert (checked.returncode, checked.stderr) == (0, "")


@needs_prometheus
def test_rules_and_scrape_configuration_are_valid() -> None:
    for kind, files in (("rules", RULES), ("config", (DEPLOYED / "prometheus" / "scrape.yml",))):
        checked = promtool("check", kind, *files)
        assert checked.returncode == 0, checked.stdout + checked.stderr


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
    assert "privileged" not in container["securityContext"]


def test_no_node_is_restarted_over_and_over_because_it_cannot_be_watched() -> None:
    for name in UNITS:
        never = set(map(int, service(name)["RestartPreventExitStatus"].split()))
        assert {int(Exit.USAGE), int(Exit.CANNOT)} == never
