"""Imports point downwards: .importlinter holds for the whole tree, and the reference leans on nothing."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = sorted(
    path for room in ("allocator", "verify", "sizing") for path in (ROOT / "swiotlb_top" / room).rglob("*.py")
)


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as main; main()",
            "--no-cache",
            "--config",
            tree / ".importlinter",
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'exporters'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def absolute_imports(path: Path) -> Iterator[str]:
    """What a module imports, anywhere in it, by the first name of each dotted path."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module.split(".")[0]


def copy_of_the_tree(directory: Path) -> Path:
    for package in ("swiotlb_top", "exporters"):
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", directory)
    return directory


def test_every_contract_is_kept() -> None:
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout
    assert "0 broken" in linted.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("swiotlb_top/allocator/order.py", "import swiotlb_top.verify.judge", "Imports point downwards"),
        ("swiotlb_top/errors.py", "from swiotlb_top.records import Kind", "Imports point downwards"),
        ("swiotlb_top/newcomer.py", "", "Every module of swiotlb_top has its layer"),
        (
            "swiotlb_top/verify/operations/release.py",
            "import swiotlb_top.verify.linearize.checker",
            "The judge's rooms",
        ),
        ("swiotlb_top/verify/newcomer.py", "", "The judge's rooms"),
        ("swiotlb_top/probes/compile/plan.py", "import swiotlb_top.probes.read.ring", "The probes' rooms"),
        ("swiotlb_top/probes/newcomer.py", "", "The probes' rooms"),
        ("exporters/swiotlb_exporter/web/server.py", "import swiotlb_exporter.run.serve", "The exporter's rooms"),
        ("exporters/swiotlb_exporter/newcomer.py", "", "The exporter's rooms"),
        ("swiotlb_top/probes/session.py", "import bcc", "Only one module touches bcc"),
        ("swiotlb_top/cli/doctor.py", "import rich", "Only the screen draws with rich and Textual"),
        ("swiotlb_top/reports/replay.py", "import click", "Only the command line knows click"),
        ("swiotlb_top/sources/live.py", "import prometheus_client", "Only the exporter knows Prometheus"),
    ],
)
def test_a_breach_is_seen(module: str, line: str, contract: str, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    with (tree / module).open("a") as source:
        source.write(f"\n{line}\n")
    linted = lint_imports(tree)
    assert linted.returncode == 1, linted.stdout
    assert f"{contract} BROKEN" in linted.stdout


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_reference_and_the_judge_import_the_standard_library_only(path: Path) -> None:
    assert set(absolute_imports(path)) <= {"swiotlb_top", *sys.stdlib_module_names}
