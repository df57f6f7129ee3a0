"""What one applies to a cluster: valid to Kubernetes, privileged no more than elsewhere, and found by its monitor."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from swiotlb_top.cli.group import swiotlb_top
from tests.support.prometheus import DEPLOYED


def manifest(name: str) -> dict[str, Any]:
    """One of the files."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOYED / "kubernetes" / name).read_text())
    return loaded


def container() -> dict[str, Any]:
    (one,) = pod()["spec"]["containers"]
    return dict(one)


def pod() -> dict[str, Any]:
    return dict(manifest("daemonset.yaml")["spec"]["template"])


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_kubernetes_knows_every_key_of_the_daemonset(version: str) -> None:
    kubernetes_validate.validate(manifest("daemonset.yaml"), version, strict=True)


def test_a_key_that_it_does_not_know_is_refused() -> None:
    wrong = manifest("daemonset.yaml")
    wrong["spec"]["updateStrategie"] = wrong["spec"].pop("updateStrategy")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.29", strict=True)


def test_the_command_is_one_that_there_is() -> None:
    command, *arguments = container()["args"]
    swiotlb_top.commands[command].make_context(command, arguments)


def test_a_node_that_cannot_be_watched_is_not_ready_and_neither_restarted_nor_in_the_way_of_an_update() -> None:
    assert container()["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container()["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert "startupProbe" not in container()
    strategy = manifest("daemonset.yaml")["spec"]["updateStrategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}


def test_the_monitor_selects_the_pods_and_a_port_that_they_have() -> None:
    monitor = manifest("podmonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    selected = monitor["spec"]["selector"]["matchLabels"]
    assert selected.items() <= pod()["metadata"]["labels"].items()
    assert selected.items() <= manifest("daemonset.yaml")["spec"]["selector"]["matchLabels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container()["ports"]}


def test_the_monitor_s_job_is_that_of_the_rules_and_its_instances_lead_to_the_runbooks() -> None:
    (endpoint,) = manifest("podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    job, instance = endpoint["relabelings"]
    assert job == {"targetLabel": "job", "replacement": "swiotlb"}
    assert f'job="{job["replacement"]}"' in (DEPLOYED / "prometheus" / "swiotlb-alerts.yml").read_text()
    (port,) = container()["ports"]
    assert instance["replacement"] == f"$1:{port['hostPort']}"
    assert container()["args"][-1] == f":{port['containerPort']}"
