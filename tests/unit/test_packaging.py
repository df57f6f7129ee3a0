"""What is installed: everything that is needed, nothing generic, and it runs without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.native import SOURCES, SWITCH

ROOT = Path(__file__).parents[2]
DEADLINE_S = 300.0
DIRECTORIES = (".ci", "bpf", "docs", "exporters", "swiotlb_top", "tests", "tools")
FILES = (
    ".clang-format",
    ".gitignore",
    ".importlinter",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "setup.py",
)
"""What is committed."""
BESIDE = {
    "share/bash-completion/completions/swiotlb-top",
    "share/doc/swiotlb-top/CHANGELOG.md",
    "share/doc/swiotlb-top/README.md",
    "share/fish/vendor_completions.d/swiotlb-top.fish",
    "share/man/man1/swiotlb-top.1",
    "share/zsh/site-functions/_swiotlb-top",
}
"""Files below the prefix, besides the directories that go there whole."""
WHOLE = {
    "docs": "share/doc/swiotlb-top/docs",
    "exporters/grafana": "share/swiotlb-top/grafana",
    "exporters/kubernetes": "share/swiotlb-top/kubernetes",
    "exporters/prometheus": "share/swiotlb-top/prometheus",
    "exporters/systemd": "share/swiotlb-top/systemd",
}


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
    """What is committed, as in a fresh checkout: a build leaves files behind."""
    copy = tmp_path_factory.mktemp("tree")
    for name in DIRECTORIES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the source distribution holds."""
    directory = tmp_path_factory.mktemp("sdist")
    shutil.unpack_archive(build("sdist", tree, directory / "packed"), directory / "unpacked")
    (unpacked,) = (directory / "unpacked").iterdir()
    return unpacked


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


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
    assert found | {"swiotlb_top.bpf", "swiotlb_exporter.docs"} == set(project()["tool"]["setuptools"]["packages"])


def test_no_directory_of_modules_lacks_its_init() -> None:
    homes = {path.parent for path in (ROOT / "swiotlb_top").rglob("*.py")}
    assert [home for home in homes if not (home / "__init__.py").exists()] == []


def test_the_wheel_puts_nothing_generic_beside_other_packages(contents: set[str]) -> None:
    tops = {name.split("/")[0] for name in contents}
    version = project_version()
    assert tops == {
        "swiotlb_top",
        "swiotlb_exporter",
        *(f"swiotlb_top-{version}.{kind}" for kind in ("data", "dist-info")),
    }


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
    c |= {f"swiotlb_top/native/{name}" for name in SOURCES}
    assert c | recordings | {"swiotlb_top/py.typed", "swiotlb_exporter/py.typed"} <= contents
    assert any(name.endswith("/licenses/LICENSE") for name in contents)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_where_there_is_a_compiler_the_wheel_has_the_native_core(contents: set[str]) -> None:
    assert "swiotlb_top/native/core.so" in contents


@pytest.mark.parametrize(
    ("switch", "value", "made"),
    [("CC", "false", "*.whl"), (SWITCH, "0", "*-py3-none-any.whl")],
    ids=["cannot", "may not"],
)
def test_where_the_core_cannot_or_may_not_be_built_there_is_a_wheel_without_it(
    switch: str, value: str, made: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(switch, value)
    wheel = build(
        "wheel", shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("build")), tmp_path / "wheel"
    )
    assert wheel.match(made)
    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")] == []


def test_the_wheel_has_what_lies_beside_the_modules(contents: set[str]) -> None:
    whole = {f"{there}/{name}" for here, there in WHOLE.items() for name in files(ROOT / here)}
    assert {"share/swiotlb-top/grafana/swiotlb-fleet.json", "share/doc/swiotlb-top/docs/alerts.md"} <= whole
    data = f"swiotlb_top-{project_version()}.data/data/"
    assert {name.removeprefix(data) for name in contents if name.startswith(data)} == BESIDE | whole


