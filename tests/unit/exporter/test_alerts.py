"""Each alert fires when it should and only then, and says what an on-call person needs."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from swiotlb_exporter.findings import KNOWABLE
from swiotlb_exporter.web import runbook
from swiotlb_top.accounting.finding import ADVICE, MEANINGS, Kind
from swiotlb_top.allocator import Cause
from swiotlb_top.findings.rules import KIND_OF_CAUSE
from swiotlb_top.kernel_log import meanings
from swiotlb_top.kernel_log.causes import LogCause
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import ReplaySource
from tests.support.prometheus import ROOT, RULES, needs_prometheus, promtool
from tests.unit.exporter.test_deployment import RECORDINGS, registry_of
from tools import alerts as table

STEP_S = 15
STEPS = 20
SLOWLY = 1 / 64
"""A recording of some seconds then lasts longer than the rules look back."""


def alerts() -> dict[str, dict[str, Any]]:
    rules = yaml.safe_load(RULES[1].read_text())["groups"][0]["rules"]
    return {rule["alert"]: rule for rule in rules}


MAPS = 'swiotlb_maps_total{device="d",driver="v"}'
FAILURES = 'swiotlb_map_failures_total{device="d",driver="v"}'
FOUND = 'swiotlb_finding_device_info{device="d",driver="v",finding="%s"}'
LOGGED = 'swiotlb_kernel_log_earlier_failures{device="d",driver="v",cause="%s"}'
LOGGED_SINCE = 'swiotlb_kernel_log_failures_total{device="d",driver="v",cause="%s"}'
EXPLAINED = 'swiotlb_map_failures_explained_total{device="d",driver="v",cause="%s"}'

SERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # alert: series on which it fires within half an hour, and series like them on which it does not; a value a minute
    "SwiotlbMapsFailing": (
        {FAILURES: "0+10x30", EXPLAINED % "exhausted": "0+1x30"},
        {FAILURES: "0 5 9 9+0x30", EXPLAINED % "exhausted": "0+1x3 3+0x27"},
    ),
    "SwiotlbNearlyFull": (
        {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "470+0x30", "swiotlb_used_hiwater_slots": "470+0x30"},
        {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "0+0x30", "swiotlb_used_hiwater_slots": "470+0x30"},
    ),
    "SwiotlbFilling": (
        {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "300+2x30"},
        {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "300+0.3x30"},
    ),
    "SwiotlbRunaway": (
        {FOUND % "runaway": "_x28 1 1", 'swiotlb_finding{finding="full"}': "1+0x30"},
        {
            FOUND % "runaway": "1+0x30",
            'swiotlb_finding{finding="full"}': "0+0x30",
            "swiotlb_slots": "512+0x30",
            "swiotlb_used_slots": "400+0x30",
        },
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
        {FOUND % "leak": "_x10 1+0x20"},
        {
            FOUND % "leak": "_x15 1+0x10 stale _x4",
            FOUND % "full": "1+0x30",
            'swiotlb_finding{finding="leak"}': "1+0x30",
        },
    ),
    "SwiotlbUnreachable": (
        {LOGGED % "unreachable": "1+0x30"},
        {LOGGED % "exhausted": "1+0x30", LOGGED_SINCE % "unreachable": "0+0x30"},
    ),
    "SwiotlbExporterUnreachable": (
        {'up{job="swiotlb"}': "1 1 0+0x30"},
        {'up{job="swiotlb"}': "1 0 1 0 1+0x30", 'up{job="node"}': "0+0x30"},
    ),
    "SwiotlbExporterBlind": (
        {"swiotlb_up": "1 1 0+0x30"},
        {"swiotlb_up": "1 0 1 0 1+0x30", 'up{job="swiotlb"}': "1+0x30"},
    ),
    "SwiotlbStale": (
        {"swiotlb_burst_age_seconds": "5+60x30", MAPS: "0+60x30"},
        {"swiotlb_burst_age_seconds": "5+60x30", MAPS: "60+0x30"},
    ),
    "SwiotlbExporterCostly": (
        {"swiotlb_exporter_process_cpu_seconds_total": "0+18x30"},
        {
            "swiotlb_exporter_process_cpu_seconds_total": "0+1x30",
            "swiotlb_exporter_process_resident_memory_bytes": "90000000+0x30",
        },
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
    ("SwiotlbMapsFailing", {FAILURES: "0+10x30"}),
    ("SwiotlbUnreachable", {LOGGED_SINCE % "not_bounced": "0+0x20 1+0x10"}),
    (
        "SwiotlbRunaway",
        {
            FOUND % "runaway": "1+0x30",
            "swiotlb_slots": "512+0x30",
            "swiotlb_used_slots": "100+0x26 480+0x3",
        },
    ),
    ("SwiotlbReferenceDisagrees", {"swiotlb_safety_violations_total": "0+0x25 2+0x5"}),
    ("SwiotlbStale", {'node_textfile_mtime_seconds{file="/d/swiotlb.prom"}': "1+0x30"}),
    (
        "SwiotlbExporterCostly",
        {
            "swiotlb_exporter_process_cpu_seconds_total": "0+6x30",
            'swiotlb_bpf_run_seconds_total{program="p"}': "0+6x30",
            'swiotlb_bpf_run_seconds_total{program="q"}': "0+6x30",
        },
    ),
    ("SwiotlbExporterCostly", {"swiotlb_exporter_process_resident_memory_bytes": "500000000+0x30"}),
]
MORE_THAT_DO_NOT: list[tuple[str, dict[str, str]]] = [
    # A burst that comes and goes rises for a while, too; and what rises from nothing may be a boot.
    ("SwiotlbFilling", {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "10+0x22 60+50x7"}),
    ("SwiotlbFilling", {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "10+5x30"}),
    ("SwiotlbFilling", {"swiotlb_slots": "512+0x30", "swiotlb_used_slots": "400+0x30"}),
    ("SwiotlbStale", {"swiotlb_burst_age_seconds": "5+0x30", MAPS: "0+60x30"}),
    ("SwiotlbExporterCostly", {"swiotlb_exporter_process_cpu_seconds_total": "0+0x20 50+0x10"}),
]
CAUSES = (*(cause.value for cause in Cause), table.UNEXPLAINED)


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
@pytest.mark.parametrize(
    ("alert", "series"), [*((alert, silent) for alert, (_, silent) in SERIES.items()), *MORE_THAT_DO_NOT]
)
def test_it_stays_silent_on_what_only_looks_like_it(alert: str, series: dict[str, str], tmp_path: Path) -> None:
    assert fired(series, tmp_path) == set()


@needs_prometheus
def test_a_node_whose_swiotlb_is_off_alerts_nobody(tmp_path: Path) -> None:
    assert fired(SWIOTLB_IS_OFF, tmp_path) == set()


@needs_prometheus
def test_the_alert_of_a_blind_node_says_why_it_is_blind(tmp_path: Path) -> None:
    series = {"swiotlb_up": "0+0x30", 'swiotlb_blind_info{reason="no BTF"}': "1+0x30"}
    assert 'description="no BTF."' in said_of(series, tmp_path, {})


QUOTED = {
    "SwiotlbMapsFailing": Kind.FULL,
    "SwiotlbNearlyFull": Kind.NEARLY_FULL,
    "SwiotlbGrowthFailing": Kind.GROWTH_FAILS,
    "SwiotlbFragmented": Kind.FRAGMENTED,
    "SwiotlbReferenceDisagrees": Kind.HARM,
    "SwiotlbLeak": Kind.LEAK,
    "SwiotlbRunaway": Kind.RUNAWAY,
    "SwiotlbFilling": Kind.LEAK,
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


@needs_prometheus
@pytest.mark.parametrize("cause", CAUSES)
def test_maps_that_fail_alert_with_their_cause_and_what_helps_against_that(cause: str, tmp_path: Path) -> None:
    explained = {} if cause == table.UNEXPLAINED else {EXPLAINED % cause: "0+1x30"}
    kind = KIND_OF_CAUSE[Cause(cause)] if explained else Kind.UNEXPLAINED
    found = {
        f'swiotlb_finding_info{{finding="{one.value}",meaning="{one.value} is found.",advice="Do."}}' for one in Kind
    }
    said = said_of({FAILURES: "0+10x30"} | explained | dict.fromkeys(found, "1+0x30"), tmp_path, {})
    assert f'cause="{cause}"' in said, said
    assert said.count("cause=") == 1
    assert f'advice="{kind.value} is found. Do."' in said or kind not in KNOWABLE


@needs_prometheus
def test_a_device_whose_maps_fail_for_two_causes_alerts_for_each(tmp_path: Path) -> None:
    causes = {EXPLAINED % cause: "0+1x30" for cause in ("exhausted", "fragmented")}
    said = said_of({FAILURES: "0+10x30"} | causes, tmp_path, {})
    assert set(re.findall(r'cause="(\w+)"', said)) == {"exhausted", "fragmented"}


@needs_prometheus
@pytest.mark.parametrize("cause", [LogCause.UNREACHABLE, LogCause.NOT_BOUNCED])
def test_a_device_that_cannot_reach_its_buffers_alerts_with_what_the_line_means(
    cause: LogCause, tmp_path: Path
) -> None:
    said = said_of({LOGGED % cause.value: "1+0x30"}, tmp_path, {})
    meaning = meanings.MEANINGS[cause]
    assert f'description="{meaning.means}"' in said, said
    assert f'advice="What helps: {meaning.helps}"' in said


@needs_prometheus
def test_what_fills_says_when_it_is_full(tmp_path: Path) -> None:
    """Of 512 slots 360 are in use, 2 more each minute: 76 minutes are left."""
    assert re.search(r"full in 1h 1[56]m \d+s if this goes on", said_of(SERIES["SwiotlbFilling"][0], tmp_path, {}))


def test_every_alert_says_what_happens_what_to_do_and_where_that_is_told_at_length() -> None:
    for rule in alerts().values():
        assert {"summary", "description", "advice", "runbook_url"} <= set(rule["annotations"])
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_kind_of_trouble_that_is_exported_is_quoted_by_some_alert() -> None:
    text = " ".join(rule["annotations"]["advice"] for rule in alerts().values())
    quoted = chain.from_iterable(group.split("|") for group in re.findall(r'finding=~\\"([a-z_|]+)\\"', text))
    assert {*quoted, *re.findall(r'\$kind :?= "(\w+)"', text)} == {kind.value for kind in KNOWABLE if kind.is_trouble}


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


def test_the_rules_are_what_the_table_says() -> None:
    assert RULES[1].read_text() == table.render()


@needs_prometheus
@pytest.mark.parametrize("alert", SERIES)
def test_its_runbook_is_that_section_on_the_exporter_or_where_the_docs_are_served(alert: str, tmp_path: Path) -> None:
    for labels, base in (
        ({"swiotlb_docs": "https://wiki.example.org/s"}, "https://wiki.example.org/s"),
        ({}, "http://node"),
    ):
        said = said_of(SERIES[alert][0], tmp_path, labels)
        assert f'runbook_url="{base}/alerts.md#{alert.lower()}"' in said, said
    assert f'<h2 id="{alert.lower()}">' in runbook.page()


@needs_prometheus
def test_the_runbook_of_a_node_that_does_not_answer_is_on_one_that_does(tmp_path: Path) -> None:
    series = {'up{job="swiotlb"}': "0+0x30", 'up{job="swiotlb",instance="well"}': "1+0x30"}
    assert f'runbook_url="http://well{runbook.PATH}#swiotlbexporterunreachable"' in said_of(series, tmp_path, {})
