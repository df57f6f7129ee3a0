"""The OCI image: what it says, and what it holds, unpacked and run by chroot. As root: ``make dist-test``."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.installed.root import DEADLINE_S, Root
from tests.support.prometheus import answers, eventually, free_port
from tools.packages import deb, debian_root, image, pins, sbom, tree

RECORDING: Final = "/usr/lib/swiotlb-top/swiotlb_top/recordings/growing.swtrace"
COMMAND: Final = image.IMAGE.entrypoint[0]
LARGEST_BYTES: Final = 96_000_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    wheel = tree.built(directory)[1]
    return image.make(deb.make(wheel, directory), sbom.make(wheel, directory), directory)


@pytest.fixture(scope="module")
def layout(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive unpacked: an OCI image layout."""
    directory = tmp_path_factory.mktemp("layout")
    subprocess.run(["tar", "-C", directory, "-xf", archive], check=True)
    return directory


@pytest.fixture(scope="module")
def manifest(layout: Path) -> Any:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return blob(layout, entry)


@pytest.fixture(scope="module")
def root(layout: Path, manifest: Any, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """What a runtime makes of its layer."""
    directory = tmp_path_factory.mktemp("root")
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    packed = layout / "blobs" / layer["digest"].replace(":", "/")
    subprocess.run(["tar", "--zstd", "-C", directory, "-xf", packed], check=True)
    return Root(directory, "3.13")


@pytest.fixture(scope="module")
def bill(root: Root) -> str:
    return (root.directory / debian_root.BILL).read_text()


def blob(layout: Path, of: Any) -> Any:
    return json.loads((layout / "blobs" / of["digest"].replace(":", "/")).read_text())


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())


def packages(root: Root) -> set[str]:
    """Those that Debian's tools see in it."""
    asked = ["dpkg-query", "--admindir", f"{root.directory}/var/lib/dpkg", "--show", "--showformat", "${Package}\n"]
    return set(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.split())


def test_its_configuration_is_what_is_said_of_it(layout: Path, manifest: Any) -> None:
    said = blob(layout, manifest["config"])
    assert said["created"] == f"{tree.day():%Y-%m-%dT%H:%M:%SZ}"
    config = said["config"]
    assert tuple(config["Entrypoint"]) == image.IMAGE.entrypoint
    assert tuple(config["Cmd"]) == image.IMAGE.arguments
    assert dict(variable.split("=", 1) for variable in config["Env"]) == image.IMAGE.environment
    assert config["Volumes"] == {image.CACHE: {}}
    assert config["ExposedPorts"] == {"9788/tcp": {}}
    assert config["User"] == "0"
    assert config["Labels"] == image.IMAGE.labels


def test_skopeo_reads_it_by_its_name(archive: Path) -> None:
    asked = ["skopeo", "inspect", "--config", f"oci-archive:{archive}:{image.name()}"]
    told = subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(told)["config"]["Labels"] == image.IMAGE.labels


def test_it_is_small(archive: Path) -> None:
    assert archive.stat().st_size < LARGEST_BYTES


def test_it_holds_nothing_of_the_machine_that_made_it(root: Root) -> None:
    for name in ("etc/apt", "etc/hostname", "etc/resolv.conf", "var/cache/apt", "var/lib/apt"):
        assert not (root.directory / name).exists(), name
    assert list((root.directory / "dev").iterdir()) == []
    assert list((root.directory / image.CACHE.lstrip("/")).iterdir()) == []


def test_nothing_in_it_gains_privileges(root: Root) -> None:
    assert [path for path in root.directory.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o6000] == []


def test_it_exports_and_compiles_no_python_for_it(root: Root) -> None:
    compiled = set(root.directory.rglob("*.pyc"))
    address = f"127.0.0.1:{free_port()}"
    with root.start(COMMAND, "export", "--trace", RECORDING, "--web.listen-address", address) as exporter:
        # It answers before it has opened its source, and says then that it watches nothing yet.
        eventually(lambda: answers(f"http://{address}/metrics"), DEADLINE_S)
        eventually(lambda: "\nswiotlb_up 1" in page(address), DEADLINE_S)
        exporter.terminate()
        exporter.communicate(timeout=DEADLINE_S)
    assert exporter.returncode == 0
    assert set(root.directory.rglob("*.pyc")) == compiled != set()


def test_it_tells_its_version(root: Root) -> None:
    told = root.run(COMMAND, "--version")
    assert (told.stdout, told.stderr) == (f"swiotlb-top, version {tree.version()}\n", "")


def test_it_judges_a_recording_and_shows_one(root: Root) -> None:
    replay = root.run(COMMAND, "replay", RECORDING)
    assert (replay.returncode, replay.stderr) == (0, "")
    assert "verdict: AGREE" in replay.stdout
    demo = root.run(COMMAND, "--demo", "-n", "1")
    assert (demo.returncode, demo.stderr) == (5, "")


def test_its_bcc_compiles_the_probes(root: Root) -> None:
    told = root.compile_probes("/usr/lib/swiotlb-top")
    assert (told.stdout, told.stderr) == ("True\n", "")


def test_it_takes_passwords_and_keys(root: Root) -> None:
    told = root.run("python3", "-I", "-c", "import bcrypt, yaml")
    assert (told.returncode, told.stderr) == (0, "")


def test_its_sbom_is_valid(bill: str) -> None:
    assert JsonStrictValidator(SchemaVersion.from_version(sbom.SPECIFICATION)).validate_str(bill) is None


def test_its_sbom_lists_every_package_and_library_in_it(root: Root, bill: str) -> None:
    listed = {
        component.get("purl", "").split("?")[0].rpartition("@")[0] for component in json.loads(bill)["components"]
    }
    in_it = packages(root)
    assert {"base-files", "libbpfcc", "libllvm19", "python3.13-minimal", "python3-bcrypt"} <= in_it
    assert {f"pkg:deb/debian/{package.replace('+', '%2B')}" for package in in_it} <= listed
    pinned = {library.split("==")[0].replace("_", "-") for library in pins.pinned()}
    assert {f"pkg:pypi/{library}" for library in pinned} <= listed


def test_it_has_the_licence_of_every_package(root: Root) -> None:
    documents = root.directory / "usr/share/doc"
    assert [package for package in packages(root) if not (documents / package / "copyright").is_file()] == []
