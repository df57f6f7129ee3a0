"""The report to attach to a patch: what was booted, and what was found; never well where something is not known."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.__main__ import parser
from tests.lab.harness import images
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.vm import Result
from tests.lab.patch_report import PatchReport, commit_at, of_run, options
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_CPUS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel's tree, with a kernel that was built in it."""
    (tmp_path / "tree/arch").mkdir(parents=True)
    (tmp_path / "tree/arch/bzImage").write_bytes(b"a kernel")
    run = ["git", "-C", str(tmp_path / "tree"), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "a"]):
        subprocess.run([*run, *command], check=True)
    return tmp_path / "tree"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "cache", tmp_path, may_build=True)


def reported(lab: Lab, tree: Path, recording: Path, **files: str) -> PatchReport:
    """Of a guest that left a recording of one workload, and files."""
    results = tree.parent / "results"
    results.mkdir(exist_ok=True)
    shutil.copy(recording, results / "busy.swtrace")
    for name, text in {"release": "6.12.1-mine\n", "version": "#1 SMP\n", **files}.items():
        (results / name.replace("_", ".")).write_text(text)
    machine = Machine(kernel=str(tree / "arch/bzImage"), cpus=2)
    return of_run(lab, machine, Result(0, "", "", 1.0, results))


def test_it_names_all_that_is_needed_to_do_it_again(lab: Lab, tree: Path) -> None:
    config = "CONFIG_SWIOTLB=y\n# CONFIG_SWIOTLB_DYNAMIC is not set\nCONFIG_EXT4_FS=y\n"
    page = reported(lab, tree, FOUR_CPUS, config=config).as_markdown()
    assert page.startswith("# swiotlb-top on 6.12.1-mine\n")
    assert f"commit {commit_at(tree)}" in page
    assert commit_at(tree)
    assert "SWIOTLB=y, SWIOTLB_DYNAMIC=n" in page
    assert "EXT4" not in page
    assert "swiotlb=512,force" in page
    assert "| `busy`: $workloads/busy.sh 1 | " in page
    assert page.count("| agree |\n") == 1
    assert "No disagreement." in page


def test_a_kernel_that_disagrees_is_told_with_both_sides_and_its_status(lab: Lab, tree: Path) -> None:
    report = reported(lab, tree, path_of("one-slot-further"))
    assert report.status == Exit.DISAGREE
    page = report.as_markdown()
    assert "First disagreement in `busy`, operation 276:" in page
    assert "    kernel:    " in page
    assert "    reference: " in page


def test_a_workload_that_was_not_recorded_is_told_and_is_not_well(lab: Lab, tree: Path) -> None:
    report = reported(lab, tree, FOUR_CPUS, large_failed="3: swiotlb-top: no probes\n")
    assert report.status == Exit.INCONCLUSIVE
    assert "`large` ended with 3: swiotlb-top: no probes" in report.as_markdown()


def test_what_is_not_known_is_said(lab: Lab, tree: Path) -> None:
    report = replace(reported(lab, tree, FOUR_CPUS), commit="", tool_commit="")
    page = report.as_markdown()
    assert "commit not known" in page
    assert "configuration: not known" in page
    assert options("") == {}
    assert commit_at(tree.parent / "results") == ""


def test_a_kernel_at_a_path_is_copied_and_stays_what_it_was(lab: Lab, tree: Path) -> None:
    path = tree / "arch/bzImage"
    first = images.obtain(str(path), lab.root)
    path.write_bytes(b"another")
    second = images.obtain(str(path), lab.root)
    assert [image.bootable.read_bytes() for image in (first, second)] == [b"a kernel", b"another"]
    assert (first.modules, images.located(str(path), lab.root)) == ((), second)


def test_a_path_without_a_kernel_is_refused_in_a_line(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabUnavailableError, match=r"cannot read the kernel .*: No such file or directory"):
        images.obtain(str(tmp_path / "missing"), lab.root)


@pytest.mark.parametrize("text", ["nonsense", "bzImage"])
def test_what_is_neither_a_name_nor_a_path_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["report", "--kernel", text])
    assert "is neither a path with a slash nor one of dynamic, " in capsys.readouterr().err
