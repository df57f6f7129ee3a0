"""apt's view of another suite: it sees that suite and nothing else, and the system is left as it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.harness import suites
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.suites import Suite

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this is no Debian system")

MIRROR = "http://mirror.invalid/debian/"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The lab's cache is a temporary directory, and Debian's mirror one that does not exist."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(suites, "mirror", lambda: MIRROR)
    return tmp_path


def asked_of_apt(directory: Path, suite: Suite, *command: str) -> str:
    suites._configure(directory, suite)
    environment = {**os.environ, "APT_CONFIG": str(directory / "apt.conf")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_apt_sees_the_suite_and_the_architecture_and_no_other(tmp_path: Path) -> None:
    told = asked_of_apt(tmp_path, Suite("some-suite", "arm64"), "apt-get", "update", "--print-uris")
    fetched = [line.split("'")[1] for line in told.splitlines()]
    assert fetched
    assert all(uri.startswith(f"{MIRROR}dists/some-suite/") for uri in fetched)
    assert {re.search("binary-(all|arm64)", uri) is not None for uri in fetched if "binary-" in uri} <= {True}


def test_apt_knows_the_architecture_that_is_asked_for_and_no_other(tmp_path: Path) -> None:
    shown = asked_of_apt(tmp_path, Suite("some-suite", "arm64"), "apt-config", "dump", "APT::Architecture")
    shown += asked_of_apt(tmp_path, Suite("some-suite", "arm64"), "apt-config", "dump", "APT::Architectures")
    told = [line for line in shown.splitlines() if not line.endswith('"";')]
    assert told == ['APT::Architecture "arm64";', 'APT::Architectures:: "arm64";']


def test_what_apt_writes_is_written_in_the_lab_s_cache(tmp_path: Path) -> None:
    wanted = ("lists", "Dir::State::lists/d", "status", "Dir::State::status/f", "archives", "Dir::Cache::archives/d")
    shown = asked_of_apt(tmp_path, Suite("some-suite"), "apt-config", "shell", *wanted)
    written = [Path(line.split("=")[1].strip("'")) for line in shown.splitlines()]
    assert len(written) == 3
    assert all(path.is_relative_to(tmp_path) for path in written)


def test_what_others_hook_into_updates_of_the_system_does_not_run(tmp_path: Path) -> None:
    shown = asked_of_apt(tmp_path, Suite("some-suite"), "apt-config", "dump", "APT::Update", "DPkg")
    assert "Invoke" not in shown


def test_without_a_network_a_suite_never_seen_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "_run", unreachable)
    with pytest.raises(LabUnavailableError, match="cannot be reached"):
        suites.version("some-package", Suite("some-suite"))


def test_without_a_network_the_package_lists_of_the_last_time_are_used(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    old = own_cache / "swiotlb-top" / "apt" / "some-suite"
    old.mkdir(parents=True)
    (old / suites.UPDATED).touch()
    os.utime(old / suites.UPDATED, (0, 0))
    monkeypatch.setattr(suites, "_run", unreachable)
    assert suites.version("some-package", Suite("some-suite")) == "1.2-3"


def unreachable(_environment: object, *command: str) -> str:
    """apt without a network."""
    if "update" in command:
        raise LabUnavailableError("the mirror cannot be reached")
    return "Package: some-package\nVersion: 1.2-3\n"


def test_a_package_that_is_not_there_is_named_with_where_it_was_looked_for() -> None:
    with pytest.raises(LabUnavailableError, match="no-such-package"):
        suites.version("no-such-package", Suite())


def test_another_architecture_needs_a_suite() -> None:
    with pytest.raises(ValueError, match="needs the name of a suite"):
        suites.version("some-package", Suite(architecture="arm64"))
