"""How kernels come from one tree: what is compiled when, and what is left when that fails. The tree is a toy."""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.harness import build, images, sources
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import SourceKernel, SourceTree

# As Linux does, it remembers where its tools were; `compiled` is what was compiled since the source was unpacked.
# It sleeps so that, as in a real build, a file that is patched next is newer by more than the file system's clock tick.
MAKEFILE = """
all := main.o other.o
allnoconfig:
	cp $(KCONFIG_ALLCONFIG) .config
bzImage: $(all) sound/Kconfig
	mkdir -p arch/x86/boot
	cat $(all) >arch/x86/boot/bzImage
	cp compiled System.map
	: called "$(KERNELRELEASE)"
%.o: %.c tools
	! grep -H FAIL $<
	cp $< $@
	echo $@ >>compiled
	sleep 0.05
tools: FORCE
	echo $(CURDIR) | cmp -s - $@ || echo $(CURDIR) >$@
FORCE:
"""


@dataclass(frozen=True)
class Toy:
    """Kernels of a source with two files to compile and one that nothing wants."""

    directory: Path
    said: list[str]
    """What was said while making them."""

    @property
    def root(self) -> Path:
        return self.directory / "cache"

    def tree(self, *patches: str) -> SourceTree:
        return SourceTree("toy", "linux-source-toy", str(self.directory / "toy.config"), patches)

    def patch(self, name: str, line: str, becomes: str) -> str:
        path = self.directory / name
        path.write_text(f"Why.\n\n--- a/main.c\n+++ b/main.c\n@@ -1 +1 @@\n-{line}\n+{becomes}\n")
        return str(path)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    toy = Toy(tmp_path, [])
    monkeypatch.setattr(sources, "INSTALLED", tmp_path)
    monkeypatch.setattr(sources, "output_of", lambda *command: "1.0")
    monkeypatch.setattr(build, "require", lambda *tables: None)
    monkeypatch.setattr(images, "say", toy.said.append)
    source = tmp_path / "linux-source-toy"
    (source / "sound").mkdir(parents=True)
    files = {"Makefile": MAKEFILE, "main.c": "as shipped\n", "other.c": "other\n"}
    for name, text in (files | {"sound/Kconfig": "config SOUND\n", "sound/card.c": "FAIL\n"}).items():
        (source / name).write_text(text)
    with tarfile.open(tmp_path / "linux-source-toy.tar.xz", "w:xz") as archive:
        archive.add(source, source.name)
    (tmp_path / "toy.config").write_text("CONFIG_TOY=y\n")
    return toy


