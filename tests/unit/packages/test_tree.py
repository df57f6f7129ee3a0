"""What the packages are made of is built beside the tree, not in it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.packages import tree

ROOT = Path(__file__).parents[3]


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def checked_out_again(private_umask: None, tmp_path: Path) -> Path:
    """The same tree, later, by somebody who lets nobody else read it."""
    copy = shutil.copytree(ROOT, tmp_path / "again", ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__"))
    for path in copy.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (1e9, 1e9))
    return copy


def test_the_same_tree_makes_the_same_bytes(
    checked_out_again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tree.built(tmp_path / "first")
    monkeypatch.setattr(tree, "ROOT", checked_out_again)
    second = tree.built(tmp_path / "second")
    assert [path.name for path in second] == [path.name for path in first]
    assert [path.read_bytes() for path in second] == [path.read_bytes() for path in first]


def test_the_source_distribution_does_not_say_who_made_it_and_when(tmp_path: Path) -> None:
    with tarfile.open(tree.built(tmp_path)[0]) as opened:
        entries = opened.getmembers()
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {(0, 0, "", "")}
    assert {entry.mtime for entry in entries} == {tree.day().timestamp()}
    assert {oct(entry.mode) for entry in entries if entry.isfile()} == {"0o644", "0o755"}


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
