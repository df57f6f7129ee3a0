"""What the image says of itself is what the DaemonSet and the units say. ``make dist-test`` makes one and runs it."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.packages import image

EXPORTERS = Path(__file__).parents[3] / "exporters"


@pytest.fixture
def pod() -> Any:
    daemonset = yaml.safe_load((EXPORTERS / "kubernetes/daemonset.yaml").read_text())
    return daemonset["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: Any) -> Any:
    (container,) = pod["containers"]
    return container


@pytest.fixture
def podman() -> list[str]:
    """The command that an image carries to be started by."""
    return shlex.split(image.IMAGE.labels["run"])


def option(name: str, words: list[str]) -> str:
    return words[words.index(name) + 1]


def test_the_daemonset_runs_it_by_its_name_with_its_own_arguments(container: Any) -> None:
    assert container["image"] == image.name()
    assert "command" not in container
    assert tuple(container["args"]) == image.IMAGE.arguments
    assert [port["containerPort"] for port in container["ports"]] == [image.IMAGE.port]
    assert str(container["securityContext"]["runAsUser"]) == image.IMAGE.user


def test_it_asks_for_the_capabilities_of_the_daemonset_and_the_unit_and_no_more(
    container: Any, podman: list[str]
) -> None:
    asked = [f"CAP_{name.upper()}" for name in image.CAPABILITIES]
    assert option("--cap-drop", podman) == "all"
    assert option("--cap-add", podman) == ",".join(image.CAPABILITIES)
    assert [f"CAP_{name}" for name in container["securityContext"]["capabilities"]["add"]] == asked
    unit = configparser.RawConfigParser(strict=False)
    unit.read(EXPORTERS / "systemd/swiotlb-exporter.service")
    assert unit["Service"]["CapabilityBoundingSet"].split() == asked


def test_nothing_is_privileged(container: Any, podman: list[str]) -> None:
    assert not [word for word in podman if "privileged" in word]
    assert "privileged" not in container["securityContext"]


def test_programs_are_kept_on_a_volume(pod: Any, container: Any) -> None:
    assert image.IMAGE.volumes == (image.CACHE,)
    assert f"{image.IMAGE.environment['XDG_CACHE_HOME']}/swiotlb-top" == image.CACHE
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[image.CACHE] in {volume["name"] for volume in pod["volumes"]}


def test_umoci_is_told_each_word_of_it() -> None:
    options = image.IMAGE.options()
    assert [option for option in options if option.startswith("--config.cmd=")] == [
        f"--config.cmd={word}" for word in image.IMAGE.arguments
    ]
    assert "--config.entrypoint=/usr/bin/swiotlb-top" in options
    assert "--config.exposedports=9788/tcp" in options


def test_where_a_tool_is_missing_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for tool in ("mmdebstrap", "skopeo", "dpkg-deb"):
        (tmp_path / tool).symlink_to("/bin/true")
    with pytest.raises(SystemExit, match=r"^an image is made with mmdebstrap, .*; not here: umoci$"):
        image.main(tmp_path)


def test_who_is_not_root_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"^only root can make an image"):
        image.main(tmp_path)
