"""The cache of kernels: what names an entry, and when an entry counts as there."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.harness import build, cache, sources, suites
from tests.lab.harness.kernels import CONFIG_DIR, DYNAMIC, DYNAMIC_7_3, KERNELS, PATCH_DIR, SourceKernel, SourceTree

INPUTS = {"source": "linux-source-6.12 6.12.117-1", "config": "aa", "patch 0 a.patch": "bb"}


def make_kernel(directory: Path) -> None:
    (directory / "bzImage").write_bytes(b"a kernel")
    (directory / "modules").mkdir()
    (directory / "modules" / "00-9pnet.ko").write_bytes(b"a module")


def quiet(line: str) -> None:
    pass


def obtain(root: Path) -> Path:
    return cache.obtain(root, "dynamic", INPUTS, make_kernel, quiet)


def test_the_order_of_the_inputs_does_not_matter_to_the_key() -> None:
    assert cache.key(dict(reversed(INPUTS.items()))) == cache.key(INPUTS)


@pytest.mark.parametrize("changed", INPUTS)
def test_every_input_changes_the_key(changed: str) -> None:
    assert cache.key({**INPUTS, changed: "something else"}) != cache.key(INPUTS)


def built_kernels() -> list[SourceKernel]:
    return [kernel for kernel in KERNELS.values() if isinstance(kernel, SourceKernel)]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A writable copy of the recipe's files, and source packages whose versions are known without dpkg and apt."""
    installed = tmp_path / "src"
    installed.mkdir()
    (installed / f"{DYNAMIC.source_package}.tar.xz").touch()
    monkeypatch.setattr(sources, "INSTALLED", installed)
    monkeypatch.setattr(sources, "output_of", lambda *command: "6.12.117-1")
    monkeypatch.setattr(suites, "version", lambda package, suite: "7.3.4-1")
    for kind in (CONFIG_DIR, PATCH_DIR):
        (tmp_path / kind.name).mkdir()
        for file in kind.iterdir():
            (tmp_path / kind.name / file.name).write_bytes(file.read_bytes())
    return tmp_path


def key_of(kernel: SourceKernel, recipe: Path) -> str:
    return cache.key(build.inputs(kernel, recipe / CONFIG_DIR.name, recipe / PATCH_DIR.name))


def tree_key(tree: SourceTree, recipe: Path) -> str:
    return cache.key(build.tree_inputs(tree, recipe / CONFIG_DIR.name, recipe / PATCH_DIR.name))


def keys(recipe: Path) -> dict[str, str]:
    """Of every tree and every kernel that the lab builds."""
    trees = {f"tree {tree.name}": tree_key(tree, recipe) for tree in (DYNAMIC, DYNAMIC_7_3)}
    return trees | {kernel.name: key_of(kernel, recipe) for kernel in built_kernels()}


def changed_by_another_line_in(recipe: Path, file: str) -> set[str]:
    before = keys(recipe)
    with (recipe / file).open("a") as text:
        text.write("# another line\n")
    after = keys(recipe)
    return {name for name in before if before[name] != after[name]}


def test_the_configuration_is_part_of_every_tree_and_of_every_kernel_of_it(recipe: Path) -> None:
    assert changed_by_another_line_in(recipe, f"configs/{DYNAMIC.config}") == set(keys(recipe))


def test_a_kernels_own_patch_changes_no_other_kernel_and_no_tree(recipe: Path) -> None:
    assert changed_by_another_line_in(recipe, "patches/seed-order.patch") == {"seed"}


def test_the_same_configuration_for_another_source_is_another_tree(recipe: Path) -> None:
    assert DYNAMIC.config == DYNAMIC_7_3.config
    assert tree_key(DYNAMIC, recipe) != tree_key(DYNAMIC_7_3, recipe)


def test_one_patch_fewer_or_another_order_is_another_kernel(recipe: Path) -> None:
    (recipe / "patches" / "second.patch").write_text("more")
    one = next(kernel for kernel in built_kernels() if kernel.patches)
    two = replace(one, patches=(*one.patches, "second.patch"))
    turned = replace(one, patches=two.patches[::-1])
    none = replace(one, patches=())
    assert len({key_of(kernel, recipe) for kernel in (none, one, two, turned)}) == 4


def test_no_two_kernels_are_made_of_the_same(recipe: Path) -> None:
    assert len({key_of(kernel, recipe) for kernel in built_kernels()}) == len(built_kernels())


def test_what_was_made_once_is_not_made_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(directory: Path) -> None:
        made.append(directory)
        make_kernel(directory)

    first = cache.obtain(tmp_path, "dynamic", INPUTS, make, quiet)
    assert cache.obtain(tmp_path, "dynamic", INPUTS, make, quiet) == first
    assert len(made) == 1
    assert (first / "bzImage").read_bytes() == b"a kernel"


def test_a_build_that_dies_leaves_no_entry_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    def die(directory: Path) -> None:
        (directory / "bzImage").write_bytes(b"half a ker")
        (directory / "left behind").touch()
        raise RuntimeError("compiler killed")

    with pytest.raises(RuntimeError, match="compiler killed"):
        cache.obtain(tmp_path, "dynamic", INPUTS, die, quiet)
    assert not cache.is_whole(cache.entry_of(tmp_path, "dynamic", INPUTS))

    entry = obtain(tmp_path)
    assert cache.is_whole(entry)
    assert not (entry / "left behind").exists()


def test_an_entry_without_its_manifest_is_made_anew(tmp_path: Path) -> None:
    entry = cache.entry_of(tmp_path, "dynamic", INPUTS)
    entry.mkdir(parents=True)
    (entry / "bzImage").write_bytes(b"who knows")
    assert not cache.is_whole(entry)
    assert (obtain(tmp_path) / "bzImage").read_bytes() == b"a kernel"


@pytest.mark.parametrize("file", ["bzImage", "modules/00-9pnet.ko"])
def test_an_entry_that_lost_a_file_or_part_of_one_is_not_whole(tmp_path: Path, file: str) -> None:
    entry = obtain(tmp_path)
    assert cache.is_whole(entry)
    (entry / file).write_bytes(b"a k")
    assert not cache.is_whole(entry)
    (entry / file).unlink()
    assert not cache.is_whole(entry)


def test_a_second_caller_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    building, may_end, second_waits = threading.Event(), threading.Event(), threading.Event()
    made: list[str] = []

    def slow(directory: Path) -> None:
        made.append("first")
        building.set()
        assert may_end.wait(10)
        make_kernel(directory)

    def second(directory: Path) -> None:
        made.append("second")

    def say(line: str) -> None:
        assert "waiting" in line
        second_waits.set()

    first_run = threading.Thread(target=cache.obtain, args=(tmp_path, "dynamic", INPUTS, slow, quiet))
    second_run = threading.Thread(target=cache.obtain, args=(tmp_path, "dynamic", INPUTS, second, say))
    first_run.start()
    assert building.wait(10)
    second_run.start()
    assert second_waits.wait(10)
    may_end.set()
    first_run.join()
    second_run.join()
    assert made == ["first"]


def test_the_cache_follows_the_xdg_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_root() == tmp_path / "swiotlb-top"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_root() == Path.home() / ".cache" / "swiotlb-top"
