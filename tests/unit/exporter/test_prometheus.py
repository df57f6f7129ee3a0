"""A real Prometheus scrapes the exporter while it replays a stall and a growth: every panel and every rule has data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import bcrypt
import pytest
import yaml

from tests.support.credentials import HASH, PASSWORD, Authority, authority, tls, written
from tests.support.prometheus import (
    DEADLINE_S,
    MISSING,
    ROOT,
    RULES,
    WHY_MISSING,
    Prometheus,
    answers,
    eventually,
    free_port,
    running,
    values,
)
from tests.unit.exporter.test_deployment import RECORDINGS
from tools.dashboards import DASHBOARDS

__all__ = ["authority"]

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

VARIABLES = {"$instance": ".*", "$device": ".*", "$__rate_interval": "1m"}


@contextmanager
def replaying(recording: str, *options: str, log: Path | None = None) -> Iterator[str]:
    """The command over a recording; yields where it listens. What it says is written into a file, if one is named."""
    address = f"127.0.0.1:{free_port()}"
    words = ["export", "--trace", str(RECORDINGS[recording]), "--web.listen-address", address, "--interval", "0.5"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "exporters")))}
    with ExitStack() as stack:
        said = stack.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen([sys.executable, "-m", "swiotlb_top", *words, *options], env=variables, stderr=said)
        try:
            yield address
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped both for long enough for every rate."""
    with ExitStack() as stack:
        targets = {name: stack.enter_context(replaying(name)) for name in RECORDINGS}
        for address in targets.values():
            eventually(partial(answers, f"http://{address}/healthz"))
        server = stack.enter_context(running(tmp_path_factory.mktemp("prometheus"), targets))
        eventually(lambda: len(server.query("count_over_time(instance:swiotlb_maps:rate5m[1m]) > 3")) == len(targets))
        yield server


@pytest.mark.parametrize(
    "query",
    [
        query
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        for query in panel.queries.values()
        if "swiotlb_bpf_" not in query  # what only a kernel that runs has
    ],
)
def test_every_query_of_every_panel_has_data(prometheus: Prometheus, query: str) -> None:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    assert prometheus.query(query) != []


@pytest.mark.parametrize(
    "record", [rule["record"] for rule in yaml.safe_load(RULES[0].read_text())["groups"][0]["rules"]]
)
def test_every_recording_rule_has_data(prometheus: Prometheus, record: str) -> None:
    assert prometheus.query(record) != []


def test_the_stall_is_about_to_alert_with_its_device_and_its_cause_and_the_growth_is_not(
    prometheus: Prometheus,
) -> None:
    eventually(lambda: prometheus.alerts("pending") or prometheus.alerts("firing"))
    (alert,) = prometheus.alerts("pending") or prometheus.alerts("firing")
    labels = {name: alert["labels"][name] for name in ("alertname", "instance", "device", "driver")}
    assert labels == {
        "alertname": "SwiotlbMapsFailing",
        "instance": "stall",
        "device": "0000:00:04.0",
        "driver": "virtio-pci",
    }
    assert "Cause: exhausted." in alert["annotations"]["description"]


def test_a_scrape_has_no_duplicates_and_keeps_to_the_bound_on_series(prometheus: Prometheus) -> None:
    assert set(values(prometheus.query("up"))) == {1.0}
    assert max(values(prometheus.query("scrape_samples_scraped"))) < 300


def test_credentials_that_are_right_scrape_and_wrong_ones_do_not(authority: Authority, tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text(tls(authority) + f"basic_auth_users: {{prometheus: {HASH}}}\n")
    assert bcrypt.checkpw(PASSWORD.encode(), HASH.encode())
    for name, password in (("right", PASSWORD), ("wrong", "guess")):
        (tmp_path / name).mkdir()
        more = {
            "scheme": "https",
            "tls_config": {"ca_file": str(authority.directory / "ca.pem")},
            "basic_auth": {"username": "prometheus", "password": password},
        }
        with (
            replaying("stall", "--web.config.file", str(config)) as address,
            running(tmp_path / name, {"node": address}, more=more) as server,
        ):
            eventually(partial(server.query, "count_over_time(up[1m]) > 3"))
            assert values(server.query("last_over_time(up[1m])")) == [float(name == "right")]


def test_it_scrapes_over_one_connection_that_stays(authority: Authority, tmp_path: Path) -> None:
    config = written(tmp_path, tls(authority))
    more = {"scheme": "https", "tls_config": {"ca_file": str(authority.directory / "ca.pem")}}
    options = ("--web.config.file", str(config), "--log.level", "debug", "--log.format", "json")
    with (
        replaying("stall", *options, log=tmp_path / "log") as address,
        running(tmp_path, {"node": address}, more=more) as server,
    ):
        eventually(partial(server.query, "sum_over_time(up[1m]) > 5"))
    lines = [json.loads(line)["msg"] for line in (tmp_path / "log").read_text().splitlines()]
    scrapes = [
        line.partition(": GET /metrics ")[0] for line in lines if "GET /metrics HTTP/1.1 is answered 200" in line
    ]
    assert len(scrapes) > 5
    assert len(set(scrapes)) == 1
