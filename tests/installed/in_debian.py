"""The Debian package and the single file in roots of Debian 12 and 13, made with mmdebstrap. As root.

apt installs the package with what it depends on. That takes a minute for each, so that this is not among the tests that
pytest finds by itself: ``make dist-test``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.installed.root import DEADLINE_S, Root
from tests.lab.harness.suites import mirror
from tests.support.prometheus import eventually
from tools.packages import deb, single_file, tree

RECORDING: Final = "/usr/lib/swiotlb-top/swiotlb_top/recordings/growing.swtrace"
SINGLE: Final = "/opt/swiotlb-top.pyz"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The Debian package and the single file."""
    directory = tmp_path_factory.mktemp("built")
    wheel = tree.built(directory)[1]
    single = directory / "swiotlb-top.pyz"
    single_file.make(wheel, single)
    return deb.make(wheel, directory), single


@pytest.fixture(scope="module", params=[("bookworm", "3.11"), ("trixie", "3.13")], ids=["Debian 12", "Debian 13"])
def root(
    request: pytest.FixtureRequest, built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Root]:
    suite, python = request.param
    package, single = built
    directory = tmp_path_factory.mktemp(suite) / "root"
    hooks = [
        f'copy-in "{package}" /tmp',
        f'chroot "$1" apt-get install -qq -y --no-install-recommends /tmp/{package.name} python3-bpfcc',
        f'copy-in "{single}" /opt',
    ]
    customized = [f"--customize-hook={hook}" for hook in hooks]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", *customized, suite, str(directory), mirror()],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=DEADLINE_S,
    )
    yield Root(directory, python)
    shutil.rmtree(directory)


@pytest.fixture(params=["swiotlb-top", SINGLE], ids=["package", "single file"])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_lintian_finds_nothing(built: tuple[Path, Path]) -> None:
    found = subprocess.run(
        ["lintian", "--allow-root", "--display-info", "--fail-on", "error,warning,info", built[0]],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_it_is_installed_whole(root: Root) -> None:
    assert root.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "swiotlb-top").stdout == "installed"
    assert root.run("dpkg", "--audit").stdout == ""
    assert f"Python {root.python}." in root.run("python3", "--version").stdout


def test_its_modules_are_compiled_for_this_python(root: Root) -> None:
    compiled = root.directory / "usr/lib/swiotlb-top/swiotlb_top/cli/__pycache__"
    tag = f"cpython-{root.python.replace('.', '')}"
    assert (compiled / f"group.{tag}.pyc").is_file()


def test_no_unit_is_enabled(root: Root) -> None:
    assert (root.directory / "usr/lib/systemd/system/swiotlb-exporter.service").is_file()
    assert list((root.directory / "etc/systemd").rglob("swiotlb*")) == []


def test_it_tells_its_version(command: str, root: Root) -> None:
    assert root.run(command, "--version").stdout == f"swiotlb-top, version {tree.version()}\n"


def test_it_explains_judges_and_shows(command: str, root: Root) -> None:
    why = root.run(command, "why", "virtio-pci 0000:00:04.0: swiotlb buffer is full")
    assert (why.returncode, why.stderr) == (1, "")
    replay = root.run(command, "replay", RECORDING)
    assert (replay.returncode, replay.stderr) == (0, "")
    assert "verdict: AGREE" in replay.stdout
    demo = root.run(command, "--demo", "-n", "1")
    assert (demo.returncode, demo.stderr) == (5, "")
    assert demo.stdout.startswith("swiotlb-top · DEMONSTRATION")


def test_it_says_what_can_be_watched(command: str, root: Root) -> None:
    doctor = root.run(command, "doctor")
    assert doctor.stderr == ""
    assert doctor.returncode in (0, 3)
    assert re.search(r"^ok +capabilities ", doctor.stdout, re.MULTILINE)


def test_somebody_without_privileges_can_run_it(command: str, root: Root) -> None:
    demo = root.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", command, "--demo", "-n", "1")
    assert (demo.returncode, demo.stderr) == (5, "")


@pytest.mark.parametrize("modules", ["/usr/lib/swiotlb-top", SINGLE], ids=["package", "single file"])
def test_this_debian_s_bcc_compiles_the_probes(modules: str, root: Root) -> None:
    told = root.compile_probes(modules)
    assert (told.stdout, told.stderr) == ("True\n", "")


def test_it_exports(command: str, root: Root) -> None:
    page = root.directory / "tmp/swiotlb.prom"
    with root.start(command, "export", "--trace", RECORDING, "--textfile", "/tmp") as exporter:
        eventually(lambda: page.is_file() and "\nswiotlb_up 1" in page.read_text(), DEADLINE_S)
        exporter.terminate()
        _, errors = exporter.communicate(timeout=DEADLINE_S)
    assert errors == "swiotlb-top: replay (a recording of 6.12.117 (growing.swtrace)) into /tmp\n"
    assert exporter.returncode == 0
    assert not page.exists()


def test_removed_it_leaves_nothing(root: Root) -> None:
    removed = root.run("dpkg", "--remove", "swiotlb-top")
    assert removed.returncode == 0, removed.stderr
    assert not (root.directory / "usr/lib/swiotlb-top").exists()
    assert not (root.directory / "usr/share/swiotlb-top").exists()
