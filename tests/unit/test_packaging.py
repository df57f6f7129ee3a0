"""What is installed: everything that is needed, nothing generic, and it runs without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 300.0
SHIPPED = ("swiotlb_top", "bpf", "exporters", "pyproject.toml", "README.md", "LICENSE")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def build(kind: str, tree: Path, into: Path) -> Path:
    """Build with the project's back end, out of the environment pytest runs in."""
    into.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-c", f"import setuptools.build_meta as b, sys; b.build_{kind}(sys.argv[1])", into],
        cwd=tree,
        check=True,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is shipped, as in a fresh checkout: a build leaves files behind."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SHIPPED:
        whole = ROOT / name
        if whole.is_dir():
            shutil.copytree(whole, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(whole, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel in it, and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
        timeout=DEADLINE_S,
    )
    return target


def run_installed(installed: Path, *arguments: str) -> str:
    """Python's output, seeing the installed wheel before anything else, away from the checkout."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    ).stdout


def test_every_package_is_listed() -> None:
    inits = [*(ROOT / "swiotlb_top").rglob("__init__.py"), *(ROOT / "exporters").rglob("__init__.py")]
    found = {
        ".".join(
            init.parent.relative_to(ROOT if init.is_relative_to(ROOT / "swiotlb_top") else ROOT / "exporters").parts
        )
        for init in inits
    }
    assert found | {"swiotlb_top.bpf"} == set(project()["tool"]["setuptools"]["packages"])


def test_no_directory_of_modules_lacks_its_init() -> None:
    homes = {path.parent for path in (ROOT / "swiotlb_top").rglob("*.py")}
    assert [home for home in homes if not (home / "__init__.py").exists()] == []


def test_the_wheel_puts_nothing_generic_beside_other_packages(contents: set[str]) -> None:
    tops = {name.split("/")[0] for name in contents}
    version = project_version()
    assert tops == {"swiotlb_top", "swiotlb_exporter", f"swiotlb_top-{version}.dist-info"}


def project_version() -> str:
    line = next(line for line in (ROOT / "swiotlb_top/__init__.py").read_text().splitlines() if "__version__" in line)
    return line.split('"')[1]


def test_the_wheel_has_every_module(contents: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "swiotlb_top").rglob("*.py")}
    modules |= {str(path.relative_to(ROOT / "exporters")) for path in (ROOT / "exporters").rglob("*.py")}
    assert {name for name in contents if name.endswith(".py")} == modules


def test_the_wheel_has_the_c_the_recordings_and_the_types(contents: set[str]) -> None:
    c = {f"swiotlb_top/{path.relative_to(ROOT)}" for path in (ROOT / "bpf").rglob("*") if path.suffix in (".c", ".h")}
    recordings = {str(path.relative_to(ROOT)) for path in (ROOT / "swiotlb_top/recordings").glob("*.swtrace")}
    assert "swiotlb_top/bpf/swiotlb_top.c" in c
    assert "swiotlb_top/bpf/headers/include/linux/types.h" in c
    assert recordings
    assert c | recordings | {"swiotlb_top/py.typed", "swiotlb_exporter/py.typed"} <= contents
    assert any(name.endswith("/licenses/LICENSE") for name in contents)


def test_a_wheel_by_way_of_the_source_distribution_is_the_same(tree: Path, contents: set[str], tmp_path: Path) -> None:
    sdist = build("sdist", tree, tmp_path / "sdist")
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert set(zipfile.ZipFile(build("wheel", unpacked, tmp_path / "wheel")).namelist()) == contents


def test_installed_it_runs_and_helps(installed: Path) -> None:
    assert "Examples:" in run_installed(installed, "-m", "swiotlb_top", "--help")
    assert project_version() in run_installed(installed, "-m", "swiotlb_top", "--version")


def test_installed_it_finds_its_own_c_and_recording(installed: Path) -> None:
    program = (
        "from swiotlb_top.probes.compile import bpf_files\n"
        "from swiotlb_top.sources import select\n"
        "print(bpf_files.directory())\n"
        "print(select.open_demo().snapshot().source)\n"
    )
    assert run_installed(installed, "-c", program).splitlines() == [str(installed / "swiotlb_top/bpf"), "replay"]


def test_installed_it_replays(installed: Path) -> None:
    (recording, *_) = sorted((installed / "swiotlb_top/recordings").glob("*.swtrace"))
    assert "agree" in run_installed(installed, "-m", "swiotlb_top", "replay", str(recording))


def test_the_commands_exist(contents: set[str], wheel: Path) -> None:
    (entry_points,) = (name for name in contents if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as opened:
        assert opened.read(entry_points).decode().split() == [
            "[console_scripts]",
            "swiotlb-top",
            "=",
            "swiotlb_top.__main__:run",
        ]


def test_bcc_is_the_distribution_s_and_no_requirement() -> None:
    declared = project()["project"]
    listed = [*declared["dependencies"], *chain.from_iterable(declared["optional-dependencies"].values())]
    assert not any(requirement.startswith(("bcc", "bpfcc")) for requirement in listed)
