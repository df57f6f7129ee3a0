"""The Debian package: what is in it, and that it runs where it is unpacked. ``make dist-test`` installs it."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tools.packages import deb, tree

DEADLINE_S = 300.0
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="this is no Debian: there is no dpkg-deb")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.built(tmp_path_factory.mktemp("built"))[1]


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deb.make(wheel, tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files, and what dpkg reads in DEBIAN."""
    directory = tmp_path_factory.mktemp("unpacked") / "root"
    told("dpkg-deb", "--raw-extract", package, directory)
    return directory


def told(*command: str | Path, **environment: str) -> str:
    """What a command prints."""
    return subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    ).stdout


def test_it_says_what_it_is_and_needs(package: Path) -> None:
    fields = HeaderParser().parsestr(told("dpkg-deb", "--field", package))
    assert package.name == f"swiotlb-top_{tree.version()}_all.deb"
    assert fields["Package"] == "swiotlb-top"
    assert fields["Version"] == tree.version()
    assert fields["Architecture"] == "all"
    assert fields["Depends"] == "libbpf1, python3 (>= 3.11)"
    assert fields["Recommends"] == "python3-bcrypt, python3-bpfcc, python3-yaml"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("usr/lib/systemd/system/swiotlb-exporter.service", "exporters/systemd/swiotlb-exporter.service"),
        ("usr/lib/systemd/system/swiotlb-exporter.socket", "exporters/systemd/swiotlb-exporter.socket"),
        ("usr/lib/systemd/system/swiotlb-flight.service", "exporters/systemd/swiotlb-flight.service"),
        ("usr/share/swiotlb-top/prometheus/swiotlb-alerts.yml", "exporters/prometheus/swiotlb-alerts.yml"),
        ("usr/share/swiotlb-top/grafana/swiotlb-fleet.json", "exporters/grafana/swiotlb-fleet.json"),
        ("usr/share/swiotlb-top/kubernetes/daemonset.yaml", "exporters/kubernetes/daemonset.yaml"),
        ("usr/share/doc/swiotlb-top/docs/alerts.md", "docs/alerts.md"),
        ("usr/lib/swiotlb-top/swiotlb_top/bpf/swiotlb_top.c", "bpf/swiotlb_top.c"),
        ("usr/lib/swiotlb-top/swiotlb_top/recordings/growing.swtrace", "swiotlb_top/recordings/growing.swtrace"),
    ],
)
def test_it_has_what_is_to_be_installed(name: str, source: str, unpacked: Path) -> None:
    assert (unpacked / name).read_bytes() == (ROOT / source).read_bytes()


def test_it_has_the_manual_page_and_the_completion_where_debian_looks_for_them(unpacked: Path) -> None:
    page = gzip.decompress((unpacked / "usr/share/man/man1/swiotlb-top.1.gz").read_bytes()).decode()
    assert page.startswith(f'.TH SWIOTLB-TOP 1 "" "swiotlb-top {tree.version()}"')
    assert (unpacked / "usr/share/bash-completion/completions/swiotlb-top").is_file()
    assert (unpacked / "usr/share/zsh/vendor-completions/_swiotlb-top").is_file()
    assert (unpacked / "usr/share/fish/vendor_completions.d/swiotlb-top.fish").is_file()


def test_it_puts_no_module_where_others_import_from(unpacked: Path) -> None:
    homes = {path.relative_to(unpacked).parts[:3] for path in unpacked.rglob("*.py")}
    assert homes == {("usr", "lib", "swiotlb-top")}


def test_it_holds_the_licence_of_everything_in_it(unpacked: Path) -> None:
    said = (unpacked / "usr/share/doc/swiotlb-top/copyright").read_text()
    libraries = [path.name.split("-")[0] for path in (unpacked / "usr/lib/swiotlb-top").glob("*.dist-info")]
    for library in sorted(set(libraries) - {"swiotlb_top"}):
        section = re.search(rf"^{library.replace('_', '[-_]')} \S+\n\n(.{{40}})", said, re.MULTILINE | re.I | re.S)
        assert section, library
    assert "mdit_py_plugins/texmath" in said
    assert "Apache-2.0" in said


def test_its_sums_are_those_of_its_files(unpacked: Path) -> None:
    lines = (unpacked / "DEBIAN/md5sums").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {path for path in unpacked.rglob("*") if path.is_file() and "DEBIAN" not in path.parts}
    assert sums == {
        str(path.relative_to(unpacked)): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in files
    }


def test_all_in_it_is_root_s_and_nobody_else_may_write_it(package: Path) -> None:
    listed = [line.split() for line in told("dpkg-deb", "--contents", package).splitlines()]
    assert {(mode, owner) for mode, owner, *_ in listed} == {
        ("drwxr-xr-x", "root/root"),
        ("-rw-r--r--", "root/root"),
        ("-rwxr-xr-x", "root/root"),
    }
    assert [name for mode, *_, name in listed if mode == "-rwxr-xr-x"] == ["./usr/bin/swiotlb-top"]


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="there is no /usr/bin/python3")
def test_unpacked_it_runs(unpacked: Path, tmp_path: Path) -> None:
    command = unpacked / "usr/bin/swiotlb-top"
    recording = unpacked / "usr/lib/swiotlb-top/swiotlb_top/recordings/growing.swtrace"
    assert told(command, "--version", HOME=str(tmp_path)) == f"swiotlb-top, version {tree.version()}\n"
    assert "verdict: AGREE" in told(command, "replay", recording, HOME=str(tmp_path))


@pytest.mark.parametrize("script", ["postinst", "prerm"])
def test_its_scripts_are_shell(script: str, unpacked: Path) -> None:
    assert os.access(unpacked / "DEBIAN" / script, os.X_OK)
    told("sh", "-n", unpacked / "DEBIAN" / script)


def test_the_same_tree_makes_the_same_bytes(wheel: Path, package: Path, tmp_path: Path) -> None:
    assert deb.make(wheel, tmp_path).read_bytes() == package.read_bytes()