@pytest.fixture
def obtain(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Callable[[SourceKernel], Path]:
    """Makes a kernel as the lab does, and returns where it is."""

    def obtain(kernel: SourceKernel) -> Path:
        monkeypatch.setattr(images, "KERNELS", {kernel.name: kernel})
        return images.obtain(kernel.name, toy.root).directory

    return obtain


Obtain = Callable[[SourceKernel], Path]


def text(kernel: Path) -> str:
    return (kernel / "bzImage").read_text()


def compiled(kernel: Path) -> Counter[str]:
    return Counter((kernel / "System.map").read_text().split())


def workshop(toy: Toy) -> Path:
    return toy.root / "build" / "toy"


def trees_compiled(toy: Toy) -> int:
    return sum(line.endswith(": configure") for line in toy.said)


def test_a_kernel_costs_what_its_own_patches_touch(toy: Toy, obtain: Obtain) -> None:
    tree = toy.tree(toy.patch("common.patch", "as shipped", "common"))
    plain = obtain(SourceKernel("plain", tree))
    assert (text(plain), compiled(plain)) == ("common\nother\n", {"main.o": 1, "other.o": 1})
    for count, name in enumerate(("one", "another"), start=1):
        kernel = obtain(SourceKernel(name, tree, (toy.patch(f"{name}.patch", "common", name),)))
        assert (text(kernel), compiled(kernel)) == (f"{name}\nother\n", {"main.o": 1 + count, "other.o": 1})
    assert trees_compiled(toy) == 1


def test_which_kernel_of_a_tree_is_built_first_does_not_matter(toy: Toy, obtain: Obtain) -> None:
    tree = toy.tree()
    own = obtain(SourceKernel("own", tree, (toy.patch("own.patch", "as shipped", "own"),)))
    plain = obtain(SourceKernel("plain", tree))
    assert (text(own), text(plain)) == ("own\nother\n", "as shipped\nother\n")
    assert trees_compiled(toy) == 1


def test_a_kernel_keeps_its_configuration_and_its_log(toy: Toy, obtain: Obtain) -> None:
    tree = toy.tree()
    for kernel in (SourceKernel("plain", tree), SourceKernel("own", tree, (toy.patch("own", "as shipped", "own"),))):
        directory = obtain(kernel)
        assert (directory / "config").read_text() == "CONFIG_TOY=y\n"
        assert "cp main.c main.o" in (directory / "build.log").read_text()


def test_a_kernel_is_called_what_it_is_told_and_then_is_another_kernel(toy: Toy, obtain: Obtain) -> None:
    tree = toy.tree()
    plain, called = obtain(SourceKernel("own", tree)), obtain(SourceKernel("own", tree, release="6.6.15"))
    assert plain != called
    assert [': called ""' in (kernel / "build.log").read_text() for kernel in (plain, called)] == [True, False]
    assert ': called "6.6.15"' in (called / "build.log").read_text()


def test_patches_are_applied_in_their_order_the_trees_first(toy: Toy, obtain: Obtain) -> None:
    tree = toy.tree(toy.patch("a", "as shipped", "first"), toy.patch("b", "first", "second"))
    own = (toy.patch("c", "second", "third"), toy.patch("d", "third", "fourth"))
    assert text(obtain(SourceKernel("fourth", tree, own))) == "fourth\nother\n"
    assert text(obtain(SourceKernel("plain", tree))) == "second\nother\n"


@pytest.mark.parametrize(
    ("becomes", "complaint"),
    [("FAIL", r"(?s)broken: .*make.* failed with 2:.*FAIL"), ("first", r"second\.patch failed")],
)
def test_a_kernel_that_cannot_be_built_leaves_no_kernel_and_the_tree_as_it_was(
    toy: Toy, obtain: Obtain, becomes: str, complaint: str
) -> None:
    tree = toy.tree()
    patches = (toy.patch("first.patch", "as shipped", becomes), toy.patch("second.patch", "FAIL", "and FAIL"))
    with pytest.raises(LabUnavailableError, match=complaint):
        obtain(SourceKernel("broken", tree, patches))
    assert list((toy.root / "kernels").glob("broken-*")) == []
    assert text(obtain(SourceKernel("plain", tree))) == "as shipped\nother\n"
    assert trees_compiled(toy) == 1


def test_a_patch_that_fits_in_part_is_not_applied_at_all(toy: Toy, obtain: Obtain) -> None:
    patch = toy.patch("partly.patch", "as shipped", "patched")
    with Path(patch).open("a") as text_of_it:
        text_of_it.write("--- a/other.c\n+++ b/other.c\n@@ -1 +1 @@\n-something else\n+patched\n")
    with pytest.raises(LabUnavailableError, match=r"partly\.patch failed"):
        obtain(SourceKernel("partly", toy.tree(), (patch,)))
    assert text(obtain(SourceKernel("plain", toy.tree()))) == "as shipped\nother\n"
    assert trees_compiled(toy) == 1


def test_a_tree_that_does_not_compile_is_begun_anew(toy: Toy, obtain: Obtain) -> None:
    patch = toy.patch("common.patch", "as shipped", "FAIL")
    with pytest.raises(LabUnavailableError, match="plain: "):
        obtain(SourceKernel("plain", toy.tree(patch)))
    assert not (workshop(toy) / build.STAMP).exists()
    toy.patch("common.patch", "as shipped", "mended")
    assert text(obtain(SourceKernel("plain", toy.tree(patch)))) == "mended\nother\n"


def test_a_build_that_was_killed_in_a_tree_makes_the_next_begin_anew(
    toy: Toy, obtain: Obtain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    own = SourceKernel("own", toy.tree(), (toy.patch("own.patch", "as shipped", "own"),))
    obtain(SourceKernel("plain", toy.tree()))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy", killed)
        with pytest.raises(KeyboardInterrupt):
            obtain(own)
    assert text(obtain(own)) == "own\nother\n"
    assert trees_compiled(toy) == 2


def test_another_tree_takes_the_place_of_the_one_before(toy: Toy, obtain: Obtain) -> None:
    obtain(SourceKernel("plain", toy.tree()))
    (workshop(toy) / "left behind").touch()
    changed = toy.tree(toy.patch("common.patch", "as shipped", "common"))
    assert text(obtain(SourceKernel("plain", changed))) == "common\nother\n"
    assert sorted(path.name for path in workshop(toy).iterdir()) == [build.STAMP, "linux-source-toy"]


def test_what_is_never_compiled_is_not_unpacked_but_its_kconfig_is(toy: Toy, obtain: Obtain) -> None:
    obtain(SourceKernel("plain", toy.tree()))
    assert [path.name for path in (workshop(toy) / "linux-source-toy" / "sound").iterdir()] == ["Kconfig"]
