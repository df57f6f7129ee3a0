"""What the packages are made of is built beside the tree, not in it."""

from __future__ import annotations

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.packages import tree

ROOT = Path(__file__).parents[3]


def test_two_can_build_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as two:
        first, second = two.map(tree.built, (tmp_path / "first", tmp_path / "second"))
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert one.stat().st_size > 0
        assert other.stat().st_size > 0


def test_building_changes_nothing_in_the_tree(tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in ROOT.iterdir() if path.name.endswith(".egg-info")}
    tree.built(tmp_path / "built")
    after = {path.name: path.stat().st_mtime_ns for path in ROOT.iterdir() if path.name.endswith(".egg-info")}
    assert after == before
    assert not list(ROOT.glob(f"swiotlb_top-{tree.version()}*"))


def test_what_git_ignores_is_not_in_the_source_distribution(tmp_path: Path) -> None:
    with tarfile.open(tree.built(tmp_path / "built")[0]) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"tests/fuzz/run.py", ".ci/run", ".importlinter", "swiotlb_top/__init__.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "fuzz/", ".git/"))]


def test_two_can_fetch_the_libraries_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    laid = (tmp_path / "first", tmp_path / "second")
    with ThreadPoolExecutor(2) as two:
        list(two.map(tree.libraries, laid))
    first, second = ([path.relative_to(into) for path in tree.files(into)] for into in laid)
    assert first == second != []
    assert len(list((tmp_path / "cache/swiotlb-top").iterdir())) == 1