def test_the_source_distribution_has_all_that_is_committed(sdist: Path, tree: Path) -> None:
    made = {name for name in files(sdist) if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    left = {name for name in files(tree) if name.startswith("build/") or ".egg-info/" in name}
    assert files(sdist) - made == files(tree) - left
    assert "tests/unit/test_packaging.py" in files(sdist)


def test_it_has_all_that_git_knows(sdist: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(filter(None, listed.split("\0"))) <= files(sdist)


def test_a_wheel_by_way_of_the_source_distribution_is_the_same(sdist: Path, contents: set[str], tmp_path: Path) -> None:
    assert set(zipfile.ZipFile(build("wheel", sdist, tmp_path / "wheel")).namelist()) == contents


def test_installed_it_runs_and_helps(installed: Path) -> None:
    assert "Examples:" in run_installed(installed, "-m", "swiotlb_top", "--help")
    assert project_version() in run_installed(installed, "-m", "swiotlb_top", "--version")


def test_installed_it_finds_its_own_c_and_recording(installed: Path) -> None:
    program = (
        "from swiotlb_top.probes.compile import bpf_files\n"
        "from swiotlb_top.sources import select\n"
        "with bpf_files.directory() as directory:\n"
        "    print(directory)\n"
        "print(select.open_demo().snapshot().source)\n"
    )
    assert run_installed(installed, "-c", program).splitlines() == [str(installed / "swiotlb_top/bpf"), "replay"]


def test_installed_it_knows_what_to_do_about_alerts(installed: Path) -> None:
    program = "from swiotlb_exporter.web import runbook; print(runbook.page())"
    assert '<h2 id="swiotlbleak">' in run_installed(installed, "-c", program)


def test_installed_it_replays(installed: Path) -> None:
    (recording, *_) = sorted((installed / "swiotlb_top/recordings").glob("*.swtrace"))
    assert "agree" in run_installed(installed, "-m", "swiotlb_top", "replay", str(recording))


def test_installed_it_has_its_manual_page(installed: Path) -> None:
    page = (installed / "share/man/man1/swiotlb-top.1").read_text()
    assert page == run_installed(installed, "-m", "swiotlb_top", "man")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_installed_bash_completes_its_commands(installed: Path) -> None:
    script = installed / "share/bash-completion/completions/swiotlb-top"
    typed = "COMP_WORDS=(swiotlb-top re); COMP_CWORD=1; _swiotlb_top_completion swiotlb-top; echo ${COMPREPLY[@]}"
    (installed / "bin/swiotlb-top").write_text(f'#!/bin/sh\nexec {sys.executable} -m swiotlb_top "$@"\n')
    environment = {**os.environ, "PYTHONPATH": str(installed), "PATH": f"{installed / 'bin'}:{os.environ['PATH']}"}
    told = subprocess.run(
        ["bash", "-c", f"source {script}; {typed}"], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert told.stdout.split() == ["record", "replay", "revisions"]


@pytest.mark.parametrize(
    ("name", "first"),
    [("zsh/site-functions/_swiotlb-top", "#compdef swiotlb-top"), ("fish/vendor_completions.d/swiotlb-top.fish", "")],
)
def test_installed_other_shells_have_their_scripts(name: str, first: str, installed: Path) -> None:
    lines = (installed / "share" / name).read_text().splitlines()
    assert lines[0].startswith(first)
    assert any("_SWIOTLB_TOP_COMPLETE=" in line for line in lines)


def test_the_long_description_is_the_readme_without_what_lies_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        metadata = opened.read(f"swiotlb_top-{project_version()}.dist-info/METADATA").decode()
    assert "Description-Content-Type: text/markdown\n" in metadata
    assert "\n## What to type first\n" in metadata
    assert "*The screen: FAILING" in metadata
    assert re.findall(r"\]\((?!https?:)", metadata) == []
    assert len(metadata) > len((ROOT / "README.md").read_text())


def test_the_changelog_has_this_version_and_its_day() -> None:
    heading = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    found = re.fullmatch(r"## (\S+) \((\d{4}-\d\d-\d\d)\)", heading)
    assert found, heading
    assert found[1] == project_version()
    assert date.fromisoformat(found[2])


def test_by_its_name_alone_it_comes_with_its_screen() -> None:
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in project()["project"]["dependencies"]}
    assert names == {"click", "prometheus-client", "rich", "textual"}


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
