"""The house: rooms are small, tests lie as what they test, and what is private is asked by nobody."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
FILE_LINES = 400
FUNCTION_LINES = 50
LONGER = {"bpf/swiotlb_top.c"}
"""Files whose first comment says why."""
HOMES = ("swiotlb_top", "exporters", "bpf", "tools", "tests")
MIRRORED = {
    "bpf": ROOT / "bpf",
    "exporter": ROOT / "exporters" / "swiotlb_exporter",
    "lab": ROOT / "tests" / "lab",
    "packages": ROOT / "tools" / "packages",
}
"""What directories of unit tests are of, but for those that are named as a package of swiotlb_top is."""


MODULES = [path for home in HOMES for path in (ROOT / home).rglob("*.py")]
C = [path for home in HOMES for path in (ROOT / home).rglob("*.[ch]")]
TESTS = sorted(UNIT.rglob("test_*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_no_file_is_longer_than_one_idea() -> None:
    long = {str(path.relative_to(ROOT)) for path in (*MODULES, *C) if len(path.read_text().splitlines()) > FILE_LINES}
    assert long == LONGER


def test_no_function_is_longer_than_a_screen() -> None:
    long = [(path, node.name) for path in MODULES for node in functions(path) if lines_of(node) > FUNCTION_LINES]
    assert long == []


def test_unit_tests_lie_as_what_they_test() -> None:
    homes = {path.parent.relative_to(UNIT) for path in TESTS} - {Path()}
    strays = [
        home
        for home in homes
        if not MIRRORED.get(home.parts[0], ROOT / "swiotlb_top" / home.parts[0]).joinpath(*home.parts[1:]).is_dir()
    ]
    assert strays == []


def test_nothing_but_tests_lies_among_the_tests() -> None:
    assert sorted(UNIT.rglob("*.py")) == TESTS


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(UNIT)))
def test_a_test_imports_no_private_name(path: Path) -> None:
    imports = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))
    names = (alias.name for node in imports if node.module != "__future__" for alias in node.names)
    assert [name for name in names if name.startswith("_") and not name.startswith("__")] == []


def test_tests_are_named_alike_by_all_who_collect_them() -> None:
    """Of several processes that run them together none may see a name that holds a time, or the order of a set."""
    wanted = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]

    def collected(seed: str) -> list[str]:
        ended = subprocess.run(
            wanted, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, text=True, capture_output=True, check=True
        )
        return [line for line in ended.stdout.splitlines() if "::" in line]

    first = collected("1")
    assert len(first) > 1000
    assert collected("2") == first
